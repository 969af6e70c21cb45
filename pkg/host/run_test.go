package host_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/host"
)

func shell(script string) host.Command {
	return host.Command{Path: "/bin/sh", Args: []string{"-c", script}}
}

func TestRunKeepsBothStreamsAndTheExitCode(t *testing.T) {
	r, err := host.Run(t.Context(), shell("echo out; echo err >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.ExitCode != 3 || r.Signal != "" {
		t.Errorf("got %+v", r)
	}
}

func TestRunCutsLongOutputButCountsAndHashesAll(t *testing.T) {
	c := shell("head -c 100000 /dev/zero | tr '\\0' x")
	c.MaxOutput = 10
	r, err := host.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(strings.Repeat("x", 100000)))
	if string(r.Stdout) != "xxxxxxxxxx" || !r.Truncated || r.OutputBytes != 100000 || r.OutputSHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %d bytes of %d, truncated %v, %s", len(r.Stdout), r.OutputBytes, r.Truncated, r.OutputSHA256)
	}
}

func TestRunNamesTheSignalThatEndedTheCommand(t *testing.T) {
	r, err := host.Run(t.Context(), shell("kill -SEGV $$"))
	if err != nil || r.Signal != "SIGSEGV" || r.ExitCode != -1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRunReadsNothingFromStdin(t *testing.T) {
	r, err := host.Run(t.Context(), shell("cat; echo done"))
	if err != nil || string(r.Stdout) != "done\n" {
		t.Errorf("got %q, %v", r.Stdout, err)
	}
}

func TestTimeoutKillsGrandchildrenThatIgnoreTERM(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	// The grandchild ignores TERM and holds the pipe open.
	script := "(trap '' TERM; echo $$ ; sh -c 'echo $PPID' > " + pidfile + "; while :; do sleep 60; done) & wait"
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	called := errors.New("called off")
	go func() {
		for {
			if data, _ := os.ReadFile(pidfile); strings.HasSuffix(string(data), "\n") {
				cancel(called)
				return
			}
			runtime.Gosched()
		}
	}()
	began := time.Now()
	_, err := host.Run(ctx, shell(script))
	if !errors.Is(err, called) {
		t.Errorf("error %v, want the cause of the context", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	wantEnded(t, pidfile)
}

func TestGrandchildWithThePipeDoesNotHangRun(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	r, err := host.Run(t.Context(), shell("sleep 60 & echo $! > "+pidfile+"; echo done"))
	if err != nil || string(r.Stdout) != "done\n" || r.ExitCode != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	wantEnded(t, pidfile)
}

func TestRunSaysWhatCannotBeStarted(t *testing.T) {
	_, err := host.Run(t.Context(), host.Command{Path: "/does/not/exist"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("got %v", err)
	}
}

// wantEnded waits until the process whose pid stands in a file has ended: KILL
// is delivered soon, not at once.
func wantEnded(t *testing.T, pidfile string) {
	t.Helper()
	data, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.OpenProcess(pid)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("process %d still runs", pid)
	}
}
