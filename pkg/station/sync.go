package station

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Bounds of one page of a sync, under the broker's largest payload.
const (
	pageMessages = 256
	pageBytes    = 512 << 10
)

// sync answers a node that asks for its waiting commands.
func (s *Station) sync(ctx context.Context, subject string, body []byte) (any, error) {
	name := subjects.NodeOfSync(subject)
	var request message.SyncRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "sync request: %w", err)
	}
	if err := s.barrier.pass(ctx); err != nil {
		return nil, err
	}
	reply := s.ledger.page(name, request.After)
	reply.Now = s.clock.Now()
	return reply, nil
}

// page is a node's waiting commands behind a sequence. The node takes none
// before it has read all pages, so a cancellation on a later page still comes
// in time.
func (l *ledger) page(name string, after uint64) message.SyncReply {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reply message.SyncReply
	size := 0
	for _, c := range l.byNode[name] {
		if c.stored.Sequence <= after {
			continue
		}
		if len(reply.Messages) >= pageMessages || size+len(c.stored.Body) > pageBytes && size > 0 {
			reply.More = true
			return reply
		}
		reply.Messages = append(reply.Messages, c.stored)
		size += len(c.stored.Body)
	}
	return reply
}

// barrier makes sure that the ledger has read everything that was stored
// before a question came, so that no answer misses a command that the asker
// was too late to hear. Questions that come together share one look.
type barrier struct {
	station *Station
	mu      sync.Mutex
	next    *look // not begun: who comes now may join
	running bool
}

type look struct {
	done chan struct{}
	err  error
}

func (b *barrier) pass(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &look{done: make(chan struct{})}
	}
	mine := b.next
	if !b.running {
		b.running = true
		go b.run()
	}
	b.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return fleet.Errorf(fleet.Timeout, "the station is behind its streams: %w", ctx.Err())
	}
}

// run looks until nobody waits.
func (b *barrier) run() {
	for {
		b.mu.Lock()
		now := b.next
		b.next = nil
		if now == nil {
			b.running = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		now.err = b.look()
		close(now.done)
	}
}

func (b *barrier) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	state, err := b.station.conn.State(ctx, subjects.Commands)
	if err != nil {
		return err
	}
	b.station.clock.Observe(state.Now)
	soon, cancelSoon := context.WithTimeout(ctx, clearedAfter)
	defer cancelSoon()
	if b.station.ledger.until(soon, state.Last) == nil {
		return nil
	}
	// Another station may have cleared the last ones before they were read here.
	left, err := b.station.conn.HasAfter(ctx, subjects.Commands, b.station.ledger.seen())
	if err != nil {
		return err
	}
	if !left {
		b.station.ledger.advance(state.Last)
		return nil
	}
	if err := b.station.ledger.until(ctx, state.Last); err != nil {
		return fleet.Errorf(fleet.Timeout, "the station is behind its streams: %w", err)
	}
	return nil
}

// clearedAfter is how long a look waits for the last command before it asks
// whether that is still there.
const clearedAfter = 250 * time.Millisecond

// serve announces the station's services.
func (s *Station) serve(ctx context.Context) (stop func(), err error) {
	stopSync, err := s.conn.Service(ctx, "fairlead-sync", serviceVersion, "hands waiting commands to nodes",
		bus.Endpoint{Name: "sync", Subject: subjects.SyncAll, Handle: s.sync})
	if err != nil {
		return nil, err
	}
	stopQuery, err := s.conn.Service(ctx, "fairlead-query", serviceVersion, "answers people's questions", s.queries()...)
	if err != nil {
		stopSync()
		return nil, err
	}
	return func() { stopSync(); stopQuery() }, nil
}

// serviceVersion is that of the questions and answers, not of the program.
const serviceVersion = "1.0.0"
