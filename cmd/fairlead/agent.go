package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/agent"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

func newAgent(a *app) *cobra.Command {
	var d daemonFlags
	var state, run, logs string
	var n nginx.Config
	var without, dropIn bool
	var allow []string
	var pushDirs []string
	syslogs := map[string]string{}
	health := days(15 * time.Second)
	var link string
	var heartbeat days
	var budget rate
	c := &cobra.Command{
		Use:   "agent",
		Short: "run the agent of this node",
		Long: `Makes nginx what the fleet says it should be, runs commands, reports. It dials out to the broker and listens on nothing
but unix sockets and the syslog addresses that you give. Without a link it goes on with what it has on disk.

Where the broker is, who the node is and whom it believes lies in the state directory once the host has joined
(` + "`fairlead join`" + `); the node's JWT is renewed there. Credentials that are given by a flag, FAIRLEAD_CREDS or a context
go before that, and are renewed in their place.`,
		Example: `  fairlead agent
  fairlead agent --nginx systemd --nginx-unit nginx.service
  fairlead agent --nginx external --nginx-pid /run/nginx.pid --nginx-conf /etc/nginx
  fairlead agent --push-dir /srv/www --push-dir /var/lib/app
  fairlead agent --allow /usr/bin/uname --syslog edge=udp:127.0.0.1:5514
  fairlead agent --url tls://broker.example.org:4222 --creds ship1.creds --trust trust.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// An agent is small: a soft limit keeps the collector from letting the
			// heap grow to twice what is in use.
			debug.SetGCPercent(50)
			sbinOnPath()
			if err := absolute(&state, &run, &logs, &n.Conf, &n.HostConf, &n.PidFile); err != nil {
				return err
			}
			if dropIn {
				n.State, n.Run, n.Logs = filepath.Join(state, "nginx"), run, logs
				text, err := nginx.DropIn(n)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), text)
				return err
			}
			cfg := agent.Config{Version: version, State: journalOf(state), Programs: allow, Syslog: syslogs,
				PushDirs:    directories(pushDirs),
				HealthEvery: time.Duration(health), Link: link, Heartbeat: time.Duration(heartbeat), Budget: budget.bytes, Logger: a.daemonLogger()}
			if err := a.nodeSettings(d, state, &cfg); err != nil { // before anything is made
				return err
			}
			// Workers of nginx, which are not root, pass through it; the journal
			// has a closed directory of its own.
			if err := os.MkdirAll(state, 0o755); err != nil {
				return fleet.Errorf(fleet.Invalid, "--state: %w: give a directory that this user may write", err)
			}
			if !without {
				n.State = filepath.Join(state, "nginx")
				n.Run, n.Logs = run, logs
				cfg.Nginx = &n
				if syslogs["nginx"] == "" {
					syslogs["nginx"] = "unixgram:" + filepath.Join(run, "syslog.sock")
				}
			}
			for {
				ag, err := agent.New(cfg)
				if err != nil {
					return err
				}
				go trimAfter(cmd.Context(), ag.Ready())
				var anew *agent.Anew
				if err = ag.Run(cmd.Context()); !errors.As(err, &anew) {
					return err
				}
				if cmd.Context().Err() != nil {
					return nil
				}
				if err := a.nodeSettings(d, state, &cfg); err != nil { // it may have another name now
					return err
				}
			}
		},
	}
	d.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&state, "state", usualState, "directory for the node's identity, the journal and nginx versions")
	f.StringVar(&run, "run", "/run/fairlead", "directory for sockets")
	f.StringVar(&logs, "logs", "/var/log/fairlead", "directory for nginx's error logs")
	f.StringVar(&n.Manage, "nginx", nginx.Child, "who starts nginx: child (the agent), systemd, or external (a container, somebody else)")
	f.StringVar(&n.Unit, "nginx-unit", "nginx.service", "nginx's unit, with --nginx systemd")
	f.BoolVar(&dropIn, "print-drop-in", false, "print the drop-in for nginx's unit that goes with these flags, and end")
	f.BoolVar(&without, "without-nginx", false, "care for no nginx at all")
	f.StringVar(&n.Conf, "nginx-conf", "/etc/fairlead/nginx", "directory that holds nginx.conf")
	f.StringVar(&n.Binary, "nginx-binary", "", "nginx, when it is not on the PATH")
	f.StringVar(&n.HostConf, "nginx-include", "", "the host's own `NGINX.CONF`, which stays and includes what Fairlead manages; with --nginx external")
	f.StringVar(&n.PidFile, "nginx-pid", "", "pid file of an external nginx")
	f.StringVar(&n.User, "nginx-user", "", "user of nginx's workers (default www-data, else nobody)")
	f.IntVar(&n.Workers, "nginx-workers", 0, "nginx's worker processes; 0 is one for each processor")
	f.StringArrayVar(&allow, "allow", nil, "`PROGRAM` that shellcommand may run, by absolute path; may be given several times")
	f.StringArrayVar(&pushDirs, "push-dir", nil, "`DIR` that `fairlead push` may put files into; several times, or separated by colons")
	f.StringToStringVar(&syslogs, "syslog", syslogs, "`DOMAIN=ADDRESS` to forward syslog from: unixgram:/path, udp:host:port, tcp:host:port")
	f.StringVar(&link, "link", fleet.DefaultLink, "`CLASS` of the link to the broker: lan, wan or satellite; the node has it as a fact")
	f.Var(&heartbeat, "heartbeat", "longest time between heartbeats (default 15s, 20s or 30s, as the link is)")
	f.Var(&budget, "budget", "most that the link to the broker carries, both ways together, such as 64kbit/s; 8kbit/s or more")
	f.Var(&health, "health-every", "time between health reports")
	return c
}

// directories are those of a list whose parts colons separate, as in PATH.
func directories(lists []string) (dirs []string) {
	for _, list := range lists {
		for _, dir := range filepath.SplitList(list) {
			if dir != "" {
				dirs = append(dirs, filepath.Clean(dir))
			}
		}
	}
	return dirs
}

// absolute has paths that were given relative to here name the same from
// everywhere: nginx starts in another directory.
func absolute(paths ...*string) (err error) {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return nil
}

// settled is when an agent that is ready has read, checked and reported for the
// first time, and does little from then on.
const settled = 10 * time.Second

// trimAfter gives back what only the start needed: once the agent is ready, and
// again when its first round is behind it, which reads much of the program that
// is not needed every minute: 2 MB of 22 a minute later, by `fairlead bench footprint`.
func trimAfter(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	host.TrimMemory()
	later := time.NewTimer(settled)
	defer later.Stop()
	select {
	case <-later.C:
		host.TrimMemory()
	case <-ctx.Done():
	}
}

// sbinOnPath finds nginx where distributions put it, which is not on every
// user's PATH.
func sbinOnPath() {
	_ = os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin") // a name and a value that may be set
}
