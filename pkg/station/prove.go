package station

import (
	"context"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// proves checks that an event or a report is by the node that it is about, or by
// a station. What it says of a node that joined or took another key this moment
// may come before the register's entry: then that is looked up.
func (r *register) proves(ctx context.Context, m *message.Message, at time.Time) error {
	name := m.Subject.Node
	err := message.VerifyEvent(m, at, r.keyAt(name, m.Key, at), r.station.trust.Find)
	if err == nil || m.CheckSignature() != nil || fleet.CheckNode(name) != nil || !r.mayAsk(name) {
		return err
	}
	e, failed := r.station.conn.Get(ctx, subjects.Nodes, name)
	if failed != nil || !r.learn(e) {
		return err
	}
	return message.VerifyEvent(m, at, r.keyAt(name, m.Key, at), r.station.trust.Find)
}

// keyAt is the key that proves what was signed with another at a moment; "" for
// a node that is not in the register.
func (r *register) keyAt(name, key string, at time.Time) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.nodes[name]; ok {
		return n.record.keyAt(key, at)
	}
	return ""
}

// Who sends what cannot be proven has the register looked up once in askEvery;
// askedMost bounds what is remembered of that.
const (
	askEvery  = time.Second
	askedMost = 1 << 16
)

func (r *register) mayAsk(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, ok := r.asked[name]; ok && now.Sub(last) < askEvery {
		return false
	}
	if len(r.asked) >= askedMost {
		clear(r.asked)
	}
	r.asked[name] = now
	return true
}

// learn takes an entry that was looked up, and reports whether it is newer than
// what was known.
func (r *register) learn(e bus.Entry) bool {
	record, by, err := r.read(e)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put(record, by, e.Sequence)
}

// enter takes an entry that this station wrote.
func (r *register) enter(record NodeRecord, sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(record, signature{r.station.cfg.Credentials.PublicKey(), r.station.clock.Now()}, sequence)
}

// put takes an entry unless a newer one is known, and reports whether it is
// another than the one that was. The lock is held.
func (r *register) put(record NodeRecord, by signature, sequence uint64) bool {
	n := r.node(record.Name)
	if sequence < n.sequence {
		return false
	}
	other := sequence > n.sequence
	if record.keyAt(n.record.Key, by.at) != n.record.Key {
		n.facts = nil // said by the holder of another key
	}
	n.enters(sequence)
	n.record, n.by, n.sequence = record, by, sequence
	delete(r.gone, record.Name)
	r.station.compiler.wake()
	return other
}

// enters notes that a record is about to be known, where none was.
func (n *node) enters(sequence uint64) {
	if n.record.Key == "" {
		n.entered = sequence
	}
}

// holder is the node whose key a key is or was, "" for nobody's.
func (r *register) holder(key string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for name, n := range r.nodes {
		if n.record.Key == key {
			return name
		}
		for _, f := range n.record.Former {
			if f.Key == key {
				return name
			}
		}
	}
	return ""
}
