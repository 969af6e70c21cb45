package station

import (
	"context"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// JetStream answers where who asks wants it to: everybody who may store anything
// can so have rubbish written over any key of a bucket, often enough for its
// history to hold nothing else. Nobody believes it, and stations that run know
// what was there; they write it again, for those that start later.

// spoil is an entry that is not believed, in the place of one that is.
type spoil struct {
	sequence uint64
	until    time.Time // is left alone until then, by the broker's clock
}

// spoilOf is what an entry that is not believed spoils. What somebody signed
// may be good all the same, and this station behind: when it has heard of another
// trust set it reads everything anew.
func (s *Station) spoilOf(e bus.Entry, as subjects.Subject) spoil {
	m, err := e.Message(as)
	if err != nil || m.CheckSignature() != nil {
		return spoil{sequence: e.Sequence}
	}
	return spoil{e.Sequence, e.At.Add(s.cfg.StrangersAfter)}
}

// restore writes what was there over what nobody believes. Whichever station is
// first, the others find that it is no longer where they expect it.
func (s *Station) restore(ctx context.Context) error {
	for bucket, due := range map[string]func() ([]bus.Change, error){subjects.Nodes: s.register.spoiled, subjects.Fleet: s.compiler.spoiled} {
		changes, err := due()
		if err != nil {
			return err
		}
		for _, c := range changes {
			switch _, err := s.conn.Put(ctx, bucket, c); {
			case err == nil:
				s.log.Warn("wrote again what was written over", "bucket", bucket, "key", c.Key)
			case fleet.KindOf(err) != fleet.Conflict:
				return err
			}
		}
	}
	return nil
}

// spoil keeps the last good entry of a node in force, and notes where one lies
// that is not believed. The lock is held.
func (r *register) spoil(ctx context.Context, e bus.Entry) error {
	r.spoils[e.Key] = r.station.spoilOf(e, message.RegisterSubject(e.Key))
	return r.keep(ctx, e.Key)
}

// spoiled are the entries to write again, signed by this station: it may register
// and remove nodes itself.
func (r *register) spoiled() (due []bus.Change, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.station.clock.Now()
	for name, spoil := range r.spoils {
		if now.Before(spoil.until) {
			continue
		}
		var m message.Message
		record, removed := r.knows(name)
		switch {
		case record.Key != "":
			m, err = SignRecord(record, r.station.cfg.Credentials.UserName(), r.station.cfg.Credentials)
		case !removed.at.IsZero():
			m, err = r.station.sign(message.Message{Subject: message.RegisterSubject(name), ID: message.NewID(), Operation: bus.Delete})
		default: // nothing was there
			continue
		}
		if err != nil {
			return nil, err
		}
		due = append(due, bus.Change{Key: name, Document: m, Expect: spoil.sequence})
	}
	return due, nil
}

// knows is what the station remembers of a name: its record, without a key where
// there is none that stands, or when it was removed. The lock is held.
func (r *register) knows(name string) (record NodeRecord, removed removal) {
	if n, ok := r.nodes[name]; ok && n.record.Key != "" {
		if _, err := message.Stands(n.by.key, n.by.at, r.station.trust.Find, recordWriters...); err == nil {
			return n.record, removed
		}
	}
	return record, r.gone[name]
}

// spoiled are the resources to write again, as they were signed. What somebody
// wrote who left since would not stand if it were of this moment: the station
// adds since when it stood.
func (c *compiler) spoiled() (due []bus.Change, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.station.clock.Now()
	for key, spoil := range c.spoils {
		if now.Before(spoil.until) {
			continue
		}
		r, known := c.resources[key]
		if !known {
			continue
		}
		if _, believed := c.station.trust.Find(r.signed.key); !believed {
			if _, err := c.mayWrite(r.resource.Kind, r.signed); err != nil {
				continue
			}
			if r.document, err = r.document.VouchFor(r.signed.at, c.station.cfg.Credentials.UserName(), c.station.cfg.Credentials); err != nil {
				return nil, err
			}
		}
		due = append(due, bus.Change{Key: key, Document: r.document, Expect: spoil.sequence})
	}
	return due, nil
}
