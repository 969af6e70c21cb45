package station

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// JetStream answers where who asks wants it to, so a subject on which a final
// answer is to come can hold rubbish before it comes: then the broker refuses the
// answer as one that is stored already, and the node takes that for its own. The
// final answer is the first that somebody proves. What is in its place a station
// takes away, once the audit has it, and has the node say again what it said.

// Bounds of one sweep and of what is remembered: what is left out is met again.
const (
	unblockMost = 500
	wedgesMost  = 8192
)

// wedge is what lies unproven where a final answer is to be.
type wedge struct {
	stored message.Stored
	node   string
	signed bool // by somebody
}

// wedged notes an event that nobody proves, where it is in the way of an answer.
func (l *ledger) wedged(stored message.Stored, m message.Message) {
	subject, id, err := subjects.ParseStored(stored.Subject)
	if err != nil || subject.Method != subjects.MethodAck || !message.IsEnd(id) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := wedge{stored, subject.Node, m.CheckSignature() == nil}
	if !w.signed {
		w.stored.Headers, w.stored.Body = nil, nil
	}
	if len(l.wedges) < wedgesMost {
		l.wedges[stored.Sequence] = w
	}
}

// takeWedges are those to take away: what a stranger signed is left alone for a
// while, since this station may be the one that is behind.
func (l *ledger) takeWedges(now time.Time) (due []wedge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sequence, w := range l.wedges {
		if (!w.signed || now.Sub(w.stored.At) > l.station.cfg.StrangersAfter) && len(due) < unblockMost {
			delete(l.wedges, sequence)
			due = append(due, w)
		}
	}
	return due
}

// unblock makes way for final answers.
func (s *Station) unblock(ctx context.Context) error {
	due := s.ledger.takeWedges(s.clock.Now())
	if len(due) == 0 {
		return nil
	}
	copied, err := s.conn.CopiedUpTo(ctx, subjects.Audit, subjects.CopiedEvents)
	for i, w := range due {
		d := message.Receive(w.stored)
		switch {
		case err != nil || w.stored.Sequence > copied: // the audit is to have it
			s.ledger.wedge(w)
			continue
		case s.register.proves(ctx, &d.Message, w.stored.At) == nil: // it has become known since whose it is
			s.ledger.event(ctx, w.stored)
			continue
		}
		if err = s.conn.Remove(ctx, subjects.Events, w.stored.Sequence); err != nil {
			if fleet.KindOf(err) == fleet.Refused { // its grant is of an older version
				return err
			}
			s.ledger.wedge(due[i])
			continue
		}
		s.log.Warn("took away what was in the place of an answer", "subject", w.stored.Subject, "sequence", w.stored.Sequence)
		if err = s.conn.Tell(subjects.Nudge(w.node), nil); err != nil {
			return err
		}
	}
	return err
}

func (l *ledger) wedge(w wedge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wedges[w.stored.Sequence] = w
}
