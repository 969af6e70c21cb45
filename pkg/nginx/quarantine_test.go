package nginx_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestVersionThatFailedIsNotTriedAgainUntilSomebodyAsks(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "old"))
	taken, other := n.takenUDP()
	bad := append(other, site("web", port, "new"))
	_, err := n.apply(2, bad...)
	wantFailure(t, err, "Address already in use")
	n.wantEvent(nginx.EventQuarantined, "revision 2", "Address already in use")
	taken.Close() // it would serve now, and the node does not know

	refused := func(when string) {
		t.Helper()
		_, err := n.apply(2, bad...)
		wantFailure(t, err, "Address already in use", "in quarantine since", "fairlead reload")
		if s := n.status(); len(s.Quarantine) != 1 || s.Quarantine[0].Revision != 2 || s.Quarantine[0].Count != 1 || s.Revision != 1 {
			t.Errorf("%s: %+v", when, s)
		}
	}
	refused("at once")
	n.crash()
	n.start()
	refused("after a restart of the agent")
	if _, held := n.Quarantined(n.status().Quarantine[0].Digest); !held {
		t.Error("it is not told as held")
	}

	n.mustApply(3, site("web", port, "another"))
	n.Pardon(n.status().Quarantine[0].Digest)
	n.mustApply(4, bad...)
	if s := n.status(); len(s.Quarantine) != 0 {
		t.Errorf("what serves is in quarantine: %+v", s.Quarantine)
	}
}

func TestVersionThatFailsAgainIsCountedAndHeldAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "old"))
	bad := raw("bad", "allow nonsense;")
	for range 2 {
		_, err := n.apply(2, bad)
		if err == nil {
			t.Fatal("it was accepted")
		}
		n.Pardon("")
	}
	if q := n.status().Quarantine; len(q) != 1 || q[0].Count != 2 || !q[0].Pardoned {
		t.Errorf("%+v", q)
	}
}

func TestDamagedQuarantineHoldsNothingAndStopsNothing(t *testing.T) {
	n := newNode(t)
	n.crash()
	path := filepath.Join(n.cfg.State, "quarantine.json")
	if err := os.WriteFile(path, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	_, err := n.apply(1, raw("bad", "allow nonsense;"))
	if err == nil || len(n.status().Quarantine) != 1 {
		t.Errorf("%v, %+v", err, n.status())
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "nonsense") {
		t.Errorf("%s, %v", data, err)
	}
}

// What is seen of servers changes by itself, and makes no other bundle of it.
func TestVersionThatFailedIsNotTriedAgainBecauseServersChanged(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	well := []fleet.Resource{proxied("web", port, "app"), checked("app", one, two)}
	n.mustApply(1, well...)
	taken, other := n.takenUDP()
	bad := append(other, well...)
	_, err := n.apply(2, bad...)
	wantFailure(t, err, "Address already in use")
	taken.Close() // it would serve now, and the node does not know

	one.fail.Store(true)
	eventually(t, "one is out", func() bool { return n.down("app") == 1 })
	n.wantEvent("serverdown", one.address)
	_, err = n.apply(2, bad...)
	wantFailure(t, err, "Address already in use", "in quarantine since")
	n.crash()
	n.start()
	_, err = n.apply(2, bad...)
	wantFailure(t, err, "Address already in use", "in quarantine since")
	if q := n.status().Quarantine; len(q) != 1 || q[0].Count != 1 {
		t.Errorf("%+v", q)
	}
}

func TestQuarantineOfAnOlderAgentHolds(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "old"))
	taken, other := n.takenUDP()
	bad := append(other, site("web", port, "new"))
	_, err := n.apply(2, bad...)
	wantFailure(t, err, "Address already in use")
	taken.Close()
	n.crash()
	edit(t, filepath.Join(n.cfg.State, "quarantine.json"), `\n *"host": "[^"]*",`, "")
	n.start()
	_, err = n.apply(2, bad...)
	wantFailure(t, err, "Address already in use", "in quarantine since")
}
