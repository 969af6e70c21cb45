package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"fairlead/pkg/broker"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// BareBefore names what light nodes are compared with.
const BareBefore = "bare NATS on such a machine before"

// What bare NATS did before on a machine of two shared cores, both ends in one
// process: messages that were published to a stream and shown to 10,000
// connections, memory of a connection, and processor at rest.
const (
	bareRate   = 13900.0
	bareMemory = 36 << 10
	bareIdle   = 0.003
)

// Light measures as many nodes as memory holds: connections within the process of
// the broker, that verify a command, answer it signed, and say that they live. They
// have no journal and no handlers. Memory and processor of a node are those of
// both ends together, and stand in the result as the agents'. The station is a process
// of its own.
func Light(ctx context.Context, o ScaleOptions) (Scaled, error) {
	o.Options = o.complete()
	set(&o.HealthEvery, 2*time.Minute)
	set(&o.Settle, 5*time.Second)
	set(&o.Steady, time.Minute)
	set(&o.Questions, 20)
	r := Scaled{Machine: ThisMachine(), Nodes: o.Nodes, Plain: true, Light: true, Sync: o.Sync, HealthEvery: o.HealthEvery, Steady: o.Steady, LoadBefore: load()}
	debug.SetGCPercent(50)
	s := &system{options: o.Options, stop: func() {}, labels: labelsOf}
	m := &scaling{system: s, o: o, result: &r, floor: Figures{Name: BareBefore, Rate: bareRate}}
	defer s.close()
	l := &lights{scaling: m}
	defer l.end()
	for _, phase := range []func(context.Context) error{l.begin, l.join, m.steady, l.ratios, m.questions, l.command} {
		if err := phase(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// lights are the light nodes.
type lights struct {
	*scaling
	broker *broker.Broker
	ends   func()
	nodes  []*light
	all    sync.WaitGroup
	failed chan error // the first
}

type light struct {
	name  string
	creds *identity.Credentials
	wire  *wire
}

// begin starts the broker in this process and a station beside it, and registers
// nodes whose keys lie in memory alone.
func (l *lights) begin(ctx context.Context) (err error) {
	l.failed = make(chan error, 1)
	nodes := l.o.Nodes
	l.options.Nodes = 0
	if err := l.identities(registry().Sent()); err != nil {
		return err
	}
	l.options.Nodes = nodes
	if err := l.embed(ctx); err != nil {
		return err
	}
	if err := l.startStation(ctx); err != nil {
		return err
	}
	if l.before, err = l.resident(ctx); err != nil {
		return err
	}
	l.options.Progress("making %d keys", nodes)
	file, err := l.authority.StationKeys()
	if err != nil {
		return err
	}
	keys, err := identity.LoadStationKeys(file)
	if err != nil {
		return err
	}
	for i := range nodes {
		key, seed, err := identity.NewUserKey()
		if err != nil {
			return err
		}
		jwt, err := keys.Issuer.Issue(subjects.Node, nodeName(i), key, time.Now().Add(24*time.Hour))
		if err != nil {
			return err
		}
		creds, err := identity.CredentialsOf(jwt, seed)
		if err != nil {
			return err
		}
		l.system.nodes = append(l.system.nodes, identity.User{Name: nodeName(i), Key: key})
		l.nodes = append(l.nodes, &light{name: nodeName(i), creds: creds})
	}
	return l.register(ctx)
}

// embed runs the broker in this process.
func (l *lights) embed(ctx context.Context) error {
	for name, role := range map[string]subjects.Role{"admin": subjects.Admin, "station": subjects.Station} {
		if _, err := l.authority.User(name, role); err != nil {
			return err
		}
	}
	if _, err := l.authority.TrustSet(); err != nil { // writes it for the station
		return err
	}
	b, err := broker.New(broker.Config{StoreDir: filepath.Join(l.options.Data, "broker"), Sync: l.options.Sync, Server: l.authority.Server(),
		Plain: true, MaxConnections: l.o.Nodes + 1000, Drain: -1, Logger: l.options.Logger})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	l.broker, l.ends = b, func() { cancel(); <-ended }
	select {
	case <-b.Ready():
	case err := <-ended:
		ended <- err
		return err
	}
	l.url = b.URL()
	admin, err := identity.LoadCreds(l.user("admin"))
	if err != nil {
		return err
	}
	l.client, err = client.Open(ctx, client.Options{URL: l.url, Credentials: admin})
	return err
}

// end closes the nodes' connections and stops the broker.
func (l *lights) end() {
	l.stop()
	for _, n := range l.nodes {
		if n.wire != nil {
			_ = n.wire.conn.Close()
		}
	}
	l.all.Wait()
	if l.station != nil { // before its broker
		end(l.station)
		l.station = nil
	}
	if l.client != nil {
		l.client.Close()
		l.client = nil
	}
	if l.ends != nil {
		l.ends()
	}
}

// join connects the nodes, and has each say that it lives.
func (l *lights) join(ctx context.Context) error {
	before, err := l.processors()
	if err != nil {
		return err
	}
	l.options.Progress("%d connections within the process", l.o.Nodes)
	begun := time.Now()
	connected, _, err := l.atOnce("connection within the process, and one subscription", l.o.Nodes, parallel, func(i int) error { return l.connect(l.nodes[i]) })
	if err != nil {
		return err
	}
	beating, stop := context.WithCancel(ctx)
	l.stop = stop
	l.all.Go(func() { l.beat(beating) })
	if err := l.until(ctx, "not all are there", func(s station.Summary) bool { return s.Presence[station.Online] == l.o.Nodes }); err != nil {
		return err
	}
	f, err := l.since(before, "connected, and the station heard from all", l.o.Nodes, time.Since(begun))
	l.result.Figures = append(l.result.Figures, connected, f)
	return err
}

func (l *lights) connect(n *light) error {
	conn, err := l.broker.InProcessConn()
	if err != nil {
		return err
	}
	if n.wire, err = connectWire(conn, n.creds, subjects.CommandsTo(n.name)); err != nil {
		_ = conn.Close()
		n.wire = nil
		return err
	}
	l.all.Go(func() {
		if err := n.wire.read(func(d message.Delivery) error { return n.answer(d) }); !closed(err) {
			l.fail(err)
		}
	})
	return nil
}

func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed)
}

func (l *lights) fail(err error) {
	select {
	case l.failed <- err:
		l.options.Progress("a node is lost: %v", err)
	default:
	}
}

// answer verifies a command and answers it.
func (n *light) answer(d message.Delivery) error {
	if d.Fault != nil {
		return d.Fault
	}
	if err := d.Message.CheckSignature(); err != nil {
		return err
	}
	m := message.NewAnswer(d.Message, n.name, message.Succeeded, message.Answer{Message: "done"})
	if err := m.Sign(n.creds); err != nil {
		return err
	}
	return n.wire.publish(m)
}

// beatSteps are the steps in which the heartbeats of all are spread.
const beatSteps = 1000

// beat has every node say that it lives: the first time as fast as it can be
// said, then spread evenly.
func (l *lights) beat(ctx context.Context) {
	pause := time.NewTicker(max(l.o.HealthEvery/beatSteps, time.Millisecond))
	defer pause.Stop()
	for round := 0; ; round++ {
		for step := range beatSteps {
			for i := step; i < len(l.nodes); i += beatSteps {
				if err := l.lives(l.nodes[i]); err != nil && !closed(err) {
					l.fail(err)
				}
			}
			if round == 0 && ctx.Err() == nil {
				continue
			}
			select {
			case <-pause.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// lives sends a health report.
func (l *lights) lives(n *light) error {
	m := message.Message{ID: message.NewID(), From: n.name,
		Subject: subjects.Subject{Node: n.name, Direction: subjects.Event, Method: subjects.MethodHealth, Domain: "nginx"},
		Body:    fmt.Appendf(nil, `{"everySeconds":%g}`, l.o.HealthEvery.Seconds())}
	if err := m.Sign(n.creds); err != nil {
		return err
	}
	return n.wire.publish(m)
}

// command sends one to every node.
func (l *lights) command(ctx context.Context) error {
	l.options.Progress(nameCommand)
	outcomes, f, err := l.fan(ctx, nameCommand, l.o.Nodes, command)
	if err != nil {
		return err
	}
	var counted Dispatched
	if err := counted.count(outcomes); err != nil {
		return err
	}
	f.Against, f.Ratio = l.floor.Name, f.Rate/l.floor.Rate
	l.result.Figures = append(l.result.Figures, f)
	select {
	case err := <-l.failed:
		return fleet.Errorf(fleet.Failed, "a node was lost: %w", err)
	default:
		return nil
	}
}

// ratios compares memory and processor with those of bare NATS.
func (l *lights) ratios(context.Context) error {
	l.result.MemoryRatio = l.result.Memory.Agents / bareMemory
	l.result.IdleRatio = l.result.Idle.Agents / bareIdle
	return nil
}
