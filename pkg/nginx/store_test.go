package nginx_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestOldVersionsAreCollected(t *testing.T) {
	n := newNode(t)
	n.crash()
	n.cfg.KeepVersions = 2
	n.start()
	port := n.freePort()
	for i := range uint64(5) {
		n.mustApply(i+1, site("web", port, fmt.Sprint(i)))
	}
	eventually(t, "revisions 3, 4 and 5 are left", func() bool {
		entries, err := os.ReadDir(filepath.Join(n.cfg.State, "versions"))
		return err == nil && len(entries) == 3 && strings.HasPrefix(entries[0].Name(), "3-")
	})
}

func TestFailedVersionLeavesNothingBehind(t *testing.T) {
	n := newNode(t)
	before := n.versions()
	if _, err := n.apply(7, raw("broken", "}")); err == nil {
		t.Fatal("applied")
	}
	if got := n.versions(); got != before {
		t.Errorf("versions %s, before %s", got, before)
	}
}

func TestCancelledApplyChangesNothing(t *testing.T) {
	n := newNode(t)
	before := n.status().Disk
	b, err := nginx.Render(n.address, []fleet.Resource{site("web", n.freePort(), "x")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Apply(ctx, 1, b); err == nil {
		t.Error("applied")
	}
	if s := n.status(); s.Disk != before || s.Running != before {
		t.Errorf("status %+v", s)
	}
}

func TestMasterHoldsNoFileOutsideItsDirectories(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, site("web", n.freePort(), "x"))
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.status().PID))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no descriptors: %v", err)
	}
	for _, fd := range fds {
		path, err := os.Readlink(fd)
		if err != nil || !filepath.IsAbs(path) || strings.HasPrefix(path, "/dev/") {
			continue // sockets, pipes, /dev/null, and shared memory that nginx does not name
		}
		if !strings.HasPrefix(path, filepath.Dir(n.cfg.State)+"/") {
			t.Errorf("%s is open", path)
		}
	}
	for _, path := range []string{n.cfg.Run + "/nginx.pid", n.cfg.Run + "/status.sock", n.cfg.State + "/temp/body"} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestAnotherNumberOfWorkersIsAChange(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "x"))
	n.crash()
	n.cfg.Workers = 3
	n.start()
	if v := n.mustApply(1, site("web", port, "x")); !v.Changed || n.status().Workers != 3 {
		t.Errorf("verdict %+v, status %+v", v, n.status())
	}
	if v := n.mustApply(2, site("web", port, "x")); v.Changed {
		t.Errorf("verdict %+v", v)
	}
}

// versions is the names of the versions on disk.
func (n *node) versions() string {
	entries, err := os.ReadDir(filepath.Join(n.cfg.State, "versions"))
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(entries)
}
