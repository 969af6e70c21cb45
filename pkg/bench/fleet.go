package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/identity"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Options say what to measure with.
type Options struct {
	Binary   string // this program, for broker and station
	Data     string // directory of the broker; a temporary one when empty
	Journals string // directory of the agents' journals; below /dev/shm when empty, where there is one
	Sync     string // of the broker, see package broker
	Plain    bool   // no TLS
	Nodes    int
	Commands int // for the fan-out
	Singles  int // one after the other
	Burst    int // at once to one agent
	Progress func(format string, args ...any)
	Logger   *slog.Logger
}

func (o Options) complete() Options {
	set(&o.Sync, "2m")
	set(&o.Nodes, 1000)
	set(&o.Commands, 5000)
	set(&o.Singles, 1000)
	set(&o.Burst, 1000)
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// method is the one that the measured agents know; its handler does nothing.
const method = "nothing"

func registry() handlers.Registry {
	return handlers.New(handlers.Of(handlers.Definition[struct{}]{
		Method: method, Summary: "do nothing", Role: subjects.Operator, Domain: "bench",
		Handle: func(context.Context, *handlers.Node, handlers.Command[struct{}]) (handlers.Result, error) {
			return handlers.Result{Message: "done"}, nil
		},
	}))
}

// system is a broker, a station and agents.
type system struct {
	options   Options
	dirs      []string // removed at the end
	authority *identity.Authority
	url       string
	secure    bus.TLS
	broker    *host.Process
	station   *host.Process
	client    *client.Client
	stop      context.CancelFunc // ends the agents
	nodes     []identity.User
	agents    sync.WaitGroup
}

func nodeName(i int) string { return fmt.Sprintf("n%05d", i) }

// start brings up all but the agents; the caller calls close, also after an
// error.
func start(ctx context.Context, o Options) (*system, error) {
	// A thousand agents in one process collect garbage as one large program; a
	// thousand processes would hardly collect at all.
	debug.SetGCPercent(400)
	s := &system{options: o, stop: func() {}}
	if err := s.directories(); err != nil {
		return s, err
	}
	o.Progress("making %d identities", o.Nodes)
	var err error
	s.authority, err = identity.Open(filepath.Join(s.options.Data, "identity"), identity.Options{Methods: registry().Sent()})
	if err != nil {
		return s, err
	}
	for i := range o.Nodes {
		u, err := s.authority.User(nodeName(i), subjects.Node)
		if err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, u)
	}
	if err := s.daemons(ctx); err != nil {
		return s, err
	}
	return s, s.register(ctx)
}

func (s *system) directories() error {
	if s.options.Data == "" {
		dir, err := os.MkdirTemp("", "fairlead-bench-")
		if err != nil {
			return err
		}
		s.options.Data, s.dirs = dir, append(s.dirs, dir)
	}
	if s.options.Journals == "" {
		base := "/dev/shm"
		if _, err := os.Stat(base); err != nil {
			base = ""
		}
		dir, err := os.MkdirTemp(base, "fairlead-bench-")
		if err != nil {
			return err
		}
		s.options.Journals, s.dirs = dir, append(s.dirs, dir)
	}
	return nil
}

// daemons starts broker and station as processes of their own, so that their
// memory can be told apart.
func (s *system) daemons(ctx context.Context) error {
	tenant := filepath.Join(s.options.Data, "identity", "tenants", "main")
	for name, role := range map[string]subjects.Role{"admin": subjects.Admin, "station": subjects.Station} {
		if _, err := s.authority.User(name, role); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.url, s.secure = "tls://"+port, bus.TLS{CA: s.authority.CAFile()}
	s.options.Progress("starting the broker on %s", port)
	args := []string{"broker", "--data", s.options.Data, "--listen", port, "--sync", s.options.Sync}
	if s.options.Plain {
		s.url, s.secure = "nats://"+port, bus.TLS{}
		args = append(args, "--plain")
	}
	if s.broker, err = s.daemon("broker", args...); err != nil {
		return err
	}
	admin, err := identity.LoadCreds(filepath.Join(tenant, "users", "admin.creds"))
	if err != nil {
		return err
	}
	err = eventually(ctx, s.broker, func() error {
		var err error
		s.client, err = client.Open(ctx, client.Options{URL: s.url, TLS: s.secure, Credentials: admin})
		return err
	})
	if err != nil {
		return s.explain("broker", err)
	}
	s.options.Progress("starting the station")
	s.station, err = s.daemon("station", "station", "--url", s.url, "--creds", filepath.Join(tenant, "users", "station.creds"),
		"--trust", s.authority.TrustFile(), "--logs-bytes", "67108864")
	if err != nil {
		return err
	}
	err = eventually(ctx, s.station, func() error {
		_, _, err := s.client.Nodes(ctx, station.NodesQuestion{})
		return err
	})
	return s.explain("station", err)
}

func (s *system) daemon(name string, args ...string) (*host.Process, error) {
	p, err := host.Start(host.Daemon{Path: s.options.Binary, Args: args, Stderr: s.logFile(name)})
	return p, s.explain(name, err) // it may have ended before it could be watched
}

func (s *system) logFile(name string) string { return filepath.Join(s.options.Data, name+".log") }

// explain adds what a process wrote to an error.
func (s *system) explain(name string, err error) error {
	if err == nil {
		return nil
	}
	text, _ := os.ReadFile(s.logFile(name))
	return fmt.Errorf("%w; the %s wrote: %s", err, name, text)
}

func (s *system) register(ctx context.Context) error {
	s.options.Progress("registering %d nodes", len(s.nodes))
	var records []station.NodeRecord
	for _, u := range s.nodes {
		records = append(records, station.NodeRecord{Name: u.Name, Key: u.Key, Since: time.Now().UTC()})
	}
	return s.client.Register(ctx, records...)
}

// startAgents runs the agents of the nodes that were made beforehand.
func (s *system) startAgents(ctx context.Context) error {
	trust, err := s.authority.TrustSet()
	if err != nil {
		return err
	}
	var agents []*agent.Agent
	for _, u := range s.nodes {
		creds, err := identity.LoadCreds(u.CredsFile)
		if err != nil {
			return err
		}
		a, err := agent.New(agent.Config{Name: u.Name, URL: s.url, TLS: s.secure, Credentials: creds, Trust: trust,
			State: filepath.Join(s.options.Journals, u.Name), Registry: registry(), HealthEvery: time.Minute, Logger: s.options.Logger})
		if err != nil {
			return err
		}
		agents = append(agents, a)
	}
	return s.run(ctx, agents)
}

// run starts agents and waits until the station hears all of them.
func (s *system) run(ctx context.Context, agents []*agent.Agent) error {
	ctx, s.stop = context.WithCancel(ctx)
	s.options.Progress("starting %d agents", len(agents))
	failed := make(chan error, len(agents))
	for _, a := range agents {
		s.agents.Go(func() {
			if err := a.Run(ctx); err != nil {
				failed <- err
			}
		})
	}
	for i, a := range agents {
		select {
		case <-a.Ready():
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		if (i+1)%100 == 0 {
			s.options.Progress("%d of %d agents run", i+1, len(agents))
		}
	}
	// An agent has connected when the station heard from it.
	return eventually(ctx, s.station, func() error {
		nodes, _, err := s.client.Nodes(ctx, station.NodesQuestion{})
		if err != nil {
			return err
		}
		there := 0
		for _, n := range nodes {
			if n.Presence == station.Online {
				there++
			}
		}
		if there < len(agents) {
			return fleet.Errorf(fleet.Timeout, "%d of %d agents are there", there, len(agents))
		}
		return nil
	})
}

// close stops what was started and removes temporary directories.
func (s *system) close() {
	s.stop()
	s.agents.Wait()
	if s.client != nil {
		s.client.Close()
	}
	for _, p := range []*host.Process{s.station, s.broker} {
		if p == nil {
			continue
		}
		end(p)
	}
	for _, dir := range s.dirs {
		_ = os.RemoveAll(dir)
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// patience bounds the wait for a part to be there.
const patience = 2 * time.Minute

// eventually tries again until f returns nil, or the process that it is about
// has ended.
func eventually(ctx context.Context, p *host.Process, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		alive := p.Alive()
		err := f()
		if err == nil || !alive {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
