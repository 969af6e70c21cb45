package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// Agent is one node's agent. Make it with New and give it to Run.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	engine  *nginx.Engine // nil without nginx
	journal *journal.Journal
	trust   *message.TrustKeeper
	conn    *bus.Conn
	clock   bus.Clock
	link    *link
	meter   meter
	lanes   *lanes
	inbox   *inbox
	outbox  *outbox
	state   *state
	node    *handlers.Node
	renewer *renewer      // nil for credentials that are not renewed
	curve   message.Curve // opens what was sealed to this node
	heart   *heart
	absence absence
	bootID  string
	// instance names this start of the agent.
	instance string
	ready    chan struct{}
	succeeds chan struct{} // what the node is to become is kept, and has its answer
	leaves   chan string   // the name that the node goes on under: the agent is to end
	leaving  atomic.Bool
}

// New checks the configuration; it does no I/O.
func New(cfg Config) (*Agent, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: cfg.Logger.With("node", cfg.Name), ready: make(chan struct{}),
		succeeds: make(chan struct{}, 1), leaves: make(chan string)}
	a.meter.budget = newBudget(cfg.Budget)
	if cfg.Nginx != nil {
		nginxConfig := *cfg.Nginx
		nginxConfig.Open = func(sealed string) ([]byte, error) { return a.curve.Open(sealed) }
		nginxConfig.Logger = a.log
		nginxConfig.Event = a.nginxEvent
		nginxConfig.Clock = a.clock.Now
		engine, err := nginx.New(nginxConfig)
		if err != nil {
			return nil, fmt.Errorf("nginx: %w", err)
		}
		a.engine = engine
	}
	return a, nil
}

// Ready is closed when the agent takes commands: nginx answers and the broker
// was reached once.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Engine is the node's nginx engine, nil without nginx.
func (a *Agent) Engine() *nginx.Engine { return a.engine }

// Run runs the agent until ctx ends: it then takes no more commands, lets the
// running ones end within the grace, and leaves nginx as it is. What does not end
// although it is told to is left behind, and the error, a Timeout, names it. It ends by
// itself, with an Anew, where the node gets another name.
func (a *Agent) Run(ctx context.Context) (err error) {
	a.bootID, a.instance = host.BootID(), message.NewID()
	a.journal, err = journal.Open(filepath.Join(a.cfg.State, "journal.db"), journal.Options{
		Logger: a.log, NoSync: a.cfg.NoSync, SpoolBytes: a.cfg.SpoolBytes})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer func() { err = errors.Join(err, a.journal.Close()) }()

	if a.trust, err = a.ownTrust(); err != nil {
		return err
	}
	if a.engine != nil {
		if a.curve, err = ownCurve(a.cfg.State, a.log); err != nil {
			return err
		}
	}
	a.link = newLink()
	a.state = newState(a)
	a.outbox = newOutbox(a)
	a.lanes = newLanes(a)
	a.inbox = newInbox(a)
	a.heart = newHeart(a)
	a.remember()
	if a.cfg.Renewal != nil {
		a.renewer = &renewer{agent: a, keys: a.cfg.Renewal}
	}
	a.node = a.handlersNode()
	if err := a.belong(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var background sync.WaitGroup
	failures := make(chan error, 1)
	start := func(name string, run func(context.Context) error) {
		background.Go(func() {
			if err := run(work); err != nil && work.Err() == nil {
				select {
				case failures <- fmt.Errorf("%s: %w", name, err):
				default:
				}
			}
		})
	}

	if a.engine != nil {
		start("nginx", a.engine.Run)
		select {
		case <-a.engine.Looked(): // a node whose nginx does not serve is not to be silent
		case err := <-failures:
			stopWork()
			background.Wait()
			return err
		case <-ctx.Done():
			stopWork()
			background.Wait()
			return nil
		}
	}
	if err := a.connect(ctx); err != nil {
		stopWork()
		background.Wait()
		return err
	}
	a.welcome()
	serving, stopServing := context.WithCancel(work)
	defer stopServing()
	var services sync.WaitGroup
	for _, h := range a.cfg.Registry.Handlers() {
		if h.Serve != nil {
			services.Go(func() {
				if err := h.Serve(serving, a.node); err != nil && serving.Err() == nil {
					a.log.Error("a handler's service ended", "method", h.Method, "error", err)
				}
			})
		}
	}
	services.Go(func() { a.heart.run(serving) })
	start("outbox", a.outbox.run)
	start("sync", a.inbox.run)
	start("convergence", a.convergence)
	start("facts", a.tellFacts)
	if a.renewer != nil {
		start("renewal", a.renewer.run)
		if a.cfg.Succession != nil {
			start("succession", a.succession)
		}
	}
	close(a.ready)
	a.log.Info("agent runs", "version", a.cfg.Version, "broker", a.cfg.URL)

	to := "" // what the node becomes
	select {
	case <-ctx.Done():
	case err = <-failures:
	case to = <-a.leaves:
		a.leaving.Store(true)
	}
	a.log.Info("agent stops")
	a.inbox.stop()
	rest := a.cfg.Overrun
	if stuck := a.lanes.drain(a.cfg.Grace, a.cfg.Overrun); len(stuck) > 0 {
		err = errors.Join(err, leftBehind(stuck))
		rest = min(rest, lastWait) // the engine of nginx may wait for one of them
	}
	stopServing()
	if !a.state.parts.stop(rest) {
		a.log.Error("the fetch of a desired state does not end")
	}
	if !endsWithin(rest, services.Wait) {
		a.log.Error("the service of a handler does not end")
	}
	if to != "" {
		a.sendLogs(work, lastWords)
	}
	a.farewell(to)
	stopWork()
	if !endsWithin(rest, background.Wait) {
		a.log.Error("a part of the agent does not end")
	}
	a.conn.Close()
	if to != "" && err == nil {
		err = a.succeed(to)
	}
	return err
}

// linkLost is why the link broke, for people.
func linkLost(err error) string {
	if err == nil {
		return "the link was lost"
	}
	return "the link was lost: " + err.Error()
}

// lastWait is how long the other parts of an agent may take once something does
// not end: systemd waits for 90 s in all.
const lastWait = 5 * time.Second

// leftBehind names the commands that the agent does not wait for.
func leftBehind(stuck []*work) error {
	var names []string
	for _, w := range stuck {
		names = append(names, fmt.Sprintf("%s.%s (%s)", w.command.Subject.Method, w.command.Subject.Domain, cmp.Or(w.command.ID, "its own")))
	}
	return fleet.Errorf(fleet.Timeout, "stopped without waiting longer for what does not end: %s", strings.Join(names, ", "))
}

// pingEvery is how often an agent asks whether its broker lives. A host or a link
// that is gone is noticed sooner, by the kernel. Each answer has the broker's
// goroutine for this connection grow to 32 KiB of stack, which every collection
// of garbage halves: at 20 s that was 30 KiB more for each idle node.
const pingEvery = 2 * time.Minute

func (a *Agent) connect(ctx context.Context) (err error) {
	connected := make(chan struct{}, 1)
	a.conn, err = bus.Connect(ctx, bus.Options{
		URL: a.cfg.URL, TLS: a.cfg.TLS, Server: a.cfg.Server, Dial: a.cfg.Dial, Wrap: a.meter.wrap, Credentials: a.cfg.Credentials,
		Instance: a.instance, Persist: true, Ping: pingEvery, Logger: a.log,
		Spread: func() time.Duration { return time.Duration(a.inbox.returns.Load()) },
		OnConnect: func() {
			select {
			case connected <- struct{}{}:
			default:
			}
			a.inbox.hold()
			a.link.up()
			a.inbox.wake("connected")
			a.heart.wake()
			a.outbox.wake()
		},
		OnDisconnect: func(err error) {
			a.log.Info("link lost", "error", err)
			a.inbox.hold()
			a.link.down()
			a.absence.lost(linkLost(err), host.BootClock())
			a.keep(true)
		},
		OnLost: func() { a.inbox.lost() },
	})
	if err != nil {
		return err
	}
	return a.inbox.subscribe()
}

func (a *Agent) handlersNode() *handlers.Node {
	n := &handlers.Node{
		Name: a.cfg.Name, Log: a.log, State: a.state, Events: events{a}, Queue: a.lanes, Spool: spool{a}, Blobs: newBlobs(a),
		Usage:       func(ctx context.Context) (host.HostUsage, error) { return host.Usage(ctx, a.cfg.State) },
		Link:        func() []handlers.LinkDay { return a.meter.upTo(a.clock.Now()) },
		HealthEvery: a.cfg.HealthEvery, Programs: a.cfg.Programs, PushDirs: a.cfg.PushDirs, Syslog: a.cfg.Syslog,
	}
	if a.engine != nil {
		n.Nginx, n.Takeover = a.engine, a.engine
	} else {
		n.Nginx = noNginx{}
	}
	if a.renewer != nil {
		n.Identity = a.renewer
	}
	return n
}

// desiredDomain is the one domain of nginx that this version cares for.
const desiredDomain = "nginx"

var nginxSubject = func(node string) subjects.Subject {
	return subjects.Subject{Node: node, Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: desiredDomain}
}
