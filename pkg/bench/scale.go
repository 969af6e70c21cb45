package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/host"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

// ScaleOptions say what a fleet is measured with; of Options, Nodes is its size.
type ScaleOptions struct {
	Options
	NginxDelay  time.Duration // what a simulated nginx takes for a change or a reload; 50 ms
	HealthEvery time.Duration // 30 s
	Settle      time.Duration // how long connections rest before anything is read off; 5 s
	Steady      time.Duration // how long the fleet is watched while nothing happens; 100 s
	Missed      int           // commands that each node misses before the storm; 10
	Questions   int           // of each kind; 20
	Asked       int           // nodes that are asked all at once, 1000, or as many as there are
}

// Scaled is the result of Scale.
type Scaled struct {
	Machine     Machine       `json:"machine"`
	Nodes       int           `json:"nodes"`
	Plain       bool          `json:"plain"`
	Light       bool          `json:"light,omitempty"`      // see Light
	Broker      string        `json:"broker,omitempty"`     // its address, where it ran already
	Sync        string        `json:"brokerSync,omitempty"` // of a broker that was started here
	NginxDelay  time.Duration `json:"nginxDelayNs"`
	HealthEvery time.Duration `json:"healthEveryNs"`
	Steady      time.Duration `json:"steadyNs"`
	Missed      int           `json:"missedCommands"`
	LoadBefore  float64       `json:"loadBefore"` // processes that wanted to run before it began, by the kernel's mean of a minute

	Memory  Cost      `json:"memoryBytesPerNode"`
	Idle    Cost      `json:"idleCores"` // processor that the fleet takes at rest, 1 is a core
	Figures []Figures `json:"figures"`
	Rollout Travelled `json:"rollout,omitzero"`
	Storm   Storm     `json:"storm,omitzero"`
	// Of light nodes, to bare NATS.
	MemoryRatio float64 `json:"memoryRatio,omitempty"`
	IdleRatio   float64 `json:"idleRatio,omitempty"`
}

// Cost is what the parts take. Bare is the broker's share for connections of the
// same users without agents. A part that was not started here is 0.
type Cost struct {
	Bare    float64 `json:"bare"`
	Broker  float64 `json:"broker"`
	Station float64 `json:"station"`
	Agents  float64 `json:"agents"`
}

// Travelled is how a rollout went of which the figures tell the time.
type Travelled struct {
	Waves  int            `json:"waves"`
	Bake   time.Duration  `json:"bakeNs"` // of each wave, part of the time
	Plan   time.Duration  `json:"planNs"` // until it was known which nodes become others, part of the time too
	AtEnd  rollout.Counts `json:"countsAtEnd"`
	Counts rollout.Counts `json:"counts"` // when all nodes served it
}

// Names of figures, by which a chart finds them.
const (
	nameBare    = "bare connection, and one subscription"
	nameFloor   = "the same over bare connections"
	nameRaw     = "a bare question to as many bare connections, the last answer"
	nameJoin    = "agents connect, until the station heard from all"
	nameAsk     = "health of as many nodes by command, the last proven answer"
	namePing    = "ping of every node, the last proven answer"
	nameStatus  = "status: all nodes counted, over a kept connection"
	nameNodes   = "nodes -l: a tenth of them, over a kept connection"
	nameAll     = "status --json: every node, over a kept connection"
	nameCommand = "a command to every node"
	nameReload  = "a reload of every node"
	nameChange  = "a change of every node at once, until all have proven it"
	nameRollout = "a change of every node in four waves with a bake of 1 s each"
)

// steady is long enough for a broker to have shrunk what connecting took, and ends
// before agents ask for the first time whether it lives, all of a bench at once.
const steady = 100 * time.Second

// Scale measures a fleet of simulated nodes: how it comes, what it costs while
// nothing happens, questions, commands to all of it, a change at once and in waves,
// and its return after the broker was killed. Bare connections of the same users come before it.
//
// A broker that runs already is not killed: the nodes' links are cut, and it goes on. Its tenant must have neither nodes nor
// resources, since the measurement changes what every node serves; it has none afterwards.
func Scale(ctx context.Context, o ScaleOptions) (r Scaled, err error) {
	o.Options = o.complete()
	if o.Broker != "" {
		o.Sync, o.Plain = "", !isTLS(o.Broker)
	}
	set(&o.NginxDelay, 50*time.Millisecond)
	set(&o.HealthEvery, 30*time.Second)
	set(&o.Settle, 5*time.Second)
	set(&o.Steady, steady)
	set(&o.Missed, 10)
	set(&o.Questions, 20)
	set(&o.Asked, 1000)
	o.Asked = min(o.Asked, o.Nodes)
	r = Scaled{Machine: ThisMachine(), Nodes: o.Nodes, Plain: o.Plain, Broker: o.Broker, Sync: o.Sync, NginxDelay: o.NginxDelay,
		HealthEvery: o.HealthEvery, Steady: o.Steady, Missed: o.Missed, LoadBefore: load()}
	debug.SetGCPercent(400) // the nodes live in processes of their own
	s := &system{options: o.Options, stop: func() {}, every: o.HealthEvery, labels: labelsOf}
	defer s.close()
	if err := s.identities(simulatedRegistry(0).Sent()); err != nil {
		return r, err
	}
	m := scaling{system: s, o: o, result: &r}
	defer func() { err = errors.Join(err, m.leave(ctx)) }()
	for _, phase := range []func(context.Context) error{m.begin, m.floors, m.join, m.steady, m.ask, m.questions, m.commands, m.rollout, m.storm} {
		if err := phase(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// scaling is a measurement under way. Its phases run one after the other and each
// adds to the result.
type scaling struct {
	*system
	o      ScaleOptions
	result *Scaled
	before [3]uint64 // memory of this process, the broker and the station before there were nodes
	taken  bool      // the tenant of a broker that runs already
	floor  Figures   // commands to bare connections
	raw    Figures   // the same question to bare connections
}

// labelsOf spreads nodes over ten regions and a hundred sites.
func labelsOf(i int) map[string]string {
	return map[string]string{"region": fmt.Sprintf("r%d", i%10), "site": fmt.Sprintf("s%02d", i%100)}
}

// begin starts broker and station and registers the nodes.
func (m *scaling) begin(ctx context.Context) error {
	if err := m.daemons(ctx); err != nil {
		return err
	}
	if err := m.vacant(ctx); err != nil {
		return err
	}
	if err := m.startCrew(ctx, m.o.NginxDelay); err != nil {
		return err
	}
	var err error
	if m.before, err = m.resident(ctx); err != nil {
		return err
	}
	return m.register(ctx)
}

// resident is the memory of the simulated nodes' processes, the broker and the
// station; 0 for one that was not started here. What the first have freed is given
// back before.
func (s *system) resident(ctx context.Context) (bytes [3]uint64, err error) {
	debug.FreeOSMemory()
	if err := s.order(ctx, crewFree); err != nil {
		return bytes, err
	}
	for _, pid := range s.pids() {
		rss, err := memory(pid, "VmRSS")
		if err != nil {
			return bytes, err
		}
		bytes[0] += rss
	}
	for i, p := range []*host.Process{s.broker, s.station} {
		if p == nil {
			continue
		}
		if bytes[i+1], err = memory(p.PID, "VmRSS"); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}

// perNode is the growth for each node.
func (m *scaling) perNode(now, before uint64) float64 {
	return (float64(now) - float64(before)) / float64(m.o.Nodes)
}

// parallel is how many bare connections are made at once.
const parallel = 16

// floors measures bare connections of the same users, then starts the broker anew,
// so that the memory of the fleet is not what these have left.
func (m *scaling) floors(ctx context.Context) error {
	m.options.Progress("%d bare connections", m.o.Nodes)
	conns := make([]*bus.Conn, m.o.Nodes)
	defer func() { closeAll(conns) }()
	connected, _, err := m.atOnce(nameBare, m.o.Nodes, parallel, func(i int) (err error) {
		conns[i], err = m.bareOne(ctx, i)
		return err
	})
	if err != nil {
		return err
	}
	if err := sleep(ctx, m.o.Settle+m.o.Steady); err != nil {
		return err
	}
	now, err := m.resident(ctx)
	if err != nil {
		return err
	}
	m.result.Memory.Bare = m.perNode(now[1], m.before[1])
	if m.floor, err = m.floorOf(ctx, m.o.Nodes); err != nil {
		return err
	}
	m.result.Figures = append(m.result.Figures, connected, m.floor)
	closeAll(conns)
	conns = nil
	if err := m.rawAsk(ctx); err != nil {
		return err
	}
	return m.restart(ctx)
}

func closeAll(conns []*bus.Conn) {
	var all sync.WaitGroup
	for _, c := range conns {
		if c != nil {
			all.Go(c.Close)
		}
	}
	all.Wait()
}

// restart starts a broker of our own anew, and waits until client and station are
// back.
func (m *scaling) restart(ctx context.Context) error {
	if m.broker == nil {
		return nil
	}
	end(m.broker)
	if err := m.startBroker(ctx); err != nil {
		return err
	}
	if err := m.answering(ctx); err != nil {
		return err
	}
	now, err := m.resident(ctx)
	m.before[1] = now[1]
	return err
}

// join starts the agents.
func (m *scaling) join(ctx context.Context) error {
	before, err := m.processors()
	if err != nil {
		return err
	}
	begun := time.Now()
	m.options.Progress("starting %d agents", m.o.Nodes)
	if err := m.orderOver(ctx, crewStart, station.ReturnOver(m.o.Nodes)); err != nil {
		return err
	}
	if err := m.heard(ctx, m.o.Nodes); err != nil {
		return err
	}
	took := time.Since(begun)
	f, err := m.since(before, nameJoin, m.o.Nodes, took)
	if err != nil {
		return err
	}
	bare := m.result.Figures[0]
	f.Against, f.Ratio = bare.Name, bare.Rate/f.Rate
	m.result.Figures = append(m.result.Figures, f)
	return nil
}

// since are the figures of something that was done count times and took so long.
func (s *system) since(before [3]time.Duration, name string, count int, took time.Duration) (Figures, error) {
	after, err := s.processors()
	each := func(i int) time.Duration { return (after[i] - before[i]) / time.Duration(count) }
	return Figures{Name: name, Count: count, Rate: float64(count) / took.Seconds(), Took: took,
		Agents: each(0), Broker: each(1), Station: each(2)}, err
}

// steady watches the fleet while nothing happens.
func (m *scaling) steady(ctx context.Context) error {
	if err := sleep(ctx, m.o.Settle); err != nil {
		return err
	}
	m.options.Progress("nothing happens for %s", m.o.Steady)
	before, err := m.processors()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := sleep(ctx, m.o.Steady); err != nil {
		return err
	}
	after, err := m.processors()
	if err != nil {
		return err
	}
	took := time.Since(begun)
	cores := func(i int) float64 { return (after[i] - before[i]).Seconds() / took.Seconds() }
	m.result.Idle = Cost{Agents: cores(0), Broker: cores(1), Station: cores(2)}
	now, err := m.resident(ctx)
	if err != nil {
		return err
	}
	m.result.Memory.Agents = m.perNode(now[0], m.before[0])
	if m.broker != nil {
		m.result.Memory.Broker = m.perNode(now[1], m.before[1])
	}
	m.result.Memory.Station = m.perNode(now[2], m.before[2])
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
