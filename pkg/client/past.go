package client

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// NodeThen is what a node should have been at a moment, and what it had said by
// then that it was. What is not known is not guessed.
type NodeThen struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"` // of then, as far as that is kept
	Sync   string            `json:"sync"`             // in the words of package station
	// Desired state of then; revision 0 where there was none, or it is not kept.
	DesiredRevision uint64    `json:"desiredRevision"`
	DesiredDigest   string    `json:"desiredDigest,omitempty"`
	DesiredAt       time.Time `json:"desiredAt,omitzero"`
	By              string    `json:"by,omitempty"`
	Reason          string    `json:"reason,omitempty"` // why it was changed, in the words of who did
	// What nginx ran, by the node's last word before; revision 0 where that is not known.
	RanRevision uint64    `json:"ranRevision"`
	RanDigest   string    `json:"ranDigest,omitempty"`
	SaidAt      time.Time `json:"saidAt,omitzero"` // when that word was stored
	// Message says why it was not in sync, or why that is not known.
	Message string `json:"message,omitempty"`
}

// PastQuestion chooses nodes: those that were registered then, all where both are
// empty.
type PastQuestion struct {
	Selector string
	Names    []string
}

// At is what the nodes were at a moment of the broker's clock: by the desired
// states and reports that are kept, and where no report is, by the answers in the
// audit. All of it is proven; what is not counts as not known.
func (c *Client) At(ctx context.Context, at time.Time, q PastQuestion) ([]NodeThen, error) {
	selector, err := fleet.ParseSelector(q.Selector)
	if err != nil {
		return nil, err
	}
	nodes, err := c.registeredAt(ctx, at)
	if err != nil {
		return nil, err
	}
	p := lookBack{client: c, at: at, nodes: make(map[string]*NodeThen), desired: make(map[string]nginx.Desired)}
	for _, r := range nodes {
		if selector.Matches(r.AllLabels()) && (len(q.Names) == 0 || slices.Contains(q.Names, r.Name)) {
			p.names = append(p.names, r.Name)
			p.nodes[r.Name] = &NodeThen{Name: r.Name, Labels: r.Labels}
		}
	}
	slices.Sort(p.names)
	for _, look := range []func(context.Context) error{p.should, p.reported, p.answered} {
		if err := look(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]NodeThen, len(p.names))
	for i, name := range p.names {
		all[i] = *p.nodes[name]
	}
	return all, nil
}

// registeredAt are the nodes of the register at a moment. Of a node whose entry of
// then is not kept it is the oldest that is.
func (c *Client) registeredAt(ctx context.Context, at time.Time) ([]station.NodeRecord, error) {
	newest := make(map[string]bus.Entry)
	err := c.conn.Keys(ctx, subjects.Nodes, func(e bus.Entry) error { newest[e.Key] = e; return nil })
	if err != nil {
		return nil, err
	}
	var nodes []station.NodeRecord
	take := func(e bus.Entry) {
		var r station.NodeRecord
		if e.Deleted || json.Unmarshal(e.Body, &r) != nil || r.Name != e.Key {
			return
		}
		key := c.keyIn(ctx, e)
		if key == "" {
			return
		}
		nodes = append(nodes, r)
		if e.Sequence == newest[e.Key].Sequence { // its own still: what it said need not ask for it
			c.mu.Lock()
			c.keys[e.Key] = key
			c.mu.Unlock()
		}
	}
	there := make(map[string]bool)
	err = c.conn.KeysAt(ctx, subjects.Nodes, sortedKeysOf(newest), bus.Moment{Time: at}, func(e bus.Entry) {
		there[e.Key] = true
		take(e)
	})
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range sortedKeysOf(newest) {
		if first, known := newest[name].After(); !there[name] && !(known && first == 0) { // or it came later
			missing = append(missing, name)
		}
	}
	err = c.oldest(ctx, subjects.Nodes, missing, func(_ int, oldest *bus.Entry) {
		if oldest == nil {
			return
		}
		if first, known := oldest.After(); known && first > 0 {
			take(*oldest)
		}
	})
	return nodes, err
}

// oldest hands over the oldest entry that a bucket keeps of each key, nil for none.
func (c *Client) oldest(ctx context.Context, bucket string, keys []string, handle func(i int, e *bus.Entry)) error {
	return each(len(keys), func(i int) (*message.Stored, error) {
		return c.conn.First(ctx, subjects.BucketStream(bucket), subjects.KeySubject(bucket, keys[i]))
	}, func(i int, s *message.Stored) {
		if s == nil {
			handle(i, nil)
			return
		}
		e := bus.EntryOf(bucket, *s)
		handle(i, &e)
	})
}

func sortedKeysOf(m map[string]bus.Entry) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// lookBack is one At on its way.
type lookBack struct {
	client  *Client
	at      time.Time
	names   []string
	nodes   map[string]*NodeThen
	desired map[string]nginx.Desired
}

// stateKeys are the nodes' keys in the buckets of states, and the inverse.
func (p *lookBack) stateKeys() []string {
	keys := make([]string, len(p.names))
	for i, name := range p.names {
		keys[i] = subjects.StateKey(name, handlers.MethodNginxConfig, "nginx")
	}
	return keys
}

func nodeOfKey(key string) string {
	name, _, _ := strings.Cut(key, ".")
	return name
}

// should finds what each node was to be.
func (p *lookBack) should(ctx context.Context) error {
	c, there := p.client, make(map[string]bool)
	err := c.conn.KeysAt(ctx, subjects.Desired, p.stateKeys(), bus.Moment{Time: p.at}, func(e bus.Entry) {
		n := p.nodes[nodeOfKey(e.Key)]
		there[n.Name] = true
		d, problem := c.desiredIn(ctx, e, n.Name)
		if problem != "" {
			n.Sync, n.Message = station.Unsaid, "its desired state of then is not proven: "+problem
			return
		}
		p.desired[n.Name] = d.Desired
		n.DesiredRevision, n.DesiredDigest, n.DesiredAt, n.By, n.Reason = d.Revision, d.Digest, e.At, d.By, d.Message
	})
	if err != nil {
		return err
	}
	var missing, keys []string
	for i, key := range p.stateKeys() {
		if !there[p.names[i]] {
			missing, keys = append(missing, p.names[i]), append(keys, key)
		}
	}
	return c.oldest(ctx, subjects.Desired, keys, func(i int, oldest *bus.Entry) {
		n := p.nodes[missing[i]]
		n.Sync = station.NoneDue
		if oldest == nil {
			return
		}
		if before, known := oldest.After(); !known || before > 0 {
			n.Sync, n.Message = station.Unsaid, "its desired state of then is not kept any more"
		}
	})
}

// reported takes the nodes' reports, the nearest thing to the truth there is.
func (p *lookBack) reported(ctx context.Context) error {
	c := p.client
	return c.conn.KeysAt(ctx, subjects.Reported, p.stateKeys(), bus.Moment{Time: p.at}, func(e bus.Entry) {
		n := p.nodes[nodeOfKey(e.Key)]
		m, err := e.Message(message.ReportedSubject(n.Name, handlers.MethodNginxConfig, "nginx"))
		var r handlers.Reported
		proven := err == nil && m.CheckSignature() == nil && c.signedBy(ctx, n.Name, m.Key, e.At) && !c.takenBack(ctx, m.Key, e.At)
		if !proven || m.Unpack() != nil || json.Unmarshal(m.Body, &r) != nil {
			n.Sync, n.Message = station.Unsaid, "its last report before is not proven"
			return
		}
		n.SaidAt, n.RanRevision, n.RanDigest = e.At, r.ObservedRevision, r.RunningDigest
		if n.Sync != "" { // what it should have been is not known, or nothing
			return
		}
		n.Sync, n.Message = station.Compared(p.desired[n.Name], r)
	})
}
