package nginx_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

func TestNginxOfAServiceManagerIsReloadedButNeverStarted(t *testing.T) {
	n := newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.cfg.Manage = nginx.External
	n.run()
	link := filepath.Join(n.cfg.Conf, "nginx.conf")
	manager := startNginx(t, link)
	select {
	case <-n.Ready():
	case <-time.After(15 * time.Second):
		t.Fatal("not adopted")
	}
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" || n.status().PID != manager.PID {
		t.Errorf("got %q from %d", got, n.status().PID)
	}
	if err := n.Stop(t.Context()); err != nil || !manager.Alive() {
		t.Errorf("Stop ended an nginx of others: %v", err)
	}
	n.crash()
	n.run()
	<-n.Ready()

	if err := manager.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(manager, 10*time.Second)
	eventually(t, "it is known to be down", func() bool { return !n.status().Up })
	if _, err := n.apply(2, site("web", port, "x")); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("got %v", err)
	}
	startNginx(t, link)
	eventually(t, "it is adopted again", func() bool { return n.status().Up })
	n.mustApply(3, site("web", port, "again"))
}

func TestStoppedNginxStaysDown(t *testing.T) {
	n := newNode(t)
	pid := n.status().PID
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Identify(pid); err == nil || n.status().Up || n.masters() != 0 {
		t.Errorf("it runs: %+v", n.status())
	}
	if _, err := n.apply(1, site("web", n.freePort(), "x")); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("apply after Stop: %v", err)
	}
}

// startNginx does what systemd would.
func startNginx(t *testing.T, conf string) *host.Process {
	t.Helper()
	path, err := host.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(host.Daemon{Path: path, Args: []string{"-c", conf, "-e", "stderr", "-g", "daemon off;"}, Stderr: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGTERM)
		wait(p, 5*time.Second)
		p.Close()
	})
	return p
}
