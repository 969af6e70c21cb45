package nginx_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"fairlead/pkg/nginx"
)

func TestFirstStartServesTheStatusSocketOnly(t *testing.T) {
	n := newNode(t)
	base, err := nginx.Render("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := n.status(); !s.Up || s.Running != base.Digest || s.Revision != 0 || s.Version == "" {
		t.Errorf("status %+v", s)
	}
}

func TestKilledMasterIsRestartedWithTheLastGoodVersion(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	v := n.mustApply(1, site("web", port, "hello"))
	dead := n.status().PID
	if err := syscall.Kill(dead, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another master serves", func() bool {
		s := n.status()
		return s.Up && s.PID != dead && s.Running == v.Digest
	})
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("got %q", got)
	}
	n.mustApply(2, site("web", port, "and on"))
}

func TestEngineAdoptsTheRunningNginxWithoutTouchingIt(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid, workers := n.status().PID, n.workers()
	n.crash()
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("without the engine: %q", got)
	}
	n.start()
	if s := n.status(); s.PID != pid || n.workers() != workers || s.Revision != 1 {
		t.Errorf("status %+v, workers %s; before: pid %d, workers %s", s, n.workers(), pid, workers)
	}
	n.mustApply(2, site("web", port, "and on"))
}

func TestMasterThatDiedWithTheEngineIsStartedAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	dead := n.status().PID
	n.crash()
	if err := syscall.Kill(dead, syscall.SIGKILL); err != nil { // its workers hold the port on
		t.Fatal(err)
	}
	n.start()
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" || n.status().PID == dead {
		t.Errorf("got %q", got)
	}
}

// The agent was killed between the commit point and the signal.
func TestUnprovenLinkGoesBackWhenTheEngineComesBack(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	first := n.mustApply(1, site("web", port, "first"))
	link := filepath.Join(n.cfg.Conf, "nginx.conf")
	was, _ := os.Readlink(link)
	n.mustApply(2, site("web", port, "second"))
	second, _ := os.Readlink(link)
	n.mustApply(3, site("web", port, "first"))
	workers := n.workers()
	n.crash()
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(second, link); err != nil {
		t.Fatal(err)
	}
	n.start()
	if s := n.status(); s.Running != first.Digest || s.Disk != first.Digest || n.workers() != workers {
		t.Errorf("status %+v; first was %s", s, was)
	}
	n.mustApply(4, site("web", port, "second"))
	if got := n.get(port, "web.example.org", "/"); got != "200 second" {
		t.Errorf("got %q", got)
	}
}

// The agent was killed after nginx had loaded the version and before that was recorded.
func TestServingVersionWithoutARecordIsKept(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "first"))
	record := filepath.Join(n.cfg.State, "good.json")
	old, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	second := n.mustApply(2, site("web", port, "second"))
	workers := n.workers()
	n.crash()
	if err := os.WriteFile(record, old, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	if s := n.status(); s.Running != second.Digest || s.Disk != second.Digest || s.Revision != 2 || n.workers() != workers {
		t.Errorf("status %+v", s)
	}
}

func TestHalfWrittenVersionIsWrittenAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	b, err := nginx.Render(n.address, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.mustApply(1, site("web", port, "hello"))
	half := filepath.Join(n.cfg.State, "versions", "2-"+nginx.Short(b.Digest))
	if err := os.Mkdir(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "nginx.conf"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context(), 2, b); err != nil {
		t.Error(err)
	}
}

// The agent was killed after nginx had loaded the version and before its trial was recorded.
func TestServingVersionWithoutARecordBeginsItsBake(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1h"), answering(port, 200))
	bad := n.mustApply(2, bakes("1h"), answering(port, 500))
	workers := n.workers()
	n.crash()
	if err := os.Remove(filepath.Join(n.cfg.State, "bake.json")); err != nil {
		t.Fatal(err)
	}
	n.start()
	if s := n.status(); s.Bake == nil || s.Bake.Revision != 2 || s.Revision != 2 || s.Running != bad.Digest || n.workers() != workers {
		t.Fatalf("%+v", s)
	}
	n.asks(port, "it is rolled back", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 2", "rolled back during bake", "revision 1", "serves again")
}

func TestServingVersionWithoutARecordIsRolledBackWhenAHostThatChangedFails(t *testing.T) {
	for _, first := range []bool{false, true} { // nothing but the status socket is behind it
		n := newNode(t)
		port := n.freePort()
		var good nginx.Verdict
		if !first {
			good = n.mustApply(1, site("web", port, "first"))
		}
		record := filepath.Join(n.cfg.State, "good.json")
		old, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		for _, dir := range []string{root, filepath.Dir(root)} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(root, "a")
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		loop := raw("loop", "server { listen "+n.listen(port)+"; server_name loop.example.org; location / { root "+root+"; try_files /a /b; } }")
		bad := n.mustApply(2, site("web", port, "second"), loop)
		n.crash()
		if err := os.WriteFile(record, old, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil { // without it the host answers 500
			t.Fatal(err)
		}
		n.start()
		s := n.status()
		if s.Running == bad.Digest || s.Disk == bad.Digest || !first && (s.Running != good.Digest || s.Revision != 1) {
			t.Errorf("first %v: %+v", first, s)
		}
		if len(s.Quarantine) != 1 || s.Quarantine[0].Revision != 2 || len(s.Quarantine[0].Owners) != 1 || s.Quarantine[0].Owners[0] != "ConfigFile/loop" {
			t.Errorf("first %v: held %+v", first, s.Quarantine)
		}
		n.wantEvent(nginx.EventRolledBack, "revision 2", "answers 500")
	}
}
