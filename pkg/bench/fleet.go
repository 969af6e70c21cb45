package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Options say what to measure with.
type Options struct {
	Binary   string // this program, for broker and station
	Agent    string // the program whose agent Idle runs; Binary when empty
	Data     string // directory of the broker; a temporary one when empty
	Journals string // directory of the agents' journals; below /dev/shm when empty, where there is one
	Sync     string // of the broker, see package broker
	Plain    bool   // no TLS
	Broker   string // addresses of a broker that runs already, with the identities of Data; one is started when empty
	Tenant   string // of that broker; main when empty
	Replicas int    // of streams and buckets, where Broker is a cluster; 1 when 0
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
	address   string // on which the broker listens
	url       string
	secure    bus.TLS
	broker    *host.Process
	station   *host.Process
	client    *client.Client
	stop      context.CancelFunc // ends the agents
	nodes     []identity.User
	agents    sync.WaitGroup
	crew      []*member                     // processes of agents, where they are not in this one
	gate      *gate                         // between the agents and the broker; nil for none
	dial      func(i int) dialer            // of a node, in the place of the gate's; nil for none
	handlers  func() handlers.Registry      // of one agent; registry when nil
	every     time.Duration                 // between health reports; a minute when 0
	labels    func(i int) map[string]string // of a node; nil for none
}

func nodeName(i int) string { return fmt.Sprintf("n%05d", i) }

// start brings up all but the agents; the caller calls close, also after an
// error.
func start(ctx context.Context, o Options) (*system, error) {
	// A thousand agents in one process collect garbage as one large program; a
	// thousand processes would hardly collect at all.
	debug.SetGCPercent(400)
	s := &system{options: o, stop: func() {}}
	if err := s.identities(registry().Sent()); err != nil {
		return s, err
	}
	if err := s.daemons(ctx); err != nil {
		return s, err
	}
	return s, s.register(ctx)
}

// identities makes directories and users.
func (s *system) identities(methods map[subjects.Role][]string) error {
	if err := s.directories(); err != nil {
		return err
	}
	if err := s.openAuthority(methods); err != nil {
		return err
	}
	s.options.Progress("making %d identities", s.options.Nodes)
	for i := range s.options.Nodes {
		u, err := s.authority.User(nodeName(i), subjects.Node)
		if err != nil {
			return err
		}
		s.nodes = append(s.nodes, u)
	}
	return nil
}

// openAuthority makes the identities of a broker that is started here, or loads those
// of one that runs already. What roles may do there stays as it is: simulated nodes
// know other methods, and the administrator may send all.
func (s *system) openAuthority(methods map[subjects.Role][]string) (err error) {
	dir := filepath.Join(s.options.Data, "identity")
	if s.options.Broker == "" {
		s.authority, err = identity.Open(dir, identity.Options{Methods: methods})
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("copy the identity directory of the broker at %s there: %w", s.options.Broker, err)
	}
	if identity.Encrypted(dir) { // the keys of thousands of nodes would lie beside
		return fleet.Errorf(fleet.Refused, "%s is encrypted, and a measurement leaves keys there: take a broker with identities of its own", dir)
	}
	s.authority, err = identity.Load(dir, identity.Options{Tenant: s.options.Tenant, Methods: handlers.All().Sent()})
	return err
}

// directories makes those that were not named. Processes that are started have
// another working directory, so all are absolute.
func (s *system) directories() (err error) {
	for _, dir := range []*string{&s.options.Data, &s.options.Journals} {
		if *dir == "" {
			continue
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
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
	if err := s.startBroker(ctx); err != nil {
		return err
	}
	return s.startStation(ctx)
}

// user is the file of a user's credentials.
func (s *system) user(name string) string {
	return filepath.Join(s.authority.Dir(), "tenants", s.authority.Tenant(), "users", name+".creds")
}

// startBroker starts the broker, where it was before if there was one, and opens
// the client.
func (s *system) startBroker(ctx context.Context) error {
	for name, role := range map[string]subjects.Role{"admin": subjects.Admin, "station": subjects.Station} {
		u, err := s.authority.User(name, role)
		if err != nil {
			return err
		}
		if u.CredsFile == "" {
			return fleet.Errorf(fleet.Invalid, "the private key of %s %q was given away and is not in %s: "+
				"`fairlead tenant create NAME` makes a tenant with both, for --tenant NAME", role, name, s.user(name))
		}
	}
	if err := s.runBroker(); err != nil {
		return err
	}
	admin, err := identity.LoadCreds(s.user("admin"))
	if err != nil {
		return err
	}
	open := func() (err error) {
		if s.client != nil {
			s.client.Close()
		}
		s.client, err = client.Open(ctx, client.Options{URL: s.url, TLS: s.secure, Credentials: admin})
		return err
	}
	if s.broker == nil { // it runs already, or does not
		return open()
	}
	return s.explain("broker", eventually(ctx, s.broker, open))
}

// runBroker starts the process, unless a broker was named that runs elsewhere.
func (s *system) runBroker() (err error) {
	if s.options.Broker != "" {
		s.url = s.options.Broker
		if isTLS(s.url) {
			s.secure = bus.TLS{CA: s.authority.CAFile()}
		}
		return nil
	}
	if s.address == "" {
		if s.address, err = freePort(); err != nil {
			return err
		}
	}
	s.url, s.secure = "tls://"+s.address, bus.TLS{CA: s.authority.CAFile()}
	s.options.Progress("starting the broker on %s", s.address)
	args := []string{"broker", "--data", s.options.Data, "--listen", s.address, "--sync", s.options.Sync}
	if s.options.Plain {
		s.url, s.secure = "nats://"+s.address, bus.TLS{}
		args = append(args, "--plain")
	}
	s.broker, err = s.daemon("broker", args...)
	return err
}

func isTLS(url string) bool { return strings.HasPrefix(url, "tls://") }

func (s *system) startStation(ctx context.Context) (err error) {
	if err := s.runStation(); err != nil {
		return err
	}
	err = eventually(ctx, s.station, func() error {
		_, _, err := s.client.Nodes(ctx, station.NodesQuestion{})
		return err
	})
	return s.explain("station", err)
}

// runStation starts the process.
func (s *system) runStation() (err error) {
	s.options.Progress("starting the station")
	args := []string{"station", "--url", s.url, "--creds", s.user("station"), "--trust", s.authority.TrustFile(), "--logs-bytes", "67108864"}
	if s.options.Replicas > 0 {
		args = append(args, "--replicas", fmt.Sprint(s.options.Replicas))
	}
	s.station, err = s.daemon("station", args...)
	return err
}

func (s *system) daemon(name string, args ...string) (*host.Process, error) {
	return s.daemonOf(s.options.Binary, name, args...)
}

func (s *system) daemonOf(path, name string, args ...string) (*host.Process, error) {
	p, err := host.Start(host.Daemon{Path: path, Args: args, Stderr: s.logFile(name)})
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
	for i, u := range s.nodes {
		r := station.NodeRecord{Name: u.Name, Key: u.Key, Since: time.Now().UTC()}
		if s.labels != nil {
			r.Labels = s.labels(i)
		}
		records = append(records, r)
	}
	size := max(len(records)/parallel, 1)
	var chunks [][]station.NodeRecord
	for chunk := range slices.Chunk(records, size) {
		chunks = append(chunks, chunk)
	}
	failed := make([]error, len(chunks))
	var all sync.WaitGroup
	for i, chunk := range chunks {
		all.Go(func() { failed[i] = s.client.Register(ctx, chunk...) })
	}
	all.Wait()
	return errors.Join(failed...)
}

// startAgents runs the agents of the nodes that were made beforehand, and waits
// until the station hears all of them.
func (s *system) startAgents(ctx context.Context) error {
	trust, err := s.authority.TrustSet()
	if err != nil {
		return err
	}
	agents, err := s.makeAgents(trust)
	if err != nil {
		return err
	}
	return s.runHeard(ctx, agents)
}

// makeAgents makes the agents of the nodes.
func (s *system) makeAgents(trust message.Message) (agents []*agent.Agent, err error) {
	for i, u := range s.nodes {
		creds, err := identity.LoadCreds(u.CredsFile)
		if err != nil {
			return nil, err
		}
		cfg := agent.Config{Name: u.Name, URL: s.url, TLS: s.secure, Credentials: creds, Trust: trust,
			State: filepath.Join(s.options.Journals, u.Name), Registry: registry(), HealthEvery: time.Minute, Logger: s.options.Logger}
		if s.handlers != nil {
			cfg.Registry = s.handlers()
		}
		if s.gate != nil {
			cfg.Dial = s.gate.Dial
		}
		if s.dial != nil {
			cfg.Dial = s.dial(i)
		}
		if s.every > 0 {
			cfg.HealthEvery = s.every
		}
		a, err := agent.New(cfg)
		if err != nil {
			return nil, err
		}
		agents = append(agents, a)
	}
	return agents, nil
}

// runHeard runs agents and waits until the station hears all of them.
func (s *system) runHeard(ctx context.Context, agents []*agent.Agent) error {
	s.options.Progress("starting %d agents", len(agents))
	err := s.run(ctx, agents, func(run int) { s.options.Progress("%d of %d agents run", run, len(agents)) })
	if err != nil {
		return err
	}
	return s.heard(ctx, len(agents))
}

// run runs agents and waits until each is ready. It tells of every hundred.
func (s *system) run(ctx context.Context, agents []*agent.Agent, tell func(run int)) error {
	ctx, s.stop = context.WithCancel(ctx)
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
			tell(i + 1)
		}
	}
	return nil
}

// heard waits until the station hears so many nodes: an agent has connected when
// the station heard from it.
func (s *system) heard(ctx context.Context, nodes int) error {
	return eventually(ctx, s.station, func() error {
		sum, err := s.client.Summary(ctx, station.NodesQuestion{})
		if err != nil {
			return err
		}
		if there := sum.Presence[station.Online]; there < nodes {
			return fleet.Errorf(fleet.Timeout, "%d of %d agents are there", there, nodes)
		}
		return nil
	})
}

// close stops what was started and removes temporary directories.
func (s *system) close() {
	if s.gate != nil {
		s.gate.open()
	}
	s.stop()
	s.agents.Wait()
	s.endCrew()
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

// eventually tries again until f returns nil, or the process that it is about,
// if there is one, has ended.
func eventually(ctx context.Context, p *host.Process, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		alive, begun := p == nil || p.Alive(), time.Now()
		err := f()
		if err == nil || !alive || lookLater(ctx, begun) != nil {
			return err
		}
	}
}

// lookLater waits before the fleet is looked at again; begun is when the last look
// began. It keeps who waits from being what a station has most to do: a look at ten
// thousand nodes takes it 50 ms. The error is that of ctx.
func lookLater(ctx context.Context, begun time.Time) error {
	return sleep(ctx, min(max(lookEvery, lookShare*time.Since(begun)), lookSeldom))
}

const (
	lookEvery  = 100 * time.Millisecond
	lookShare  = 20 // times what the look took
	lookSeldom = 2 * time.Second
)
