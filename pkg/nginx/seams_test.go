package nginx_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// What this node saw of its servers since is another version of the same
// bundle: what it falls back on is the same.
func TestHostIsKeptAfterServersChangedSinceItWasApplied(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustConverge(1, proxied("web", port, "app"), checked("app", one, two), site("b", port, "1"))
	one.fail.Store(true)
	eventually(t, "one is out", func() bool { return n.down("app") == 1 })
	n.wantEvent("serverdown", one.address)
	o := n.mustConverge(2, proxied("web", port, "app"), checked("app", one, two), unreadable("b", port), site("c", port, "2"))
	if got := held(o); got != "VirtualHost/b kept 1" || n.get(port, "b.example.org", "/") != "200 1" {
		t.Errorf("held %q, b answers %q", got, n.get(port, "b.example.org", "/"))
	}
	// An agent that was killed before it remembered falls back on what served before.
	n.crash()
	served, _ := filepath.Glob(filepath.Join(n.cfg.State, "served", "2-*"))
	for _, path := range served {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	o = n.mustConverge(3, proxied("web", port, "app"), checked("app", one, two), unreadable("b", port), site("c", port, "3"))
	if got := held(o); len(served) == 0 || got != "VirtualHost/b kept 1" {
		t.Errorf("%d files, held %q", len(served), got)
	}
}

func TestNamesAreResolvedBeforeADesiredStateIsServed(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	one := newBackend(t, n.address, "one")
	port := n.freePort()
	dns.set("app.example.org.", n.address)
	n.mustConverge(1, dns.policy())
	o := n.mustConverge(2, proxied("web", port, "app"), n.named("app", one), dns.policy())
	if got := n.get(port, "web.example.org", "/"); got != "200 one" || len(o.Notes) > 0 {
		t.Errorf("got %q, notes %v", got, o.Notes)
	}
}

func TestUpstreamsFileWithoutASpecStopsNothing(t *testing.T) {
	n := newNode(t)
	one := newBackend(t, n.address, "one")
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", one))
	n.crash()
	target, err := os.Readlink(filepath.Join(n.cfg.Conf, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(target), "upstreams.json"), []byte(`{"app":{"in":["http"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	if got := n.servedBy(port, 1); got != "one" {
		t.Errorf("served by %q", got)
	}
}

func TestNothingIsReloadedForNothingBesideAHostsOwnConf(t *testing.T) {
	n, port := included(t, func(conf string) string { return "include " + conf + "/fairlead.con[f];" })
	<-n.Ready()
	n.mustApply(1, site("web", port, "x"))
	before := n.workers()
	if v := n.mustApply(2, site("web", port, "x")); v.Changed || n.workers() != before {
		t.Errorf("reloaded: %+v", v)
	}
}

// What the node lacks is no fault of the bundle: it serves once that is there.
func TestBundleIsNotHeldForWhatTheNodeLacked(t *testing.T) {
	n, port := included(t, func(string) string { return "" })
	<-n.Looked()
	for range 2 {
		_, err := n.apply(1, site("web", port, "x"))
		if wantFailure(t, err, "write this line into its http { }"); strings.Contains(err.Error(), "quarantine") {
			t.Error(err)
		}
	}
	if s := n.status(); len(s.Quarantine) != 0 {
		t.Errorf("held: %+v", s.Quarantine)
	}
}

// Whose fault a refusal is is looked for after it is recorded.
func TestSearchThatAKillCutOffIsMadeAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, site("a", port, "1"))
	all := []fleet.Resource{site("a", port, "2"), raw("bad", `log_format x "$no_such_variable";`)}
	_, err := n.apply(2, all...) // records the refusal as the killed agent did, and searches nothing
	wantFailure(t, err, "no_such_variable")
	n.crash()
	n.start()
	for range 2 {
		o := n.mustConverge(2, all...)
		if got := held(o); got != "ConfigFile/bad left out 0" || n.get(port, "a.example.org", "/") != "200 2" {
			t.Errorf("held %q", got)
		}
	}
}

// An agent that has taken over nothing yet cares for nothing.
func TestTheHostsOwnNginxIsNotHelpedBeforeItIsTakenOver(t *testing.T) {
	for _, manage := range []string{nginx.External, nginx.Systemd} {
		t.Run(manage, func(t *testing.T) {
			n, manager, port, conf := hosted(t)
			n.crash()
			if n.cfg.Manage = manage; manage == nginx.Systemd {
				n.cfg.Unit, n.cfg.PidFile, n.cfg.Systemctl = "edge.service", filepath.Join(n.cfg.Run, "nginx.pid"), "/bin/true"
			}
			n.cfg.LookEvery = 10 * time.Millisecond
			was, _ := os.ReadFile(conf)
			n.run()
			<-n.Looked()
			n.permit()
			deadline := time.Now().Add(300 * time.Millisecond) // thirty looks
			eventually(t, "it was looked at often", func() bool { return time.Now().After(deadline) })
			now, err := os.ReadFile(conf)
			if err != nil || string(now) != string(was) || !manager.Alive() || n.get(port, "web.example.org", "/") != "200 before" {
				t.Errorf("the host's own: %v, alive %v, answers %q", err, manager.Alive(), n.get(port, "web.example.org", "/"))
			}
		})
	}
}
