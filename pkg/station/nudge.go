package station

import (
	"context"
	"time"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Bounds of one look at commands that seem stuck.
const (
	nudgeMost = 500
	awayMost  = 100
	// mostPatience bounds how long a busy fleet may be at a command.
	mostPatience = 30 * time.Second
)

// nudge looks after commands to nodes that are there and did not answer: the
// end may have been missed here, or the command there.
func (s *Station) nudge(ctx context.Context) error {
	now := s.clock.Now()
	answered := s.ledger.answeredSince(now.Add(-s.cfg.NudgeAfter))
	silent := make(map[string]time.Time) // nodes that are there: since when nothing is known of a command
	var away []string
	waiting := 0
	for name, q := range s.ledger.quiet(now.Add(-s.cfg.NudgeAfter)) {
		n := s.register.get(name)
		if !s.there(n, now) {
			away = append(away, name)
			continue
		}
		waiting += q.commands
		silent[name] = later(q.since, n.asked)
	}
	long := now.Add(-patience(s.cfg.NudgeAfter, waiting, answered))
	for name, since := range silent {
		if since.After(long) {
			delete(silent, name)
		}
	}
	stuck, gone := s.ledger.lookAfter(silent, away, long, now)
	// One that is stored once more after it ended, and was cleared away, has its end
	// long before a station that started since begins to read. Once is enough.
	for _, m := range gone {
		if err := s.recall(ctx, m); err != nil {
			return err
		}
	}
	told := make(map[string]bool)
	for _, m := range stuck {
		if err := s.recall(ctx, m); err != nil {
			return err
		}
		if s.ledger.hasEnded(m) {
			continue
		}
		if !told[m.Subject.Node] {
			told[m.Subject.Node] = true
			if err := s.conn.Tell(subjects.Nudge(m.Subject.Node), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// patience is how long a command goes without any answer before something is
// taken to be wrong: after, but while others are answered, so many since then, as
// long as all that wait take at that pace. A fleet that has much to do is not
// helped by being asked what it does.
func patience(after time.Duration, waiting, answered int) time.Duration {
	if answered == 0 {
		return after
	}
	pace := time.Duration(float64(after) * float64(waiting) / float64(answered))
	return max(after, min(pace, mostPatience))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// quietNode is what waits for a node and was not looked after lately.
type quietNode struct {
	commands int
	since    time.Time // the longest
}

// since is from when on a command was left alone.
func (c *command) since() time.Time { return later(c.stored.At, c.nudged) }

// quiet are the nodes with commands without any answer that were left alone since a
// moment, by the broker's clock.
func (l *ledger) quiet(since time.Time) map[string]quietNode {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]quietNode)
	for name, waiting := range l.byNode {
		var q quietNode
		for _, c := range waiting {
			if from := c.since(); c.state == message.Published && from.Before(since) {
				if q.commands++; q.since.IsZero() || from.Before(q.since) {
					q.since = from
				}
			}
		}
		if q.commands > 0 {
			all[name] = q
		}
	}
	return all
}

// lookAfter takes the commands that are due, as many as one look may: to nodes that
// are there those that were left alone since a moment, to others those of them that
// never were looked after. Many nodes may be away; a look at one of them takes the
// place of none at a node that is there.
func (l *ledger) lookAfter(there map[string]time.Time, away []string, since, now time.Time) (stuck, gone []message.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	take := func(all []message.Message, most int, name string, due func(*command) bool) []message.Message {
		for _, c := range l.byNode[name] {
			if len(all) < most && c.state == message.Published && due(c) {
				c.nudged = now
				all = append(all, c.message)
			}
		}
		return all
	}
	for name := range there {
		stuck = take(stuck, nudgeMost, name, func(c *command) bool { return !c.since().After(since) })
	}
	for _, name := range away {
		gone = take(gone, awayMost, name, func(c *command) bool { return c.nudged.IsZero() && !c.stored.At.After(since) })
	}
	return stuck, gone
}

// pace counts what was answered in the last seconds.
type pace struct {
	seconds [32]int // a ring, by the second
	last    int64   // the newest of them, by the broker's clock
}

func (p *pace) count(at time.Time) {
	p.turn(at.Unix())
	p.seconds[p.last%int64(len(p.seconds))]++
}

// turn forgets the seconds that passed.
func (p *pace) turn(second int64) {
	for ; p.last < second; p.last++ {
		if second-p.last > int64(len(p.seconds)) {
			p.last = second - int64(len(p.seconds))
		}
		p.seconds[(p.last+1)%int64(len(p.seconds))] = 0
	}
}

// since is how many were counted since a moment; what is longer ago than the ring
// reaches is not.
func (p *pace) since(at time.Time) (count int) {
	for second := max(at.Unix(), p.last-int64(len(p.seconds))+1); second <= p.last; second++ {
		count += p.seconds[second%int64(len(p.seconds))]
	}
	return count
}

// answeredSince is how many commands ended or were accepted since a moment.
func (l *ledger) answeredSince(at time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace.turn(l.station.clock.Now().Unix())
	return l.pace.since(at)
}
