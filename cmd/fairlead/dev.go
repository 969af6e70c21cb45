//go:build !node

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// devContext is the NATS context that dev writes.
const devContext = "fairlead-dev"

func newDev(a *app) *cobra.Command {
	var o dev.Options
	var apply []string
	var httpAddress, gates string
	c := &cobra.Command{
		Use:   "dev",
		Short: "run everything on this host: broker, station, agents, real nginx",
		Long: `Runs a NATS broker with authentication, a station and one or more agents, each with its own nginx, in one process.
It writes the NATS context ` + devContext + ` and selects it when none is selected, so that every other command works
in a second terminal with no flag. Ctrl-C stops all that it started; a later start on the same data goes on.
The nodes are node1, node2 and so on, with the labels env=dev, role=edge and index=1, index=2 and so on.`,
		Example: `  fairlead dev
  fairlead dev --apply examples/hello
  fairlead dev --nodes 3 --data /tmp/fleet --nats 127.0.0.1:5222`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Programs = append(dev.DefaultPrograms(), o.Programs...)
			if o.Nodes < 1 {
				return usagef("--nodes %d: use 1 or more", o.Nodes)
			}
			if ip := net.ParseIP(o.FirstAddress).To4(); ip == nil || !ip.IsLoopback() {
				return usagef("--address %q: use an IPv4 loopback address, such as 127.0.0.2", o.FirstAddress)
			}
			if gates != "" {
				var err error
				if o.GateProgram, err = gateProgram(gates); err != nil {
					return err
				}
			}
			sbinOnPath()
			if _, err := host.LookPath("nginx"); err != nil {
				return fleet.Errorf(fleet.Invalid, "there is no nginx here: install it, on Debian and Ubuntu by `apt-get install nginx`, or put it on the PATH")
			}
			level := slog.LevelWarn
			if a.debug {
				level = slog.LevelDebug
			}
			o.Version, o.Logger = version, a.logger(level)
			return a.runDev(cmd.Context(), o, apply, httpAddress)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "directory that keeps everything (default /var/lib/fairlead/dev for root, else below your data directory)")
	f.IntVar(&o.Nodes, "nodes", 1, "how many nodes; each has its own nginx and loopback address")
	f.StringVar(&o.NATS, "nats", "127.0.0.1:4222", "address of the broker; port 0 takes a free one")
	f.StringVar(&o.FirstAddress, "address", "127.0.0.1", "node1's loopback address; the others follow")
	f.StringVar(&httpAddress, "http", "", "loopback address that serves /healthz and /metrics, such as 127.0.0.1:9422")
	f.StringArrayVar(&o.Programs, "allow", nil, "`PROGRAM` that shell may run, by absolute path, beside a few that only look; may be given several times")
	f.StringVar(&gates, "gates", "", "`DIR` with the programs that gates of rollouts may ask, see fairlead help station")
	f.StringArrayVar(&apply, "apply", nil, "`PATH` of a file or directory with resources to apply once everything runs")
	return c
}

func (a *app) runDev(ctx context.Context, o dev.Options, apply []string, httpAddress string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := time.Now()
	d, err := dev.New(o)
	if err != nil {
		return err
	}
	d.OnProgress(func(what string) { a.say("%s %s …", a.paint(dim, "·"), what) })
	server, err := serveHTTP(httpAddress, d.Metrics)
	if err != nil {
		return err
	}
	defer server.Close()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	select {
	case <-d.Ready():
	case err := <-done:
		if fleet.KindOf(err) == fleet.Conflict {
			err = fmt.Errorf("%w; another fleet beside it needs --data, --nats and --address of its own", err)
		}
		return err
	}
	name, selected, err := a.devContext(d)
	if err != nil {
		a.say("the NATS context was not written: %v", err)
	}
	var failed error
	if len(apply) > 0 {
		failed = a.devApply(ctx, d, apply)
	}
	a.devBanner(ctx, d, o, httpAddress, name, selected, time.Since(begun))
	if failed != nil && ctx.Err() == nil {
		var code exitError
		if !errors.As(failed, &code) {
			a.say("%s %v", a.paint(red, "the resources were not applied:"), failed)
		} else if code == message.ExitFailed {
			a.say("%s where it is a port that is taken, stop who has it, or give the nodes other addresses with --address 127.0.0.2",
				a.paint(red, "not everything that was applied serves, see above:"))
		}
	}
	err = <-done
	if ctx.Err() != nil {
		a.say("stopped; the same command goes on where this ended")
	}
	return err
}

// devContext writes the context, and selects it when none is. That of another dev
// which runs still is left alone: this one's has the broker's port in its name then.
func (a *app) devContext(d *dev.Dev) (name string, selected bool, err error) {
	name = devContext
	if c, err := bus.LoadContext(name); err == nil && c.Creds != d.AdminCreds() && c.URL != d.URL() && listens(c.URL) {
		if u, err := url.Parse(d.URL()); err == nil {
			name += "-" + u.Port()
		}
		a.say("%s the context %s is of another fleet that runs here, %s: this one's is %s", a.paint(yellow, "note:"), devContext, c.URL, name)
	}
	if err := saveContext(name, "everything on this host, by fairlead dev", d.URL(), d.TLS(), d.AdminCreds(), dev.AdminUser); err != nil {
		return name, false, err
	}
	now, err := bus.SelectedContext()
	if err != nil || now == "" {
		return name, true, bus.SelectContext(name)
	}
	return name, now == name, nil
}

// listens reports whether somebody listens where a broker was.
func listens(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (a *app) devApply(ctx context.Context, d *dev.Dev, paths []string) error {
	set, err := manifest.Load(paths...)
	if err != nil {
		return err
	}
	c, err := d.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	a.say("%s applying %s …", a.paint(dim, "·"), strings.Join(paths, ", "))
	plan, err := c.Plan(ctx, set, false)
	if err != nil {
		return err
	}
	return a.carryOut(ctx, c, plan, true, days(time.Minute))
}

func (a *app) devBanner(ctx context.Context, d *dev.Dev, o dev.Options, httpAddress, name string, selected bool, took time.Duration) {
	nodes, err := d.Nodes()
	if err != nil {
		return
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name+" "+n.Address)
	}
	p := func(name, value string) { fmt.Fprintf(a.stdout, "  %-9s %s\n", name, value) }
	fmt.Fprintf(a.stdout, "\n%s in %s\n\n", a.paint(green, "Fairlead runs"), took.Round(time.Millisecond))
	p("broker", d.URL()+"  (NATS with JetStream, TLS, authenticated)")
	p("context", name+note(selected, "  (selected)", "  (another is selected: give --context "+name+")"))
	p("nodes", client.NameNodes(names))
	if absent := devAbsent(ctx, d, nodes); len(absent) > 0 {
		p("away", fmt.Sprintf("%s, of an earlier start: --nodes %d runs %s again", client.NameNodes(absent), len(nodes)+len(absent), note(len(absent) == 1, "it", "them")))
	}
	p("data", d.Data())
	if httpAddress != "" {
		p("metrics", "http://"+httpAddress+"/metrics")
	}
	sites := a.devSites(ctx, d, nodes)
	for _, s := range sites {
		p("site", s)
	}
	next := "status"
	if len(sites) == 0 {
		next = "apply -f examples/hello --wait"
	}
	fmt.Fprintf(a.stdout, "\nIn a second terminal:\n")
	for _, command := range []string{next, "publish node1.command.reload.nginx --wait", "audit --replay"} {
		fmt.Fprintf(a.stdout, "  %s %s\n", calledAs(), command)
	}
	fmt.Fprintf(a.stdout, "\nCtrl-C stops everything.\n\n")
}

// calledAs is how to call this program in a second terminal.
func calledAs() string {
	if path, err := host.LookPath("fairlead"); err == nil {
		onPath, err := os.Stat(path)
		self, serr := os.Executable()
		if me, merr := os.Stat(self); err == nil && serr == nil && merr == nil && os.SameFile(onPath, me) {
			return "fairlead"
		}
	}
	return os.Args[0]
}

// devSites are the addresses at which node1 serves what is applied.
func (a *app) devSites(ctx context.Context, d *dev.Dev, nodes []dev.Node) []string {
	c, err := d.Client(ctx)
	if err != nil {
		return nil
	}
	defer c.Close()
	found, err := c.Resources(ctx, "VirtualHost", "")
	if err != nil {
		return nil
	}
	why := ""
	if known, _, err := c.Nodes(ctx, station.NodesQuestion{Names: []string{nodes[0].Name}}); err == nil && len(known) > 0 {
		switch known[0].Sync {
		case station.Partial, station.FailedIn, station.Unfit, station.Drifted:
			why = fmt.Sprintf(", not served: `%s why %s`", calledAs(), nodes[0].Name)
		}
	}
	var sites []string
	for _, r := range found {
		host := r.Spec.(*fleet.VirtualHost) // of this kind, by the question
		for _, l := range host.Listen {
			address := l.Address
			if address == "" {
				address = nodes[0].Address
			}
			scheme := map[bool]string{false: "http", true: "https"}[l.TLS]
			sites = append(sites, fmt.Sprintf("%s://%s:%d/  (%s%s%s)", scheme, address, l.Port, r.Metadata.Name, askedBy(host.ServerNames), why))
		}
	}
	return sites
}

// askedBy is the name that a request must have, where no name does not do.
func askedBy(names []string) string {
	if len(names) == 0 || slices.Contains(names, "_") {
		return ""
	}
	return ", to requests for " + names[0]
}

// devAbsent are nodes of an earlier start on the same data, which had more of them.
func devAbsent(ctx context.Context, d *dev.Dev, nodes []dev.Node) []string {
	c, err := d.Client(ctx)
	if err != nil {
		return nil
	}
	defer c.Close()
	known, _, err := c.Nodes(ctx, station.NodesQuestion{Selector: "env=dev,index"})
	if err != nil {
		return nil
	}
	var absent []string
	for _, n := range known {
		if !slices.ContainsFunc(nodes, func(run dev.Node) bool { return run.Name == n.Name }) {
			absent = append(absent, n.Name)
		}
	}
	return absent
}
