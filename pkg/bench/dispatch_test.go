package bench_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/bench"
	"fairlead/pkg/host"
)

// programDir holds the program that broker and station are started from, once it
// is built; TestMain removes it.
var programDir string

var built = sync.OnceValues(func() (string, error) {
	var err error
	if programDir, err = os.MkdirTemp("", "fairlead-program-"); err != nil {
		return "", err
	}
	binary := filepath.Join(programDir, "fairlead-under-test")
	r, err := host.Run(context.Background(), host.Command{Path: "go",
		Env:  append(os.Environ(), "CGO_ENABLED=0"), // as it is shipped, and as its packages are compiled already
		Args: []string{"build", "-buildvcs=false", "-o", binary, "fairlead/cmd/fairlead"}})
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("go build: %s", r.Stderr)
	}
	return binary, err
})

// build makes the program, for all tests once.
func build(t *testing.T) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// left are the processes of a program, zombies among them.
func left(t *testing.T, binary string) (all []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		child := len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(os.Getpid())
		if exe == binary || child {
			all = append(all, strings.TrimSpace(string(stat)))
		}
	}
	return all
}

func TestDispatchReportsEveryFigureAndLeavesNothing(t *testing.T) {
	binary := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	var said []string
	d, err := bench.Dispatch(t.Context(), bench.Options{Binary: binary, Journals: t.TempDir(), Nodes: 5, Commands: 20, Singles: 20, Burst: 20,
		Progress: func(format string, _ ...any) { said = append(said, format) }})
	if err != nil {
		t.Fatal(err)
	}
	if d.Nodes != 5 || d.Sync != "2m" || d.Sent == 0 || d.Answered != d.Sent {
		t.Errorf("%+v", d)
	}
	if d.Machine.Cores == 0 || d.Machine.Kernel == "" || d.Machine.Go == "" || d.Machine.At.IsZero() {
		t.Errorf("%+v", d.Machine)
	}
	if d.StationPeak == 0 || d.BrokerPeak == 0 || d.SyncBroker == 0 || d.SyncJournals == 0 || d.SyncDisk == 0 {
		t.Errorf("%+v", d)
	}
	if len(d.Figures) != 6 {
		t.Fatalf("%+v", d.Figures)
	}
	for i, f := range d.Figures {
		if f.Name == "" || f.Count == 0 || f.Rate <= 0 {
			t.Errorf("%+v", f)
		}
		if bare := i < 2 || i == 3; !bare && (f.Ratio <= 0 || f.Against == "") {
			t.Errorf("%s is compared with nothing: %+v", f.Name, f)
		}
	}
	if len(said) == 0 {
		t.Error("it said nothing on its way")
	}
	if all := left(t, binary); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
	if dirs, err := os.ReadDir(os.TempDir()); err != nil || len(dirs) != 0 {
		t.Errorf("directories are left: %v, %v", dirs, err)
	}
}

func TestABenchThatCannotBeginSaysWhyAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	begun := time.Now()
	_, err := bench.Dispatch(t.Context(), bench.Options{Binary: filepath.Join(t.TempDir(), "nothing"), Journals: t.TempDir(), Nodes: 1})
	if err == nil || !strings.Contains(err.Error(), "nothing") || time.Since(begun) > time.Minute {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
	// A broker that ends at once is explained by what it wrote.
	script := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such flag >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	_, err = bench.Dispatch(t.Context(), bench.Options{Binary: script, Journals: t.TempDir(), Nodes: 1})
	if err == nil || !strings.Contains(err.Error(), "no such flag") || time.Since(begun) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
	if dirs, err := os.ReadDir(os.TempDir()); err != nil || len(dirs) != 0 {
		t.Errorf("directories are left: %v, %v", dirs, err)
	}
}
