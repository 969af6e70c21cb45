package nginx

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// unitState is what systemd knows of nginx's unit.
type unitState struct {
	main   int    // pid of the main process, 0 for none
	active string // "active", "inactive", "failed", "activating", "deactivating"
	ran    bool   // since the host booted
	loaded bool   // there is such a unit
}

// unitTime bounds a call of systemctl that does not wait for a start.
const unitTime = 10 * time.Second

// unit asks systemd about nginx's unit.
func (e *Engine) unit(ctx context.Context) (unitState, error) {
	ctx, cancel := context.WithTimeout(ctx, unitTime)
	defer cancel()
	r, err := host.Run(ctx, host.Command{Path: e.cfg.Systemctl,
		Args: []string{"show", "--property=LoadState,MainPID,ActiveState,ActiveEnterTimestampMonotonic", e.cfg.Unit}})
	if err != nil {
		return unitState{}, fleet.Errorf(fleet.Unavailable, "ask systemd about %s: %w", e.cfg.Unit, err)
	}
	if r.ExitCode != 0 {
		return unitState{}, fleet.Errorf(fleet.Unavailable, "ask systemd about %s: %s", e.cfg.Unit, strings.TrimSpace(string(r.Stderr)))
	}
	var u unitState
	for line := range strings.Lines(string(r.Stdout)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "MainPID":
			u.main, _ = strconv.Atoi(value)
		case "ActiveState":
			u.active = value
		case "LoadState":
			u.loaded = value == "loaded"
		case "ActiveEnterTimestampMonotonic":
			u.ran = value != "0" && value != ""
		}
	}
	return u, nil
}

// mayStart says why a unit that does not run is not to be started; "" when it
// is. One that ran and is inactive now was stopped by somebody, who shall find
// it so; one that died, or has not run since the host booted, is started.
func (u unitState) mayStart(name string) string {
	switch {
	case !u.loaded:
		return fmt.Sprintf("there is no unit %s: name nginx's unit with --nginx-unit", name)
	case u.active == "failed", u.active == "inactive" && !u.ran:
		return ""
	case u.active == "inactive":
		return fmt.Sprintf("somebody stopped %s: `systemctl start %s` starts it again", name, name)
	case u.active == "active" && u.main != 0:
		return fmt.Sprintf("%s runs process %d, which is no nginx that reads what Fairlead commits; it is left alone: install the drop-in "+
			"that `fairlead agent --nginx systemd --print-drop-in` prints, then `systemctl daemon-reload` and `systemctl restart %s`", name, u.main, name)
	}
	return fmt.Sprintf("%s is %s", name, u.active)
}

// settleTime is how long systemd may take to notice that nginx ended, or to
// start it for somebody else: in between a unit is neither.
const settleTime = 3 * time.Second

// awaitUnit waits until there is a master, or systemd says that there is none and
// that it makes none.
func (e *Engine) awaitUnit(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		if p := e.find(); p != nil {
			p.Close()
			return
		}
		u, err := e.unit(limit)
		if err != nil || u.active == "failed" || u.active == "inactive" || e.elsewhere(u.main) {
			return
		}
		if !pause(limit, 5*glance) {
			return
		}
	}
}

// ending says whether systemd ends nginx now, because somebody stops the unit
// or starts it anew: workers that drain meanwhile need no help. Nor does a
// master that has ended: whether it may be started again is asked then.
func (e *Engine) ending(ctx context.Context) bool {
	if e.cfg.Manage != Systemd {
		return false
	}
	u, err := e.unit(ctx)
	return err == nil && u.active == "deactivating" || !e.up()
}

// elsewhere says whether a process is a master of nginx that was started with
// another configuration than the one that the engine commits to: the host's own.
func (e *Engine) elsewhere(pid int) bool {
	title, err := host.Title(pid)
	return err == nil && pid > 0 && strings.HasPrefix(title, "nginx: master process") && e.readsElsewhere(title)
}

func (e *Engine) readsElsewhere(title string) bool {
	conf := e.can().value("--conf-path")
	if _, after, ok := strings.Cut(title, " -c "); ok {
		conf, _, _ = strings.Cut(after, " ")
	}
	if !filepath.IsAbs(conf) || conf == e.cfg.link() {
		return false
	}
	its, err1 := os.Stat(conf)
	own, err2 := os.Stat(e.cfg.link())
	return err1 != nil || err2 != nil || !os.SameFile(its, own)
}

// startUnit has systemd start nginx and opens its main process.
func (e *Engine) startUnit(ctx context.Context) (*host.Process, *failure) {
	limit, cancel := context.WithTimeout(ctx, unitTime+e.deadline())
	defer cancel()
	_, _ = host.Run(limit, host.Command{Path: e.cfg.Systemctl, Args: []string{"reset-failed", e.cfg.Unit}}) // of its limit of starts
	r, err := host.Run(limit, host.Command{Path: e.cfg.Systemctl, Args: []string{"start", e.cfg.Unit}})
	if err != nil {
		return nil, &failure{kind: fleet.Unavailable, text: fmt.Sprintf("systemctl start %s: %v", e.cfg.Unit, err)}
	}
	if r.ExitCode != 0 {
		return nil, &failure{kind: fleet.Failed, text: e.lastWords([]string{
			fmt.Sprintf("systemctl start %s: %s", e.cfg.Unit, strings.TrimSpace(string(r.Stderr)))})}
	}
	for {
		if p := e.find(); p != nil {
			return p, nil
		}
		if u, err := e.unit(limit); err == nil && e.elsewhere(u.main) {
			return nil, &failure{kind: fleet.Unavailable, text: u.mayStart(e.cfg.Unit)}
		}
		select {
		case <-limit.Done():
			return nil, &failure{kind: fleet.Timeout, text: fmt.Sprintf(
				"systemd started %s, and no master process of nginx is found: does the unit run %s, and is its pid file %s?", e.cfg.Unit, e.binary, e.cfg.PidFile)}
		case <-time.After(glance):
		}
	}
}

// DropIn is a drop-in for nginx's unit, such as
// /etc/systemd/system/nginx.service.d/fairlead.conf, that has systemd start
// nginx from the link that the engine commits to, with the pid file that the
// engine reads, whatever the unit of the distribution says. After a boot nginx
// may start before the agent, so it makes the run directory too. A stop gives
// requests five seconds: systemd sends TERM as soon as ExecStop has ended, and
// calls a unit "failed" whose time to stop ran out.
func DropIn(cfg Config) (string, error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	cfg = cfg.complete()
	workers, err := lookupAccount(cfg.User)
	if err != nil {
		return "", err
	}
	binary := cfg.Binary
	if !filepath.IsAbs(binary) {
		binary = "/usr/sbin/" + binary
	}
	start := fmt.Sprintf("%s -p %s -c %s", binary, cfg.State, cfg.link())
	return fmt.Sprintf(`# Written by Fairlead: nginx starts from what Fairlead committed last.
[Service]
Type=forking
PIDFile=%[1]s
RuntimeDirectoryPreserve=yes
ExecStartPre=
ExecStartPre=-/bin/sh -c 'test -d %[4]s || install -d -m 0710 -g %[5]s %[4]s'
ExecStartPre=-/bin/rm -f %[2]s
ExecStart=
ExecStart=%[3]s -g 'daemon on; master_process on;'
ExecReload=
ExecReload=/bin/kill -HUP $MAINPID
ExecStop=
ExecStop=/bin/kill -QUIT $MAINPID
ExecStop=-/usr/bin/timeout 5 /usr/bin/tail -s 0.1 -f --pid=${MAINPID} /dev/null
TimeoutStopSec=30
KillMode=mixed
`, cfg.PidFile, cfg.statusSocket(), start, cfg.Run, workers.group), nil
}
