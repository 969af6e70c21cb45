package client

import (
	"context"
	"encoding/json"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// period is until when a node had a key that is no longer its own; zero where it
// never had.
type period struct {
	until time.Time
	asked time.Time // by this host's clock
}

// askAgain is how long a key counts as nobody's: its node may be in the register
// a moment later.
const askAgain = time.Second

// signedBy reports whether a key was a node's at a moment of the broker's clock:
// it is now, or was before the node took another one, was removed, or joined anew.
func (c *Client) signedBy(ctx context.Context, node, key string, at time.Time) bool {
	if c.key(ctx, node) == key {
		return true
	}
	c.mu.Lock()
	p, known := c.former[node+"."+key]
	c.mu.Unlock()
	if !known || p.until.IsZero() && time.Since(p.asked) > askAgain {
		until, err := c.had(ctx, node, key)
		if err != nil {
			return false // perhaps it can be read the next time
		}
		p = period{until, time.Now()}
		c.mu.Lock()
		c.former[node+"."+key] = p
		c.mu.Unlock()
	}
	return at.Before(p.until)
}

// had is until when a node had a key, by what the register keeps of older
// entries; zero where it never had.
func (c *Client) had(ctx context.Context, node, key string) (until time.Time, err error) {
	last := ""
	err = c.conn.History(ctx, subjects.Nodes, node, func(e bus.Entry) error {
		if e.Deleted && !c.removes(ctx, e) {
			return nil
		}
		now := ""
		if !e.Deleted {
			now = c.keyIn(ctx, e)
		}
		if last == key && now != key {
			until = e.At
			var r station.NodeRecord
			if json.Unmarshal(e.Body, &r) == nil {
				for _, f := range r.Former {
					if f.Key == key {
						until = f.Until
					}
				}
			}
		}
		last = now
		return nil
	})
	if err == nil && last != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keys[node] = last
		if last == key {
			until = time.Unix(1<<40, 0) // it is the node's now, and the next question finds it so
		}
	}
	return until, err
}

// FormerKeys are the keys that nodes had before those of now, each with the moment
// until which what it signed counts. A node may not have heard yet that its new
// key is in the register: those of one that has shown it by no report are left
// out, and it is named, unless the old one counts no more or shown says that it
// has.
func (c *Client) FormerKeys(ctx context.Context, nodes []string, shown bool) (keys []message.RevokedKey, waits []string, err error) {
	for _, name := range nodes {
		r, err := c.Registered(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		shows := shown || len(r.Former) > 0 && (time.Now().After(r.Former[0].Until) || c.shows(ctx, r))
		if !shows && len(r.Former) > 0 {
			waits = append(waits, name)
			continue
		}
		for _, f := range r.Former {
			keys = append(keys, message.RevokedKey{Key: f.Key, Role: subjects.Node, At: f.Until, Reason: "the node has another key"})
		}
	}
	return keys, waits, nil
}

// shows reports whether a node said something of itself with its key of now.
func (c *Client) shows(ctx context.Context, r station.NodeRecord) bool {
	e, err := c.conn.Get(ctx, subjects.Reported, subjects.StateKey(r.Name, subjects.MethodLifecycle, message.LifecycleDomain))
	if err != nil {
		return false
	}
	m, err := e.Message(message.ReportedSubject(r.Name, subjects.MethodLifecycle, message.LifecycleDomain))
	return err == nil && m.CheckSignature() == nil && m.Key == r.Key
}

// LastNode is a node's entry as the register had it last, also when it was
// removed since. The error is Unknown where there was none of that name.
func (c *Client) LastNode(ctx context.Context, name string) (r station.NodeRecord, err error) {
	err = c.conn.History(ctx, subjects.Nodes, name, func(e bus.Entry) error {
		var one station.NodeRecord
		if !e.Deleted && c.keyIn(ctx, e) != "" && json.Unmarshal(e.Body, &one) == nil {
			r = one
		}
		return nil
	})
	if err == nil && r.Key == "" {
		err = fleet.Errorf(fleet.Unknown, "there was no node %q", name)
	}
	return r, err
}
