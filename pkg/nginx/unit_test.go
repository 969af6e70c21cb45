package nginx_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// systemctl stands in for systemd where none runs: it starts a real nginx by
// the ExecStart of the drop-in, and knows of its one unit what systemd knows.
const systemctl = `#!/bin/sh
d=%[1]s
echo "$*" >>$d/calls
main=$(cat $d/main 2>/dev/null)
alive() { [ -n "$main" ] && [ -e /proc/$main ] && ! grep -q '^State:.[ZX]' /proc/$main/status; }
case $1 in
show)
	echo LoadState=loaded
	ran=0; [ -e $d/main ] && ran=1234
	echo ActiveEnterTimestampMonotonic=$ran
	if [ -s $d/activating ]; then sed -i 1d $d/activating; echo ActiveState=activating; echo MainPID=0
	elif alive && [ -e $d/stopped ]; then echo ActiveState=deactivating; echo MainPID=$main
	elif alive; then echo ActiveState=active; echo MainPID=$main
	elif [ -e $d/stopped ] || [ $ran = 0 ]; then echo ActiveState=inactive; echo MainPID=0
	else echo ActiveState=failed; echo MainPID=0; fi ;;
start)
	alive && exit 0
	rm -f $d/stopped %[2]s
	%[3]s || exit 1
	while ! [ -s %[2]s ]; do sleep 0.01; done
	cp %[2]s $d/main ;;
stop)
	touch $d/stopped
	alive && kill -QUIT $main ;;
esac
exit 0
`

func (n *node) systemctl(verb string) {
	n.t.Helper()
	ctx, cancel := within(20 * time.Second)
	defer cancel()
	r, err := host.Run(ctx, host.Command{Path: n.cfg.Systemctl, Args: []string{verb, n.cfg.Unit}})
	if err != nil || r.ExitCode != 0 {
		n.t.Errorf("systemctl %s: %v, %s", verb, err, r.Stderr)
	}
}

// newSystemdNode is a node whose nginx systemd starts, and what systemctl was
// called with.
func newSystemdNode(t *testing.T) (n *node, calls func() string) {
	t.Helper()
	n = newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.cfg.Manage, n.cfg.Unit, n.cfg.PidFile = nginx.Systemd, "edge.service", filepath.Join(n.cfg.Run, "nginx.pid")
	n.cfg.LookEvery, n.cfg.Patience = 50*time.Millisecond, time.Second
	dropIn, err := nginx.DropIn(n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var start string
	for line := range strings.Lines(dropIn) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok && command != "" {
			start = command
		}
	}
	dir := t.TempDir()
	n.cfg.Systemctl = filepath.Join(dir, "systemctl")
	script := fmt.Sprintf(systemctl, dir, n.cfg.PidFile, start)
	if err := writeProgram(n.cfg.Systemctl, []byte(script)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.crash()
		n.killNginx()
	})
	n.start()
	return n, func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return string(text)
	}
}

func TestSystemdIsAskedToStartNginxThatDied(t *testing.T) {
	n, calls := newSystemdNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	for range 2 {
		dead := n.status().PID
		n.signal(dead, syscall.SIGKILL)
		eventually(t, "another master serves", func() bool { s := n.status(); return s.Up && s.PID != dead && s.Revision == 1 })
		n.serves(port, "200 hello")
	}
	n.wantEvent(nginx.EventRecovered, "ended", "started with revision 1")
	if !strings.Contains(calls(), "start edge.service") || n.masters() != 1 {
		t.Errorf("%d masters after\n%s", n.masters(), calls())
	}
	pid := n.status().PID
	n.crash()
	n.start()
	if n.status().PID != pid {
		t.Errorf("a new engine did not adopt %d: %+v", pid, n.status())
	}
	if err := n.Stop(t.Context()); err != nil || n.masters() != 1 {
		t.Errorf("Stop ended an nginx of systemd: %v", err)
	}
}

func TestAUnitThatSomebodyStoppedStaysDown(t *testing.T) {
	n, calls := newSystemdNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	before := strings.Count(calls(), "start edge.service")
	n.systemctl("stop")
	n.wantEvent(nginx.EventDown, "somebody stopped edge.service")
	if _, err := n.apply(2, site("web", port, "x")); err == nil || !strings.Contains(err.Error(), "somebody stopped") {
		t.Errorf("apply: %v", err)
	}
	if got := strings.Count(calls(), "start edge.service"); got != before || n.masters() != 0 || n.status().Trouble == "" {
		t.Errorf("it was started %d times more", got-before)
	}
	n.systemctl("start")
	eventually(t, "it is adopted again", func() bool { return n.status().Up })
	n.mustApply(3, site("web", port, "again"))
}

// Since systemd gives requests time to end, the looks at nginx find a master
// without workers for longer than they would let pass.
func TestAUnitThatIsBeingStoppedIsLetStop(t *testing.T) {
	n, calls := newSystemdNode(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "late")
	}))
	defer backend.Close()
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"),
		resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: backend.Listener.Addr().String()}}}))
	starts := strings.Count(calls(), "start edge.service")
	answer := make(chan string, 1)
	go func() { answer <- n.get(port, "web.example.org", "/") }()
	<-arrived
	n.systemctl("stop")
	asked := strings.Count(calls(), "show")
	eventually(t, "systemd is asked or told again and again", func() bool {
		return strings.Count(calls(), "show") > asked+3 || strings.Count(calls(), "start edge.service") > starts
	})
	close(release)
	if got := <-answer; got != "200 late" {
		t.Errorf("the request that was under way: %s", got)
	}
	n.wantEvent(nginx.EventDown, "somebody stopped edge.service")
	if got := strings.Count(calls(), "start edge.service"); got != starts || n.masters() != 0 {
		t.Errorf("it was started %d times, and %d masters run", got-starts, n.masters())
	}
}

func TestAUnitThatSystemdStartsAlreadyIsNotDown(t *testing.T) {
	n, _ := newSystemdNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	if err := os.WriteFile(filepath.Join(filepath.Dir(n.cfg.Systemctl), "activating"), []byte("once\ntwice\nthree times\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.signal(n.status().PID, syscall.SIGKILL)
	n.wantEvent(nginx.EventRecovered, "started with revision 1")
	if slices.Contains(n.told(), nginx.EventDown) {
		t.Errorf("told: %v", n.told())
	}
}

func TestTheHostsOwnNginxOfAUnitWithoutTheDropInIsLeftAlone(t *testing.T) {
	n, calls := newSystemdNode(t)
	n.crash()
	n.systemctl("stop")
	eventually(t, "it is stopped", func() bool { return n.masters() == 0 })
	port, own := n.freePort(), filepath.Join(n.cfg.Conf, "nginx.conf")
	text := fmt.Sprintf("pid %s;\nerror_log stderr;\nevents {}\nhttp { access_log off; server { listen %s:%d; return 200 stock; } }\n", n.cfg.PidFile, n.address, port)
	if err := os.WriteFile(own+".stock", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(n.cfg.Systemctl)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeProgram(n.cfg.Systemctl, []byte(strings.Replace(string(program), own, own+".stock", 1))); err != nil {
		t.Fatal(err)
	}
	n.systemctl("start")
	starts := strings.Count(calls(), "start edge.service")
	n.run()
	n.wantEvent(nginx.EventDown, "edge.service runs process", "--print-drop-in")
	if _, err := n.apply(1, site("web", port, "hello")); err == nil || !strings.Contains(err.Error(), "--print-drop-in") {
		t.Errorf("apply: %v", err)
	}
	n.serves(port, "200 stock")
	if got := strings.Count(calls(), "start edge.service"); got != starts {
		t.Errorf("it was started %d times", got-starts)
	}
	if err := writeProgram(n.cfg.Systemctl, program); err != nil {
		t.Fatal(err)
	}
	n.systemctl("stop")
	eventually(t, "it is stopped", func() bool { return n.masters() == 0 })
	n.systemctl("start")
	eventually(t, "it is adopted", func() bool { return n.status().Up })
	n.mustApply(2, site("web", port, "hello"))
	n.serves(port, "200 hello")
}
