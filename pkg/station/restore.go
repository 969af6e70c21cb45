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

// nobodys reports whether nobody signed an entry as what it stands for. What
// somebody signed whom this station does not believe is no rubbish: it may be the
// station that is behind.
func nobodys(e bus.Entry, as subjects.Subject) bool {
	m, err := e.Message(as)
	return err != nil || m.CheckSignature() != nil
}

// restore writes what was there over what nobody signed. Whichever station is
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
// that nobody signed. The lock is held.
func (r *register) spoil(ctx context.Context, e bus.Entry) error {
	if nobodys(e, message.RegisterSubject(e.Key)) {
		r.spoils[e.Key] = e.Sequence
	}
	return r.keep(ctx, e.Key)
}

// spoiled are the entries to write again, signed by this station: it may register
// and remove nodes itself.
func (r *register) spoiled() (due []bus.Change, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for name, sequence := range r.spoils {
		var m message.Message
		record, removed := r.knows(name)
		switch {
		case record.Key != "":
			m, err = SignRecord(record, r.station.cfg.Credentials.UserName(), r.station.cfg.Credentials)
		case !removed.IsZero():
			m, err = r.station.sign(message.Message{Subject: message.RegisterSubject(name), ID: message.NewID(), Operation: bus.Delete})
		default: // nothing was there
			continue
		}
		if err != nil {
			return nil, err
		}
		due = append(due, bus.Change{Key: name, Document: m, Expect: sequence})
	}
	return due, nil
}

// knows is what the station remembers of a name: its record, without a key where
// there is none that stands, or when it was removed. The lock is held.
func (r *register) knows(name string) (record NodeRecord, removed time.Time) {
	if n, ok := r.nodes[name]; ok && n.record.Key != "" {
		if _, err := message.Stands(n.by.key, n.by.at, r.station.trust.Find, recordWriters...); err == nil {
			return n.record, removed
		}
	}
	return record, r.gone[name]
}

// spoiled are the resources to write again, as they were signed, by people who
// are believed now: what somebody wrote who left since, this moment would not stand.
func (c *compiler) spoiled() (due []bus.Change, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, sequence := range c.spoils {
		r, known := c.resources[key]
		if _, believed := c.station.trust.Find(r.signed.key); known && believed {
			due = append(due, bus.Change{Key: key, Document: r.document, Expect: sequence})
		}
	}
	return due, nil
}
