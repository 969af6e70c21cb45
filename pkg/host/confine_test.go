package host_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/host"
)

// confined runs a shell script; false where this machine does not let anybody.
func confined(t *testing.T, script string, in host.Confinement) (host.Result, bool) {
	t.Helper()
	r, err := host.RunConfined(t.Context(), host.Command{Path: "/bin/sh", Args: []string{"-c", script}}, in)
	if errors.Is(err, host.ErrUnconfined) {
		if os.Geteuid() == 0 {
			t.Log(err)
		}
		return r, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, true
}

func TestAConfinedCommandChangesNothingOutside(t *testing.T) {
	dir := t.TempDir()
	scratch := filepath.Join(dir, "scratch")
	inner := filepath.Join(scratch, "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(scratch, "mine"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	overlaid := filepath.Join(dir, "overlaid")
	if err := os.Mkdir(overlaid, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(overlaid, "seen"), []byte("seen\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, ok := confined(t, `
		touch `+dir+`/new 2>/dev/null && echo wrote outside
		chown 1:1 `+dir+` 2>/dev/null && echo changed an owner
		mount -o remount,rw / 2>/dev/null && echo mounted
		cat `+scratch+`/mine 2>/dev/null
		touch `+scratch+`/new `+inner+`/new || echo cannot write
		cat `+overlaid+`/seen && rm `+overlaid+`/seen && touch `+overlaid+`/new || echo cannot change
		getent hosts some.example.org
		getent ahosts other.example.org
		cat /proc/net/tcp | wc -l
		exit 3`, host.Confinement{Scratch: []string{scratch, inner, "/no/such/directory"}, Overlaid: []string{overlaid},
		Hosts: map[string][]netip.Addr{"some.example.org": {netip.MustParseAddr("192.0.2.7")}}})
	if !ok {
		return
	}
	if got := strings.Join(strings.Fields(string(r.Stdout)+string(r.Stderr)), " "); got != "seen 192.0.2.7 some.example.org 1" || r.ExitCode != 3 {
		t.Errorf("exit code %d, %q", r.ExitCode, got)
	}
	entries, err := os.ReadDir(scratch)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if entries, err = os.ReadDir(overlaid); err != nil || len(entries) != 1 || entries[0].Name() != "seen" {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was left")
	}
	if err := os.WriteFile(filepath.Join(dir, "still"), nil, 0o644); err != nil {
		t.Errorf("this process is confined too: %v", err)
	}
}

func TestManyConfinedCommandsAtOnce(t *testing.T) {
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := host.RunConfined(context.Background(), host.Command{Path: "/bin/true"}, host.Confinement{})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil && !errors.Is(err, host.ErrUnconfined) {
			t.Error(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "fairlead-scratch") {
		t.Error(err)
	}
}
