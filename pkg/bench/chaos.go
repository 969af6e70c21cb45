package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// ChaosOptions say how a fleet is mistreated; of Options, Nodes is its size and
// Commands how many it is sent.
type ChaosOptions struct {
	Options
	Seed  uint64        // of what is done when; 0 takes one by the clock
	Kills int           // of broker and station together, at least; 20
	Pause time.Duration // between two mistreatments, at most; 2 s
}

// Chaos is the result of Mistreat.
type Chaos struct {
	Machine  Machine       `json:"machine"`
	Seed     uint64        `json:"seed"`
	Nodes    int           `json:"nodes"`
	Away     int           `json:"away"` // nodes that had no link while commands were sent
	Sent     int           `json:"sent"` // acknowledged commands
	Tries    int           `json:"tries"`
	Brokers  int           `json:"brokersKilled"`
	Stations int           `json:"stationsKilled"`
	Links    int           `json:"linksCut"`
	Took     time.Duration `json:"tookNs"`
	// Effects is how often a handler ran, over all nodes.
	Effects int         `json:"effects"`
	Ends    client.Ends `json:"ends"`
	// Faults are what must not be: commands lost, run twice, or that ended otherwise than they ran.
	Faults []string `json:"faults"`
}

// chaos is a mistreatment under way.
type chaos struct {
	*system
	o      ChaosOptions
	result *Chaos
	random *rand.Rand
	away   *gate         // of every other node
	harmed chan struct{} // poked after each harm

	mu      sync.Mutex
	effects map[string]int // by command
}

// Mistreat sends commands to a fleet of which every other node has no link, while
// broker and station are killed at random and links cut, lets all come back, and
// then compares what ran with what the audit says. The error is about the
// measurement; what the fleet did wrong is in Faults.
func Mistreat(ctx context.Context, o ChaosOptions) (Chaos, error) {
	set(&o.Nodes, 100)
	set(&o.Commands, 10_000)
	o.Options = o.complete()
	set(&o.Kills, 20)
	set(&o.Pause, 2*time.Second)
	set(&o.Seed, uint64(time.Now().UnixNano()))
	r := Chaos{Machine: ThisMachine(), Seed: o.Seed, Nodes: o.Nodes, Faults: []string{}}
	debug.SetGCPercent(400)
	m := &chaos{o: o, result: &r, random: rand.New(rand.NewPCG(o.Seed, 0)), away: newGate(), harmed: make(chan struct{}, 1), effects: make(map[string]int)}
	m.system = &system{options: o.Options, stop: func() {}, gate: newGate(), handlers: m.registry, dial: m.dial}
	defer m.close()
	defer m.away.open()
	if err := m.identities(registry().Sent()); err != nil {
		return r, err
	}
	begun := time.Now()
	for _, phase := range []func(context.Context) error{m.daemons, m.register, m.startAgents, m.mistreat, m.heal, m.compare} {
		if err := phase(ctx); err != nil {
			return r, err
		}
	}
	r.Took = time.Since(begun)
	return r, nil
}

// registry is that of an agent whose handler remembers what it ran. The memory is
// the bench's own, so that what an agent forgets is not forgotten here.
func (m *chaos) registry() handlers.Registry {
	return handlers.New(handlers.Of(handlers.Definition[struct{}]{
		Method: method, Summary: "remember that it ran", Role: subjects.Operator, Domain: "bench",
		Handle: func(_ context.Context, _ *handlers.Node, c handlers.Command[struct{}]) (handlers.Result, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.effects[c.ID]++
			return handlers.Result{Changed: true, Message: "ran"}, nil
		},
	}))
}

// dial is the way of a node to the broker: every other one's is shut for a while.
func (m *chaos) dial(i int) dialer {
	if i%2 == 1 {
		return m.away.Dial
	}
	return m.gate.Dial
}

// mistreat sends while it kills.
func (m *chaos) mistreat(ctx context.Context) error {
	m.away.cut()
	var killed atomic.Int64
	m.result.Away = m.o.Nodes / 2
	m.options.Progress("%d of %d nodes have no link; seed %d", m.result.Away, m.o.Nodes, m.o.Seed)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := m.send(ctx, &killed); err != nil {
			cancel(err)
		}
	}()
	for open := true; open || m.result.Brokers+m.result.Stations < m.o.Kills; {
		select {
		case <-ctx.Done():
			<-sent
			return context.Cause(ctx)
		case <-time.After(time.Duration(m.random.Int64N(int64(m.o.Pause)) + 1)):
		}
		if err := m.harm(ctx); err != nil {
			cancel(err)
			<-sent
			return err
		}
		killed.Store(int64(m.result.Brokers + m.result.Stations))
		select {
		case m.harmed <- struct{}{}:
		default:
		}
		select {
		case <-sent:
			open = false
		default:
		}
	}
	<-sent
	return context.Cause(ctx)
}

// harm does one thing to the fleet.
func (m *chaos) harm(ctx context.Context) (err error) {
	switch m.random.IntN(3) {
	case 0:
		m.result.Brokers++
		m.options.Progress("the broker is killed (%d)", m.result.Brokers)
		_ = m.broker.Signal(syscall.SIGKILL)
		end(m.broker)
		err = m.runBroker()
	case 1:
		m.result.Stations++
		m.options.Progress("the station is killed (%d)", m.result.Stations)
		_ = m.station.Signal(syscall.SIGKILL)
		end(m.station)
		err = m.runStation()
	default:
		m.result.Links++
		m.options.Progress("links are cut (%d)", m.result.Links)
		m.gate.cut()
		m.gate.open()
	}
	return err
}

// chunk is how many commands are sent at once.
const chunk = 100

// send sends until so many are acknowledged. One of which it is not known whether
// it was stored is not counted and another is sent for it; it must end once all
// the same, if it is there. The commands are spread over what is killed.
func (m *chaos) send(ctx context.Context, killed *atomic.Int64) error {
	for m.result.Sent < m.o.Commands && ctx.Err() == nil {
		if int64(m.result.Sent) > (killed.Load()+1)*int64(m.o.Commands)/int64(m.o.Kills) {
			select {
			case <-m.harmed:
			case <-ctx.Done():
			}
			continue
		}
		var commands []client.Command
		for i := range min(chunk, m.o.Commands-m.result.Sent) {
			commands = append(commands, command((m.result.Sent+i)%m.o.Nodes))
		}
		m.result.Tries += len(commands)
		sctx, cancel := context.WithTimeout(ctx, patience)
		sent, err := m.client.Send(sctx, commands...)
		cancel()
		m.result.Sent += len(sent)
		if kind := fleet.KindOf(err); err != nil && ctx.Err() == nil && kind != fleet.Unavailable && kind != fleet.Timeout {
			return fmt.Errorf("%d commands were sent: %w", m.result.Sent, err)
		}
		if err != nil {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// heal gives everybody links and parts that live, and waits for all commands to end.
func (m *chaos) heal(ctx context.Context) error {
	m.options.Progress("%d commands are sent, of %d tries; all come back", m.result.Sent, m.result.Tries)
	m.away.open()
	last := -1
	for limit := time.Now().Add(untilTime); ; {
		var waiting int
		err := eventually(ctx, m.station, func() error {
			nodes, _, err := m.client.Nodes(ctx, station.NodesQuestion{})
			waiting = 0
			for _, n := range nodes {
				waiting += n.Waiting
			}
			return err
		})
		switch {
		case err != nil:
			return m.explain("station", err)
		case waiting == 0:
			return nil
		case time.Now().After(limit):
			m.result.Faults = append(m.result.Faults, fmt.Sprintf("%d commands had no end after %s", waiting, untilTime))
			return nil
		}
		if waiting != last {
			m.options.Progress("%d commands wait", waiting)
			last = waiting
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// compare holds what ran against what the audit says.
func (m *chaos) compare(ctx context.Context) error {
	var ended map[string]message.State
	read := func() (err error) {
		ended = make(map[string]message.State)
		if m.result.Ends, err = m.client.Ends(ctx, client.EndsOptions{}); err != nil {
			return err
		}
		err = m.client.Audit(ctx, client.AuditOptions{}, func(r client.Record) error {
			if r.Proven && r.Message.State.Final() {
				ended[r.Message.Command] = r.Message.State
			}
			return nil
		})
		if err == nil && m.result.Ends.Waiting > 0 { // the audit copies a moment later
			err = errors.New("the audit does not have all ends")
		}
		return err
	}
	m.options.Progress("reading the audit")
	if err := eventually(ctx, m.station, read); err != nil && m.result.Ends.Waiting == 0 {
		return err
	}
	fault := func(format string, args ...any) {
		m.result.Faults = append(m.result.Faults, fmt.Sprintf(format, args...))
	}
	if m.result.Ends.Waiting > 0 {
		fault("%d commands have no end in the audit", m.result.Ends.Waiting)
	}
	for _, f := range m.result.Ends.Faults {
		fault("%s %s: %s: %s", f.Subject, f.ID, f.Kind, f.Message)
	}
	if m.result.Ends.Commands < m.result.Sent {
		fault("%d commands were acknowledged and the audit has %d", m.result.Sent, m.result.Ends.Commands)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, times := range m.effects {
		m.result.Effects += times
		switch state := ended[id]; {
		case times > 1:
			fault("command %s ran %d times", id, times)
		case state != message.Succeeded:
			fault("command %s ran and is said to be %q", id, state)
		}
	}
	for id, state := range ended {
		if state == message.Succeeded && m.effects[id] == 0 {
			fault("command %s is said to be succeeded and did not run", id)
		}
	}
	slices.Sort(m.result.Faults)
	return nil
}
