package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// A container that shares the pid namespace has file systems of its own: nginx
// lies elsewhere in them, and is another file.
func TestNginxInAnotherMountNamespaceIsKnownAndReloaded(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root makes namespaces
	}
	n := newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.cfg.Manage = nginx.External
	n.cfg.LookEvery, n.cfg.Patience = 50*time.Millisecond, time.Second
	n.run()
	path, err := host.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own := filepath.Join(dir, "image", "nginx")
	copyFile(t, path, own)
	container, err := host.Start(host.Daemon{Path: "unshare", Stderr: filepath.Join(dir, "log"), Args: []string{
		"--mount", "--propagation=private", own, "-c", filepath.Join(n.cfg.Conf, "nginx.conf"), "-e", "stderr", "-g", "daemon off;"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = container.Signal(syscall.SIGCONT)
		_ = container.Signal(syscall.SIGKILL)
		wait(container, 10*time.Second)
		container.Close()
		n.endWorkersOf(container)
	})
	select {
	case <-n.Ready():
	case <-time.After(15 * time.Second):
		said, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("not adopted: %s", said)
	}
	if same, err := host.SameMounts(container.PID); err != nil || same {
		t.Fatalf("it has no file systems of its own: %v", err)
	}
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.serves(port, "200 hello")
	if s := n.status(); s.PID != container.PID {
		t.Errorf("status %+v of %d", s, container.PID)
	}
	// What may be helped is helped, and what may not is told.
	n.signal(container.PID, syscall.SIGSTOP)
	n.wantEvent(nginx.EventRecovered, "stopped by a signal")
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	foreign, link, was := filepath.Join(dir, "nginx.conf"), filepath.Join(n.cfg.Conf, "nginx.conf"), n.linkedDir()
	if err := os.WriteFile(foreign, []byte("events { }\ninclude "+fifo+";\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	point(t, link, foreign)
	n.signal(container.PID, syscall.SIGHUP)
	n.wantEvent(nginx.EventWedged, fmt.Sprint(container.PID), "whoever started it")
	n.serves(port, "200 hello")
	if !container.Alive() {
		t.Error("it was ended, and nobody may start it again")
	}
	point(t, link, filepath.Join(was, "nginx.conf"))
}

// endWorkersOf ends what a killed master left, which are in its session.
func (n *node) endWorkersOf(master *host.Process) {
	pids, _ := host.Processes()
	for _, pid := range pids {
		p, err := host.OpenProcess(pid)
		if err != nil {
			continue
		}
		if title, err := host.Title(pid); err == nil && p.Session == master.PID && strings.HasPrefix(title, "nginx: ") {
			_ = p.Signal(syscall.SIGKILL)
		}
		p.Close()
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeProgram(to, data); err != nil {
		t.Fatal(err)
	}
}

// writeProgram writes what is to be run. A process that forks while the file is
// open for writing hands it to its child until that one executes, and what is
// open for writing cannot be run: so nobody forks meanwhile.
func writeProgram(path string, data []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, data, 0o755)
}
