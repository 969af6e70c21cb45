package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/announce"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Names of the users that dev makes beside its nodes.
const (
	AdminUser   = "admin"
	StationUser = "station"
)

// Dev is everything on one host. Make it with New and give it to Run.
type Dev struct {
	options   Options
	log       *slog.Logger
	authority *identity.Authority
	admin     *identity.Credentials
	broker    *broker.Broker
	station   atomic.Pointer[station.Station] // once it was made
	ready     chan struct{}
	progress  func(string)
}

// New makes identities and directories below the data directory.
func New(o Options) (*Dev, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	// Workers of nginx, which are not root, must reach their sockets below it;
	// what is secret has directories of its own.
	if err := os.MkdirAll(o.Data, 0o755); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "data directory: %w: give another with --data", err)
	}
	authority, err := identity.Open(filepath.Join(o.Data, "identity"), identityOptions())
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	d := &Dev{options: o, log: o.Logger, authority: authority, ready: make(chan struct{}), progress: func(string) {}}
	if d.admin, err = d.credentials(AdminUser, subjects.Admin); err != nil {
		return nil, err
	}
	if _, err = d.credentials(StationUser, subjects.Station); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(o.NATS)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--nats %q: use HOST:PORT", o.NATS)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--nats %q: the port is not a number", o.NATS)
	}
	if err := authority.IssueBroker(false, broker.Hosts(host)...); err != nil {
		return nil, err
	}
	d.broker, err = broker.New(broker.Config{
		Name: "fairlead-dev", Host: host, Port: number, StoreDir: filepath.Join(o.Data, "broker"), Sync: o.Sync,
		Server: authority.Server(), Logger: o.Logger.With("part", "broker"),
	})
	return d, err
}

func identityOptions() identity.Options { return identity.Options{Methods: handlers.All().Sent()} }

// OnProgress is told, in words, what Run is about to do.
func (d *Dev) OnProgress(f func(string)) { d.progress = f }

// Ready is closed when everything runs.
func (d *Dev) Ready() <-chan struct{} { return d.ready }

// TLS says how to trust the broker.
func (d *Dev) TLS() bus.TLS { return bus.TLS{CA: d.authority.CAFile()} }

// URL is the broker's address, once Ready.
func (d *Dev) URL() string { return d.broker.URL() }

// Data is the directory that holds everything.
func (d *Dev) Data() string { return d.options.Data }

// AdminCreds is the administrator's credentials file.
func (d *Dev) AdminCreds() string { return d.admin.File }

// Metrics serves the station's health and metrics.
func (d *Dev) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if st := d.station.Load(); st != nil {
			st.Metrics().ServeHTTP(w, r)
			return
		}
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	})
}

// Broker is the embedded broker.
func (d *Dev) Broker() *broker.Broker { return d.broker }

func (d *Dev) credentials(name string, role subjects.Role) (*identity.Credentials, error) {
	user, err := d.authority.User(name, role)
	if err != nil {
		return nil, err
	}
	return identity.LoadCreds(user.CredsFile)
}

// Client connects as the administrator.
func (d *Dev) Client(ctx context.Context) (*client.Client, error) {
	trust, err := d.authority.TrustSet()
	if err != nil {
		return nil, err
	}
	return client.Open(ctx, client.Options{URL: d.broker.URL(), TLS: d.TLS(), Credentials: d.admin, Trust: trust, Logger: d.log.With("part", "client")})
}

// Station makes a station of this fleet; any number may run.
func (d *Dev) Station() (*station.Station, error) {
	creds, err := d.credentials(StationUser, subjects.Station)
	if err != nil {
		return nil, err
	}
	path, err := d.authority.StationKeys()
	if err != nil {
		return nil, err
	}
	keys, err := identity.LoadStationKeys(path)
	if err != nil {
		return nil, err
	}
	trust, err := d.authority.TrustSet()
	if err != nil {
		return nil, err
	}
	revoked, err := d.authority.RevokedNodes()
	if err != nil {
		return nil, err
	}
	return station.New(station.Config{Curve: keys.Curve, Issuer: keys.Issuer, Revoked: revoked,
		URL: d.broker.URL(), TLS: d.TLS(), Credentials: creds, Trust: trust, Version: d.options.Version,
		Storage: d.options.Storage, NudgeAfter: d.options.NudgeAfter, ExpireAfter: d.options.ExpireAfter,
		GateProgram: d.options.GateProgram,
		Logger:      d.log.With("part", "station"),
	})
}

// Node is one node's place below the data directory.
type Node struct {
	Name    string
	Address string // its virtual hosts listen here
	Dir     string
}

// Nodes are the nodes that Run runs, each under the name that it has now. The error
// is Conflict where one was given the name of another.
func (d *Dev) Nodes() ([]Node, error) {
	var all []Node
	taken := make(map[string]int)
	for i := 1; i <= d.options.Nodes; i++ {
		address, err := nodeAddress(d.options.FirstAddress, i)
		if err != nil {
			return nil, err
		}
		n := Node{Name: NodeName(i), Address: address, Dir: filepath.Join(d.options.Data, "nodes", NodeName(i))}
		if id, err := identity.OpenNode(n.identity()); err == nil {
			n.Name = id.UserName() // it may have been renamed
		}
		if first, is := taken[n.Name]; is {
			return nil, fleet.Errorf(fleet.Conflict, "node %d would be %s, which is the name of node %d since it was renamed: give that another with `fairlead nodes rename`, or run %d nodes", i, n.Name, first, i-1)
		}
		taken[n.Name] = i
		all = append(all, n)
	}
	return all, nil
}

func (n Node) identity() string { return filepath.Join(n.Dir, "identity") }

// identityOf is a node's identity: the same files, for as long, as those of a
// host that joined, and the node renews them itself.
func (d *Dev) identityOf(n Node) (*identity.Node, error) {
	// For the workers of nginx to pass through, as above.
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "directory of %s: %w", n.Name, err)
	}
	return d.authority.Node(n.identity(), n.Name)
}

// AgentConfig is the configuration of a node's agent.
func (d *Dev) AgentConfig(n Node) (agent.Config, error) {
	id, err := d.identityOf(n)
	if err != nil {
		return agent.Config{}, err
	}
	trust, err := d.authority.TrustSet()
	if err != nil {
		return agent.Config{}, err
	}
	run, files := filepath.Join(n.Dir, "run"), filepath.Join(n.Dir, "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return agent.Config{}, fleet.Errorf(fleet.Invalid, "directory of %s: %w", n.Name, err)
	}
	return agent.Config{
		Name: n.Name, Version: d.options.Version, URL: d.broker.URL(), TLS: d.TLS(), Credentials: id, Renewal: id, Succession: id,
		Trust: trust, State: filepath.Join(n.Dir, "state"),
		Nginx: &nginx.Config{
			State: filepath.Join(n.Dir, "nginx"), Conf: filepath.Join(n.Dir, "conf"), Run: run,
			Logs: filepath.Join(n.Dir, "logs"), Manage: nginx.Child, Workers: 2,
		},
		Syslog:      map[string]string{"nginx": "unixgram:" + filepath.Join(run, "syslog.sock")},
		Programs:    d.options.Programs,
		PushDirs:    []string{files},
		HealthEvery: d.options.HealthEvery,
		Logger:      d.log.With("part", "agent"),
	}, nil
}

// stopTime bounds the end of each node's nginx.
const stopTime = 10 * time.Second

// Run starts the parts in order, each when the one before it is ready, and
// stops them in the opposite order when ctx ends or one of them fails.
func (d *Dev) Run(ctx context.Context) error {
	// Each layer's context ends only after the layer above has gone.
	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	stationCtx, stopStation := context.WithCancel(context.WithoutCancel(ctx))
	agentCtx, stopAgents := context.WithCancel(context.WithoutCancel(ctx))
	var brokers, stations, agents group
	defer func() {
		d.progress("stopping")
		stopAgents()
		agents.wait()
		stopStation()
		stations.wait()
		stopBroker()
		brokers.wait()
	}()
	failed := make(chan error, 1)

	d.progress("starting the broker on " + d.options.NATS)
	brokers.run(failed, "broker", func() error { return d.broker.Run(brokerCtx) })
	if stop, err := await(ctx, d.broker.Ready(), failed); stop {
		return err
	}
	if err := identity.WriteConnection(d.authority.Dir(), identity.Connection{URL: d.broker.URL()}); err != nil {
		return err
	}
	stations.run(failed, "renewals", func() error {
		announce.Renewals(stationCtx, d.authority.Dir(), identityOptions(), bus.Options{URL: d.broker.URL(), TLS: d.TLS()}, d.log)
		return nil
	})
	d.progress("starting the station")
	st, err := d.Station()
	if err != nil {
		return err
	}
	d.station.Store(st)
	stations.run(failed, "station", func() error { return st.Run(stationCtx) })
	if stop, err := await(ctx, st.Ready(), failed); stop {
		return err
	}
	nodes, err := d.Nodes()
	if err != nil {
		return err
	}
	if err := d.register(ctx, nodes); err != nil {
		return err
	}
	var waiting []<-chan struct{}
	for _, n := range nodes {
		d.progress("starting " + n.Name + " and its nginx on " + n.Address)
		cfg, err := d.AgentConfig(n)
		if err != nil {
			return err
		}
		a, err := agent.New(cfg)
		if err != nil {
			return err
		}
		waiting = append(waiting, a.Ready())
		agents.run(failed, n.Name, func() error {
			a, err := d.runAgent(agentCtx, n, a)
			sctx, cancel := context.WithTimeout(context.Background(), stopTime)
			defer cancel()
			return errors.Join(err, a.Engine().Stop(sctx))
		})
	}
	for _, ready := range waiting {
		if stop, err := await(ctx, ready, failed); stop {
			return err
		}
	}
	close(d.ready)
	_, err = await(ctx, nil, failed)
	return err
}

// runAgent runs a node's agent until ctx ends, anew where it wants that, and returns
// the last one.
func (d *Dev) runAgent(ctx context.Context, n Node, a *agent.Agent) (*agent.Agent, error) {
	for {
		err := a.Run(ctx)
		var anew *agent.Anew
		if !errors.As(err, &anew) {
			return a, err
		}
		n.Name = anew.Name
		cfg, err := d.AgentConfig(n)
		if err != nil || ctx.Err() != nil {
			return a, err
		}
		next, err := agent.New(cfg)
		if err != nil {
			return a, err
		}
		a = next
	}
}

// register enters nodes that are new. What somebody made of another, such as its labels,
// stays.
func (d *Dev) register(ctx context.Context, nodes []Node) error {
	c, err := d.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for i, n := range nodes {
		id, err := d.identityOf(n)
		if err != nil {
			return err
		}
		record := station.NodeRecord{Name: n.Name, Key: id.PublicKey(), Address: n.Address, Since: time.Now().UTC(),
			Labels: map[string]string{"env": "dev", "role": "edge", "index": strconv.Itoa(i + 1)}}
		switch have, err := c.Registered(ctx, n.Name); {
		case err == nil && have.Key == record.Key:
			have.Address = record.Address
			record = have
		case err != nil && fleet.KindOf(err) != fleet.Unknown:
			return fmt.Errorf("register %s: %w", n.Name, err)
		}
		if err := c.Register(ctx, record); err != nil {
			return fmt.Errorf("register %s: %w", n.Name, err)
		}
	}
	return nil
}

// await returns when ready is closed; stop is true when ctx ended or a part
// failed, with its error.
func await(ctx context.Context, ready <-chan struct{}, failed <-chan error) (stop bool, err error) {
	select {
	case <-ready:
		return false, nil
	case err := <-failed:
		return true, err
	case <-ctx.Done():
		return true, nil
	}
}

// group is the goroutines of one layer.
type group struct{ all sync.WaitGroup }

func (g *group) run(failed chan<- error, name string, f func() error) {
	g.all.Go(func() {
		if err := f(); err != nil {
			select {
			case failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	})
}

func (g *group) wait() { g.all.Wait() }
