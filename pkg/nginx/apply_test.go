package nginx_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

func TestApplyServes(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	v := n.mustApply(1, site("web", port, "hello"))
	if got := n.get(port, "web.example.org", "/any"); got != "200 hello" {
		t.Errorf("got %q", got)
	}
	if got := n.get(port, "other.example.org", "/"); !strings.HasSuffix(got, "EOF") {
		t.Errorf("a name that nobody answers to got %q", got)
	}
	s := n.status()
	if !v.Changed || v.Revision != 1 || !s.Up || s.Running != v.Digest || s.Disk != v.Digest || s.Revision != 1 || s.Workers != 2 {
		t.Errorf("verdict %+v, status %+v", v, s)
	}
	t.Logf("took %v: %+v", v.Took, v.Steps)
}

func TestProvenApplyOfASmallConfigIsQuick(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	best := time.Hour // of several: the machine does other things too
	for i := range uint64(5) {
		v := n.mustApply(i+1, site("web", port, strings.Repeat("x", int(i)+1)))
		t.Logf("took %v: %+v", v.Took, v.Steps)
		best = min(best, v.Took)
	}
	if best > 300*time.Millisecond {
		t.Errorf("the quickest of five took %v", best)
	}
}

func TestIdenticalApplyDoesNothing(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	before := n.workers()
	v := n.mustApply(2, site("web", port, "hello"))
	if v.Changed || v.Revision != 2 || n.workers() != before {
		t.Errorf("verdict %+v; workers %s, before %s", v, n.workers(), before)
	}
	if s := n.status(); s.Revision != 2 {
		t.Errorf("status says revision %d", s.Revision)
	}
}

func TestBrokenConfigFileFailsWithNginxsOwnLine(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, site("web", port, "old"))
	before := n.workers()
	_, err := n.apply(2, site("web", port, "new"), raw("broken", "server {\n    allow nonsense;\n}\n"))
	wantFailure(t, err, `[emerg]`, `invalid parameter "nonsense" in `, `http.d/configfile-broken.conf:2`, `ConfigFile/broken`)
	n.wantUntouched(port, good.Digest, before)
}

func TestConflictingNameInRawConfigIsAnError(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, site("web", port, "old"))
	before := n.workers()
	listen := net.JoinHostPort(n.address, strconv.Itoa(port))
	_, err := n.apply(2, site("web", port, "new"), raw("thief", "server { listen "+listen+"; server_name web.example.org; }"))
	wantFailure(t, err, "conflicting server name \"web.example.org\"")
	n.wantUntouched(port, good.Digest, before)
}

func TestPortTakenByAnotherIsRefusedWithItsOwnerBeforeNginxIsTold(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, site("web", port, "old"))
	before := n.workers()
	taken, err := net.Listen("tcp", n.address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := taken.Addr().(*net.TCPAddr).Port
	_, err = n.apply(2, site("web", port, "new"), site("other", other, "x"))
	wantFaults(t, err, "VirtualHost/other: listens on "+taken.Addr().String()+", which process "+strconv.Itoa(os.Getpid())+" (", "stop it, or use another port")
	n.wantUntouched(port, good.Digest, before)

	taken.Close()
	n.mustApply(3, site("web", port, "new"), site("other", other, "x"))
	if got := n.get(other, "other.example.org", "/"); got != "200 x" {
		t.Errorf("after the port was free: %q", got)
	}
}

func TestReloadReplacesAllWorkers(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	before := n.workers()
	first := host.BootClock()
	v, err := n.Reload(t.Context(), false, 0)
	if err != nil || !v.Changed || v.Revision != 1 {
		t.Fatalf("verdict %+v, %v", v, err)
	}
	eventually(t, "the old workers are gone", func() bool { s := n.status(); return s.Up && s.Draining == 0 })
	for _, pid := range strings.Fields(strings.Trim(before, "[]")) {
		if strings.Contains(" "+strings.Trim(n.workers(), "[]")+" ", " "+pid+" ") {
			t.Errorf("worker %s outlived the reload", pid)
		}
	}
	after := n.workers()
	if _, err := n.Reload(t.Context(), true, first-20*time.Millisecond); err != nil || n.workers() != after {
		t.Errorf("a reload that had happened was done again: %v", err)
	}
	if _, err := n.Reload(t.Context(), true, host.BootClock()); err != nil || n.workers() == after {
		t.Errorf("a reload that had not happened was not done: %v", err)
	}
}

func wantFaults(t *testing.T, err error, parts ...string) {
	t.Helper()
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatalf("error %v of kind %q, want %q", err, fleet.KindOf(err), fleet.Invalid)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func wantFailure(t *testing.T, err error, parts ...string) {
	t.Helper()
	if fleet.KindOf(err) != fleet.Failed {
		t.Fatalf("error %v of kind %q, want %q", err, fleet.KindOf(err), fleet.Failed)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// wantUntouched checks that revision 1, which answers "old", still serves.
func (n *node) wantUntouched(port int, digest, workers string) {
	n.t.Helper()
	if got := n.get(port, "web.example.org", "/"); got != "200 old" {
		n.t.Errorf("the old site answers %q", got)
	}
	if s := n.status(); s.Running != digest || s.Disk != digest || s.Revision != 1 {
		n.t.Errorf("status %+v", s)
	}
	if got := n.workers(); got != workers {
		n.t.Errorf("workers %s, before %s", got, workers)
	}
}
