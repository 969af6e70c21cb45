package station

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// checkpoints signs what the audit holds, so that nobody can change it later
// without being found out (see Client.VerifyAudit). Any number of stations grow
// one chain: each expects the checkpoint that it read as the last one, and
// leaves it to another that was faster. It looks when something new was heard
// of and a pause is over, and costs nothing while nothing happens.
type checkpoints struct {
	station *Station
	news    atomic.Bool // the audit copies something that it has not looked at
	looked  time.Time
	known   link // the newest that it has seen
	short   int  // looks in a row at which the audit was shorter than what is signed
}

// link is a checkpoint in its place in the chain.
type link struct {
	message.Checkpoint
	hash     string
	sequence uint64    // in the stream
	at       time.Time // by the broker's clock
}

const (
	// idleLooks is how many pauses may pass without a look: the audit copies
	// what a station heard of sooner or later.
	idleLooks = 30
	// Few new messages wait for up to slowLooks pauses: a fleet in which little
	// happens shall not keep more checkpoints than messages.
	few       = 32
	slowLooks = 6
	// shortLooks is how often an audit must be found too short to call it cut
	// off: a cluster's new leader may say so for a moment.
	shortLooks = 3
)

func (c *checkpoints) run(ctx context.Context) {
	every := c.station.cfg.CheckpointEvery
	for {
		pause(ctx, every+rand.N(every/4+1)) // several stations should not do the same work at once
		if ctx.Err() != nil {
			return
		}
		if !c.news.Swap(false) && time.Since(c.looked) < idleLooks*every {
			continue
		}
		c.looked = time.Now()
		again, err := c.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case fleet.KindOf(err) == fleet.Conflict: // another station was faster
			again = true
		case err != nil:
			again = true
			c.station.log.Warn("the audit has no new checkpoint, trying again", "error", err)
		}
		if again {
			c.news.Store(true)
		}
	}
}

// look signs what is new. again says that there may be more.
func (c *checkpoints) look(ctx context.Context) (again bool, err error) {
	// First the chain, then the audit: what others sign meanwhile is no longer
	// than the audit is now.
	last, tail, err := c.end(ctx)
	if err != nil {
		return false, err
	}
	state, err := c.station.conn.State(ctx, subjects.Audit)
	if err != nil {
		return false, err
	}
	c.station.clock.Observe(state.Now)
	if state.Last < last.To {
		return true, c.tooShort(ctx, last, tail, state)
	}
	c.short = 0
	age, news := state.Now.Sub(last.at), state.Last-last.To
	switch {
	case news == 0 && last.Number > 0 && age > c.keep()/2:
		return false, c.put(ctx, &last, &tail, c.next(last)) // lest the chain be forgotten for want of news
	case news == 0:
		return false, nil
	case last.Number > 0 && age < c.patience(news):
		return true, nil
	}
	return true, c.cover(ctx, last, tail)
}

// patience is how old the last checkpoint must be for the next one. Half a
// pause is for stations that look right after another one signed.
func (c *checkpoints) patience(news uint64) time.Duration {
	every := c.station.cfg.CheckpointEvery
	switch {
	case news >= message.MostMarks:
		return 0
	case news < few:
		return slowLooks*every - every/2
	}
	return every / 2
}

// end is the last checkpoint of the chain that a station signed, and where the
// next one goes: behind whatever else stands there.
func (c *checkpoints) end(ctx context.Context) (last link, tail uint64, err error) {
	stored, err := c.station.conn.End(ctx, subjects.Checkpoints, subjects.Checkpoint)
	if err != nil {
		return last, 0, err
	}
	if stored != nil {
		tail = stored.Sequence
	}
	for stored != nil {
		var fault error
		if last, fault = c.read(*stored); fault == nil {
			break
		}
		c.station.log.Error("passed over a checkpoint of the audit", "sequence", stored.Sequence, "error", fault)
		if stored, err = c.station.conn.At(ctx, subjects.Checkpoints, stored.Sequence-1); err != nil {
			return last, 0, err
		}
	}
	if last.Number < c.known.Number || last.Number == c.known.Number && last.hash != c.known.hash {
		c.station.log.Error("a checkpoint of the audit is gone: see `fairlead audit verify`", "checkpoint", c.known.Number)
		last = c.known // so that everybody can see what is missing
	}
	c.known = last
	return last, tail, nil
}

func (c *checkpoints) read(s message.Stored) (link, error) {
	checkpoint, m, err := message.OpenCheckpoint(s)
	if err == nil {
		_, err = message.VerifyStored(&m, s.At, c.station.trust.Find, subjects.Station)
	}
	if err != nil {
		return link{}, err
	}
	return link{checkpoint, message.CheckpointHash(m), s.Sequence, s.At}, nil
}

// next begins the checkpoint that follows one.
func (c *checkpoints) next(last link) message.Checkpoint {
	_, digest := new(message.Marker).Take()
	return message.Checkpoint{Number: last.Number + 1, Previous: last.hash, From: last.To + 1, To: last.To, After: last.Until(),
		Digest: digest, KeepSeconds: c.keep().Seconds()}
}

func (c *checkpoints) keep() time.Duration {
	return c.station.cfg.Storage.Or(subjects.DefaultSettings()).AuditAge
}

// cover signs all that the audit holds behind a checkpoint.
func (c *checkpoints) cover(ctx context.Context, last link, tail uint64) error {
	next := c.next(last)
	var marker message.Marker
	put := func() error {
		if marker.Len() == 0 {
			return nil
		}
		next.To = next.From + uint64(marker.Len()) - 1
		next.Marks, next.Digest = marker.Take()
		err := c.put(ctx, &last, &tail, next)
		next = c.next(last)
		return err
	}
	err := c.station.conn.Read(ctx, subjects.Audit, bus.ReadOptions{After: last.To}, func(i bus.Item) error {
		if i.Sequence != next.From+uint64(marker.Len()) { // what lies between was gone before anybody looked
			if err := put(); err != nil {
				return err
			}
			next.From = i.Sequence
		}
		marker.Add(i.Stored)
		if marker.Len() == message.MostMarks {
			return put()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return put()
}

// tooShort records that the audit lost what was signed, once that is sure.
func (c *checkpoints) tooShort(ctx context.Context, last link, tail uint64, state bus.StreamState) error {
	if c.short++; c.short < shortLooks {
		return nil
	}
	c.station.log.Error("the audit was cut off or made anew: see `fairlead audit verify`", "checkpoint", last.Number, "covers", last.To, "ends", state.Last)
	next := c.next(last)
	next.From, next.To, next.Ended = state.Last+1, state.Last, &state.Last
	c.short = 0
	return c.put(ctx, &last, &tail, next)
}

// put signs a checkpoint and stores it at the end of the chain.
func (c *checkpoints) put(ctx context.Context, last *link, tail *uint64, next message.Checkpoint) error {
	next.At = time.Now()
	m, err := message.SignCheckpoint(next, c.station.cfg.Credentials.UserName(), c.station.cfg.Credentials)
	if err != nil {
		return err
	}
	sequence, err := c.station.conn.Append(ctx, subjects.Checkpoint, m, *tail)
	if err != nil {
		return err
	}
	*last = link{next, message.CheckpointHash(m), sequence, c.station.clock.Now()}
	*tail, c.known = sequence, *last
	return nil
}
