package nginx_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// newWatchedNode looks more often and waits less than a node in the field.
func newWatchedNode(t *testing.T, change func(*nginx.Config)) *node {
	t.Helper()
	n := newNode(t)
	n.crash()
	n.cfg.LookEvery, n.cfg.Patience = 50*time.Millisecond, time.Second
	if change != nil {
		change(&n.cfg)
	}
	n.start()
	return n
}

// signal sends a signal to a process of this node's nginx.
func (n *node) signal(pid int, s syscall.Signal) {
	n.t.Helper()
	p, err := host.OpenProcess(pid)
	if err != nil {
		n.t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// linkedDir is the directory of the version that is linked.
func (n *node) linkedDir() string {
	n.t.Helper()
	target, err := os.Readlink(filepath.Join(n.cfg.Conf, "nginx.conf"))
	if err != nil {
		n.t.Fatal(err)
	}
	return filepath.Dir(target)
}

// serves waits until the site answers.
func (n *node) serves(port int, want string) {
	n.t.Helper()
	eventually(n.t, "the site answers "+want, func() bool { return n.get(port, "web.example.org", "/") == want })
}

func TestKilledMasterIsBackWithinTwoSecondsAndThatIsTold(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	v := n.mustApply(1, site("web", port, "hello"))
	dead := n.status().PID
	began := time.Now()
	if err := syscall.Kill(dead, syscall.SIGKILL); err != nil { // no handle of the test's own, which would reap it
		t.Fatal(err)
	}
	eventually(t, "another master serves", func() bool {
		s := n.status()
		return s.Up && s.PID != dead && s.Running == v.Digest
	})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("got %q", got)
	}
	n.wantEvent(nginx.EventRecovered, fmt.Sprint(dead), "was killed by SIGKILL", "started with revision 1", ", after ")
	r := n.status().Recovery
	if r.Down <= 0 || r.Down > 2*time.Second || !strings.Contains(r.What, "SIGKILL") || n.status().Trouble != "" {
		t.Errorf("recovery %+v", r)
	}
	n.crash()
	n.start()
	if again := n.status().Recovery; again.What != r.What {
		t.Errorf("a new engine does not know of it: %+v", again)
	}
}

// A FIFO that nobody writes to stops the master in open(2), with all signals
// blocked: no TERM ends it.
func TestMasterThatHangsOnAFIFOIsEndedAndStartedAnew(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	// Where drift is enforced the link may be healed before nginx reads it.
	n.mustApply(1, resource("node", &fleet.NodePolicy{Drift: fleet.DriftReport}), site("web", port, "hello"))
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	link, was := filepath.Join(n.cfg.Conf, "nginx.conf"), n.linkedDir()
	foreign := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(foreign, []byte("events { }\ninclude "+fifo+";\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	point(t, link, foreign)
	wedged := n.status().PID
	n.signal(wedged, syscall.SIGHUP)
	eventually(t, "the master is deaf", func() bool {
		a, err := host.ReadActivity(wedged)
		return err == nil && a.Blocks(syscall.SIGHUP)
	})
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("workers of a wedged master answer %q", got)
	}
	n.wantEvent(nginx.EventRecovered, "hung", fmt.Sprint(wedged), "started with revision 1")
	if s := n.status(); s.PID == wedged || !s.Up || n.linkedDir() != was || n.masters() != 1 {
		t.Errorf("status %+v from %s", s, n.linkedDir())
	}
	n.serves(port, "200 hello")
	n.mustApply(2, site("web", port, "and on"))
}

// Where hand edits are only reported, one that hangs nginx does not stay.
func TestAHandEditThatHangsNginxIsTakenBack(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	n.mustApply(1, resource("node", &fleet.NodePolicy{Drift: fleet.DriftReport}), site("web", port, "hello"))
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(n.linkedDir(), "nginx.conf")
	file, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(file, "include %s;\n", fifo); err != nil {
		t.Fatal(err)
	}
	file.Close()
	wedged := n.status().PID
	n.signal(wedged, syscall.SIGHUP)
	n.wantEvent(nginx.EventRecovered, "hung", fmt.Sprint(wedged), "started with revision 1")
	n.wantEvent(nginx.EventHealed, "nginx.conf", "a copy is in")
	n.serves(port, "200 hello")
	if text, err := os.ReadFile(conf); err != nil || strings.Contains(string(text), fifo) {
		t.Errorf("the edit stays: %v", err)
	}
}

// point makes a link name something else, as a hand does.
func point(t *testing.T, link, target string) {
	t.Helper()
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

func TestStoppedProcessesOfNginxAreToldToGoOn(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid, workers := n.status().PID, n.workers()
	n.signal(pid, syscall.SIGSTOP)
	n.wantEvent(nginx.EventRecovered, "the master process", fmt.Sprint(pid), "stopped by a signal")
	children, err := host.Children(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, worker := range children {
		n.signal(worker, syscall.SIGSTOP)
	}
	n.wantEvent(nginx.EventRecovered, "workers", "stopped by a signal")
	n.serves(port, "200 hello")
	if n.status().PID != pid || n.workers() != workers {
		t.Error("processes were replaced")
	}
	n.mustApply(2, site("web", port, "and on"))
}

func TestRemovedRunDirectoryIsMadeAgainWithoutARestart(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid := n.status().PID
	for _, name := range []string{"status.sock", "control.sock", "nginx.pid"} {
		if err := os.Remove(filepath.Join(n.cfg.Run, name)); err != nil {
			t.Fatal(err)
		}
	}
	n.wantEvent(nginx.EventRecovered, "status socket", "was gone")
	if s := n.status(); !s.Up || s.PID != pid {
		t.Errorf("status %+v, before: %d", s, pid)
	}
	n.serves(port, "200 hello")
	// What fails at a reload alone is said on the control log.
	_, other := n.takenUDP()
	_, err := n.apply(2, append(other, site("web", port, "new"))...)
	wantFailure(t, err, "revision 1", "serves again", "Address already in use")
	n.mustApply(3, site("web", port, "and on"))
}

func TestWorkersThatDieOverAndOverAreTold(t *testing.T) {
	n := newWatchedNode(t, nil)
	for range 3 {
		before := n.workers()
		children, err := host.Children(n.status().PID)
		if err != nil {
			t.Fatal(err)
		}
		n.signal(children[0], syscall.SIGSEGV)
		eventually(t, "nginx starts another worker", func() bool { return n.workers() != before && n.status().Workers == 2 })
	}
	n.wantEvent(nginx.EventCrashing, "3 workers", "exited on signal 11")
}

func TestAVersionThatNoLongerStartsGivesWayToTheOneBeforeIt(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	n.mustApply(1, site("web", port, "older"))
	other := n.freePort()
	n.mustApply(2, site("web", port, "newer"), site("other", other, "x"))
	// Somebody takes the port while nginx is down.
	n.crash()
	n.killNginx()
	taken, err := net.Listen("tcp", fmt.Sprintf("%s:%d", n.address, other))
	if err != nil {
		t.Fatal(err)
	}
	n.run()
	n.serves(port, "200 older")
	n.wantEvent(nginx.EventDown, "Address already in use", fmt.Sprintf("held by process %d", os.Getpid()))
	n.wantEvent(nginx.EventRecovered, "revision 1", "in place of", "revision 2")
	n.mustApply(3, site("web", port, "newest"))
	taken.Close()
	n.mustApply(4, site("web", port, "newest"), site("other", other, "x"))
}

// killNginx kills master and workers, as a reset of the host does.
func (n *node) killNginx() {
	n.t.Helper()
	pids, err := host.Processes()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, pid := range pids {
		title, err := host.Title(pid)
		if err != nil || !strings.Contains(title, n.cfg.Conf+"/nginx.conf") {
			continue
		}
		children, _ := host.Children(pid)
		for _, pid := range append([]int{pid}, children...) { // a master replaces dead workers
			p, err := host.OpenProcess(pid)
			if err != nil {
				continue
			}
			_ = p.Signal(syscall.SIGKILL)
			wait(p, 5*time.Second)
			p.Close()
		}
	}
}

func TestLogsOfNginxAreRotatedAndNoLineIsLost(t *testing.T) {
	n := newWatchedNode(t, func(c *nginx.Config) { c.LogBytes, c.LogKeep, c.LookEvery = 2000, 4, 10*time.Millisecond })
	port := n.freePort()
	n.mustApply(1, resource("web", &fleet.VirtualHost{
		Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"web.example.org"},
		Locations: []fleet.Location{{Path: "/", Root: filepath.Dir(n.cfg.Logs)}},
	}))
	log := filepath.Join(n.cfg.Logs, "error.log")
	pid := n.status().PID
	asked := 0
	ask := func() { // each is an error: there is no such file
		n.get(port, "web.example.org", fmt.Sprintf("/missing/%d", asked))
		asked++
	}
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return -1
		}
		return info.Size()
	}
	for range 2 {
		for size(log) <= 2000 {
			ask()
		}
		eventually(t, "the log begins anew", func() bool { s := size(log); return s >= 0 && s < 2000 })
		ask()
	}
	var all string
	names, err := filepath.Glob(log + "*")
	if err != nil || len(names) < 3 || len(names) > 5 {
		t.Errorf("there are %q, %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all += string(data)
	}
	for i := range asked {
		if !strings.Contains(all, fmt.Sprintf("/missing/%d\"", i)) {
			t.Errorf("line %d is lost", i)
		}
	}
	if n.status().PID != pid {
		t.Error("nginx was started anew")
	}
}

func TestALostRecordDoesNotMakeTheSiteEmpty(t *testing.T) {
	for name, lose := range map[string]func(n *node){
		"record": func(n *node) { os.Remove(filepath.Join(n.cfg.State, "good.json")) },
		"record and link": func(n *node) {
			os.Remove(filepath.Join(n.cfg.State, "good.json"))
			os.Remove(filepath.Join(n.cfg.Conf, "nginx.conf"))
		},
		"newest version":      func(n *node) { os.RemoveAll(n.linkedDir()) },
		"half of the version": func(n *node) { os.RemoveAll(filepath.Join(n.linkedDir(), "http.d")) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			port := n.freePort()
			n.mustApply(1, site("web", port, "hello"))
			n.mustApply(2, site("web", port, "hello"), site("two", port, "x"))
			n.crash()
			n.killNginx()
			lose(n)
			n.run()
			n.serves(port, "200 hello")
			n.mustApply(3, site("web", port, "and on"))
		})
	}
}

func TestAllOfTheStateDeletedUnderALivingEngine(t *testing.T) {
	n := newWatchedNode(t, nil)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid := n.status().PID
	for _, dir := range []string{n.cfg.State, n.cfg.Run, n.cfg.Logs} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	// That looks have come by is known when they have helped something else.
	n.signal(pid, syscall.SIGSTOP)
	n.wantEvent(nginx.EventRecovered, "the master process", "stopped by a signal")
	n.serves(port, "200 hello")
	n.mustApply(2, site("web", port, "and on"))
	n.serves(port, "200 and on")
	if s := n.status(); s.PID != pid || !s.Up || n.masters() != 1 {
		t.Errorf("status %+v, before: %d", s, pid)
	}
}

func TestNginxThatServesWhatIsNotOnDiskIsLeftAloneUntilTheNextApply(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid := n.status().PID
	n.crash()
	for _, dir := range []string{n.cfg.State, n.cfg.Run, n.cfg.Logs} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	n.run()
	<-n.Looked()
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("got %q", got)
	}
	n.mustApply(2, site("web", port, "and on"))
	n.serves(port, "200 and on")
	if s := n.status(); s.PID != pid || !s.Up || n.masters() != 1 {
		t.Errorf("status %+v, before: %d", s, pid)
	}
}

func TestReplacedExecutableIsSaidAndItsMasterIsStillKnown(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := host.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "nginx")
	install := func() { // as dpkg does: a new file takes the old one's name
		t.Helper()
		if err := host.WriteFile(own, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install()
	n := newWatchedNode(t, func(c *nginx.Config) { c.Binary = own })
	if n.masters() != 1 { // newNode's, of another path
		t.Errorf("%d masters", n.masters())
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.start()
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid := n.status().PID
	if n.status().Outdated {
		t.Error("it is said to be outdated")
	}
	install()
	n.wantEvent(nginx.EventOutdated, own)
	if s := n.status(); !s.Outdated || s.PID != pid {
		t.Errorf("status %+v", s)
	}
	n.mustApply(2, site("web", port, "more"))
	n.crash()
	n.start()
	if s := n.status(); s.PID != pid || !s.Outdated {
		t.Errorf("after a restart of the engine: %+v", s)
	}
	n.signal(pid, syscall.SIGKILL)
	eventually(t, "the new one serves", func() bool { s := n.status(); return s.Up && s.PID != pid && !s.Outdated })
	n.serves(port, "200 more")
}
