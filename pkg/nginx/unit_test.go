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
	if alive; then echo ActiveState=active; echo MainPID=$main
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
