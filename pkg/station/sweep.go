package station

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// sweep ends what expired, tells nodes about what seems stuck, and clears the
// mailbox of what ended. What was written over in buckets it writes again.
func (s *Station) sweep(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, step := range []func(context.Context) error{s.expire, s.endRemoved, s.unblock, s.nudge, s.clear, s.tellRemoved, s.presence.tellTwins, s.restore, s.compiler.tidyParts} {
			sctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := step(sctx)
			cancel()
			if err != nil && ctx.Err() == nil {
				s.log.Warn("sweep", "error", err)
			}
		}
	}
}

// expire ends commands whose time is long over and that no node answered. The
// answer's id is that of any final answer, so a node that ends the command in
// the same moment and the station cannot both do it.
func (s *Station) expire(ctx context.Context) error {
	now := s.clock.Now()
	var over []message.Message
	s.ledger.each(func(c *command) {
		limit := c.message.Expires
		if limit.IsZero() || limit.After(c.stored.At.Add(subjects.MaxCommandAge)) {
			limit = c.stored.At.Add(subjects.MaxCommandAge - 2*s.cfg.ExpireAfter)
		}
		if now.After(limit.Add(s.cfg.ExpireAfter)) {
			over = append(over, c.message)
		}
	})
	for _, m := range over {
		text := fmt.Sprintf("%s had not answered when the command's time ran out", m.Subject.Node)
		answer, err := s.sign(message.NewAnswer(m, s.cfg.Credentials.UserName(), message.Expired, message.Answer{Message: text, Kind: "expired"}))
		if err != nil {
			return err
		}
		_, err = s.conn.Publish(ctx, answer)
		if errors.Is(err, bus.ErrExists) { // it ended after all, and that was missed here
			err = s.recall(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recall takes a command's end from the stream, where it has one.
func (s *Station) recall(ctx context.Context, m message.Message) error {
	final, err := s.conn.Last(ctx, subjects.Events, subjects.FinalAnswer(m.Subject, message.AnswerID(m.ID, m.Subject.Domain, message.Succeeded)))
	if err == nil && final != nil {
		s.ledger.event(ctx, *final)
	}
	return err
}

// clearMost bounds what one sweep removes singly.
const clearMost = 500

// clear removes ended commands from the mailbox, but only those that the audit
// has copied.
func (s *Station) clear(ctx context.Context) error {
	if !s.ledger.anyEnded() {
		return nil
	}
	copied, err := s.conn.CopiedUpTo(ctx, subjects.Audit, subjects.CopiedCommands)
	if err != nil {
		return err
	}
	before, singly, gone := s.ledger.clearable(copied)
	if len(gone) == 0 {
		return nil
	}
	if err := s.conn.Clear(ctx, before, singly); err != nil {
		return err
	}
	s.ledger.cleared(gone)
	return nil
}

// each calls f for every command without a final answer, under the lock.
func (l *ledger) each(f func(*command)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, waiting := range l.byNode {
		for _, c := range waiting {
			f(c)
		}
	}
}

// hasEnded reports whether the ledger knows a command's end.
func (l *ledger) hasEnded(m message.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, waits := l.byKey[ledgerKey(m.Subject.Node, m.Subject.Method, m.Subject.Domain, m.ID)]
	return !waits
}

func (l *ledger) anyEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ended) > 0
}

// singlyFrom is how many ended commands above a waiting one make the station
// remove them singly although commands end all the time. Each costs the broker
// a call, so in a burst they wait for the front to move or for calm.
const singlyFrom = 10_000

// clearable splits the ended commands that are copied: all messages below
// before are ended and can go in one call; those above a waiting one go singly.
func (l *ledger) clearable(copied uint64) (before uint64, singly []uint64, gone []ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = min(copied, l.read) + 1 // what was copied and not read here may still wait
	for _, waiting := range l.byNode {
		before = min(before, waiting[0].stored.Sequence) // the first is the oldest
	}
	calm := time.Since(l.lastEnd) > l.station.cfg.SweepEvery
	for _, e := range l.ended {
		switch {
		case e.sequence > copied:
		case e.sequence < before:
			gone = append(gone, e)
		case (calm || len(l.ended) > singlyFrom) && len(singly) < clearMost:
			singly = append(singly, e.sequence)
			gone = append(gone, e)
		}
	}
	return before, singly, gone
}

func (l *ledger) cleared(gone []ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sequences := make(map[uint64]bool, len(gone))
	for _, e := range gone {
		sequences[e.sequence] = true
		delete(l.over, e.key)
	}
	l.ended = slices.DeleteFunc(l.ended, func(e ended) bool { return sequences[e.sequence] })
}
