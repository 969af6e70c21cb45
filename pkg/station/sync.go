package station

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Bounds of one page of a sync, in messages and in bytes as JSON: the largest
// body that is allowed fits, and the broker's largest payload is 1 MiB.
const (
	pageMessages = 256
	pageBytes    = 960 << 10
)

// sizeOf is about what a message takes in a page, and never more than that.
func sizeOf(s message.Stored) int {
	const perMessage, perHeader = 128, 8 // names, quotes, sequence, time
	size := perMessage + len(s.Subject) + base64.StdEncoding.EncodedLen(len(s.Body))
	for name, values := range s.Headers {
		size += len(name) + perHeader
		for _, value := range values {
			size += perHeader + jsonGrowth*len(value)
		}
	}
	return size
}

// jsonGrowth is how much a byte can grow in JSON, as \u0001.
const jsonGrowth = 6

// sync answers a node that asks for its waiting commands.
func (s *Station) sync(ctx context.Context, subject string, body []byte) (any, error) {
	name := subjects.NodeOfSync(subject)
	var request message.SyncRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "sync request: %w", err)
	}
	s.register.asks(name, s.clock.Now())
	leave, err := s.crowd.enter(time.Now())
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.barrier.pass(ctx); err != nil {
		return nil, err
	}
	reply, err := s.ledger.page(name, request.After)
	if err != nil {
		return nil, err
	}
	reply.Now, reply.SpreadMillis = s.clock.Now(), s.crowd.spread(time.Now()).Milliseconds()
	reply.ReturnMillis = ReturnOver(s.register.len()).Milliseconds()
	return reply, nil
}

// page is a node's waiting commands behind a sequence. The node takes none
// before it has read all pages, so a cancellation on a later page still comes
// in time.
//
// The error is Unavailable for a message that no page can hold, larger than
// any that a node would take: the node reads its mailbox itself then, and
// refuses it.
func (l *ledger) page(name string, after uint64) (message.SyncReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reply message.SyncReply
	size := 0
	for _, c := range l.byNode[name] {
		if c.stored.Sequence <= after {
			continue
		}
		size += sizeOf(c.stored)
		if len(reply.Messages) > 0 && (len(reply.Messages) >= pageMessages || size > pageBytes) {
			reply.More = true
			return reply, nil
		}
		if size > pageBytes {
			return reply, fleet.Errorf(fleet.Unavailable, "command %s to %s is too large for an answer: read it from the mailbox", c.message.ID, name)
		}
		reply.Messages = append(reply.Messages, c.stored)
	}
	return reply, nil
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
	if s.cfg.Issuer == nil { // whoever asks is to reach a station that can
		return func() { stopSync(); stopQuery() }, nil
	}
	stopJoin, err := s.conn.Service(ctx, "fairlead-join", serviceVersion, "makes hosts nodes, and renews what nodes prove themselves with",
		endpoint(QueryToken, s.answerToken),
		bus.Endpoint{Name: "join", Subject: subjects.JoinAll, Handle: s.join},
		bus.Endpoint{Name: "renew", Subject: subjects.RenewAll, Handle: s.renew})
	if err != nil {
		stopSync()
		stopQuery()
		return nil, err
	}
	return func() { stopSync(); stopQuery(); stopJoin() }, nil
}

// serviceVersion is that of the questions and answers, not of the program.
const serviceVersion = "1.0.0"
