package station

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// governor publishes the commands of bounded orders: so many at a time in all, or
// on nodes that have the same value of a label. The station that drives rollouts
// does it. A command holds its place until it has its final answer, and loses it
// after the order's slot: a node that died with one does not hold up the others.
// Nodes that are not there have their turn when they come back.
type governor struct {
	station *Station
	wakes   chan struct{}

	mu   sync.Mutex
	byID map[string]*bounded
	read uint64 // sequence of ORDERS
}

// bounded is a bounded order as a station knows it.
type bounded struct {
	order   message.Order
	signed  signature
	waiting map[string]message.Message // by node: those that nobody published, as far as it is known
	under   map[string]place           // by node: those that were
	fresh   bool                       // waiting was compared with the streams since this station leads
}

// place is that of a command that is under way.
type place struct {
	command message.Message
	since   time.Time // broker's clock
}

// slotTime is a place's life where the order does not say.
const slotTime = 5 * time.Minute

func newGovernor(s *Station) *governor {
	return &governor{station: s, wakes: make(chan struct{}, 1), byID: make(map[string]*bounded)}
}

func (g *governor) wake() {
	select {
	case g.wakes <- struct{}{}:
	default:
	}
}

func (g *governor) follow(ctx context.Context, caughtUp func()) error {
	g.mu.Lock()
	after := g.read
	g.mu.Unlock()
	o := bus.ReadOptions{Filter: subjects.QueueSubject("*", "*"), After: after, Follow: true, CaughtUp: caughtUp}
	return g.station.conn.Read(ctx, subjects.Orders, o, func(i bus.Item) error {
		g.station.clock.Observe(i.At)
		err := g.take(ctx, i.Stored)
		if fleet.KindOf(err) == fleet.Unavailable || fleet.KindOf(err) == fleet.Timeout {
			return err // it is read again
		}
		if err != nil {
			g.station.log.Warn("ignored a part of an order's queue", "subject", i.Subject, "error", err)
		}
		g.mu.Lock()
		g.read = max(g.read, i.Sequence)
		g.mu.Unlock()
		g.wake()
		return nil
	})
}

// take reads a part of a queue: commands of the order's own sender, or its end by
// somebody who may send such commands.
func (g *governor) take(ctx context.Context, s message.Stored) error {
	id, commands, m, err := message.OpenQueue(s)
	if err != nil {
		return err
	}
	g.mu.Lock()
	b := g.byID[id]
	g.mu.Unlock()
	if b == nil {
		if b, err = g.order(ctx, id); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.byID[id]; known != nil {
		b = known
	}
	if _, part, _ := subjects.QueueOf(s.Subject); part == message.QueueCancel {
		if m.Key != b.signed.key {
			if _, err := message.VerifyStored(&m, s.At, g.station.trust.Find, subjects.Admin, subjects.Operator); err != nil {
				return err
			}
		}
		g.station.log.Info("an order's queue is called off", "order", id, "by", m.From, "commands", len(b.waiting))
		clear(b.waiting)
		b.order.Nodes = nil // parts that come behind are too late
		g.byID[id] = b
		return nil
	}
	if m.Key != b.signed.key {
		return fleet.Errorf(fleet.Refused, "it is signed by %s, and the order by %s", m.From, b.order.By)
	}
	for _, c := range commands {
		node := c.Subject.Node
		subject, command := b.order.Command(node)
		if _, meant := slices.BinarySearch(b.order.Nodes, node); !meant || c.Subject != subject || c.ID != command || c.Order != id || c.Key != m.Key {
			return fleet.Errorf(fleet.Refused, "%s %s is no command of it", c.Subject, c.ID)
		}
		if _, under := b.under[node]; !under {
			b.waiting[node] = c
		}
	}
	b.fresh = false
	g.byID[id] = b
	return nil
}

// order reads the order itself.
func (g *governor) order(ctx context.Context, id string) (*bounded, error) {
	stored, err := g.station.conn.First(ctx, subjects.Orders, subjects.OrderSubject(id))
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fleet.Errorf(fleet.Unknown, "there is no order %s", id)
	}
	o, m, err := message.OpenOrder(*stored)
	if err != nil {
		return nil, err
	}
	if _, err := message.VerifyStored(&m, stored.At, g.station.trust.Find, subjects.Admin, subjects.Operator, subjects.Viewer); err != nil {
		return nil, err
	}
	return &bounded{order: o, signed: signature{m.Key, stored.At}, waiting: make(map[string]message.Message), under: make(map[string]place)}, nil
}

// governEvery is the pause between looks where nothing wakes the governor, as for
// nodes that come back and places that are lost.
const governEvery = time.Second

func (g *governor) run(ctx context.Context) {
	tick := time.NewTicker(governEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.wakes:
		}
		open := g.open()
		if len(open) == 0 {
			continue
		}
		if !g.station.rollouts.hold(ctx) {
			g.mu.Lock()
			for _, b := range open {
				b.fresh = false // another station publishes
			}
			g.mu.Unlock()
			continue
		}
		for _, b := range open {
			if err := g.govern(ctx, b); err != nil && ctx.Err() == nil {
				g.station.log.Warn("an order's queue cannot go on, trying again", "order", b.order.ID, "error", err)
			}
		}
	}
}

// open are the orders of which something waits, the oldest first.
func (g *governor) open() (open []*bounded) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.station.clock.Now()
	for id, b := range g.byID {
		switch {
		case len(b.waiting) > 0:
			open = append(open, b)
		case now.After(b.order.Expires):
			delete(g.byID, id)
		}
	}
	slices.SortFunc(open, func(a, b *bounded) int { return compare(a.order.ID, b.order.ID) })
	return open
}

// govern publishes what has a place now.
func (g *governor) govern(ctx context.Context, b *bounded) error {
	now := g.station.clock.Now()
	if !now.Before(b.order.Expires) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.station.log.Info("an order's time is over", "order", b.order.ID, "unsent", len(b.waiting))
		clear(b.waiting)
		return nil
	}
	if err := g.refresh(ctx, b); err != nil {
		return err
	}
	due := g.due(b, now)
	if len(due) == 0 {
		return nil
	}
	// What was called off before a place was free is not sent, though it may not have
	// been read yet.
	end, err := g.station.conn.First(ctx, subjects.Orders, subjects.QueueSubject(b.order.ID, message.QueueCancel))
	if err != nil {
		return err
	}
	if end != nil && g.take(ctx, *end) == nil {
		return nil
	}
	errs := g.station.conn.PublishAll(ctx, due)
	g.mu.Lock()
	var failed error
	for i, m := range due {
		if errs[i] != nil && !errors.Is(errs[i], bus.ErrExists) {
			failed = errs[i]
			continue
		}
		delete(b.waiting, m.Subject.Node)
		b.under[m.Subject.Node] = place{m, now}
	}
	g.mu.Unlock()
	if failed != nil {
		return failed
	}
	// The ledger has read them when they are counted next.
	return g.station.barrier.pass(ctx)
}

// refresh finds out what others published, as before this station led.
func (g *governor) refresh(ctx context.Context, b *bounded) error {
	g.mu.Lock()
	fresh := b.fresh
	var asked []message.Message
	for _, m := range b.waiting {
		asked = append(asked, m)
	}
	g.mu.Unlock()
	if fresh {
		return nil
	}
	if err := g.station.barrier.pass(ctx); err != nil {
		return err
	}
	var from []string
	for _, m := range asked {
		from = append(from, subjects.FinalAnswer(m.Subject, message.AnswerID(m.ID, m.Subject.Domain, message.Succeeded)))
	}
	over := make(map[string]bool)
	if err := g.station.conn.LastOf(ctx, subjects.Events, from, func(s message.Stored) { over[message.Receive(s).Message.Command] = true }); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range asked {
		since, held := g.station.ledger.storedAt(m)
		switch {
		case held:
			b.under[m.Subject.Node] = place{m, since}
			delete(b.waiting, m.Subject.Node)
		case over[m.ID]:
			delete(b.waiting, m.Subject.Node)
		}
	}
	b.fresh = true
	return nil
}

// due are the commands that have a place now.
func (g *governor) due(b *bounded, now time.Time) (due []message.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slot := slotTime
	if b.order.Slot > 0 {
		slot = time.Duration(b.order.Slot * float64(time.Second))
	}
	used := make(map[string]map[string]int, len(b.order.Per)) // by label and value
	for label := range b.order.Per {
		used[label] = make(map[string]int)
	}
	for node, p := range b.under {
		if g.station.ledger.hasEnded(p.command) || now.Sub(p.since) > slot {
			delete(b.under, node)
			continue
		}
		labels := g.station.register.get(node).record.AllLabels()
		for label := range used {
			used[label][labels[label]]++
		}
	}
	count := len(b.under)
	for _, node := range slices.Sorted(maps.Keys(b.waiting)) {
		if b.order.Most > 0 && count >= b.order.Most {
			break
		}
		n := g.station.register.get(node)
		if n.record.Key == "" || !n.there(now) {
			continue
		}
		labels := n.record.AllLabels()
		full := false
		for label, most := range b.order.Per {
			full = full || used[label][labels[label]] >= most
		}
		if full {
			continue
		}
		for label := range used {
			used[label][labels[label]]++
		}
		count++
		due = append(due, b.waiting[node])
	}
	return due
}

// storedAt is since when the mailbox holds a command without an end.
func (l *ledger) storedAt(m message.Message) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.byKey[ledgerKey(m.Subject.Node, m.Subject.Method, m.Subject.Domain, m.ID)]
	if !ok {
		return time.Time{}, false
	}
	return c.stored.At, true
}
