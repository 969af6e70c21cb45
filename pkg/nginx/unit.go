package nginx

import (
	"context"
	"fmt"
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
	}
	return fmt.Sprintf("%s is %s", name, u.active)
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
// engine reads, whatever the unit of the distribution says.
func DropIn(cfg Config) (string, error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	cfg = cfg.complete()
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
ExecStartPre=-/bin/rm -f %[2]s
ExecStart=
ExecStart=%[3]s -g 'daemon on; master_process on;'
ExecReload=
ExecReload=/bin/kill -HUP $MAINPID
ExecStop=
ExecStop=/bin/kill -QUIT $MAINPID
TimeoutStopSec=30
KillMode=mixed
`, cfg.PidFile, cfg.statusSocket(), start), nil
}
