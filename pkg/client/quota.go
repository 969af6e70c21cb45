package client

import (
	"context"
	"fmt"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Quota is what the tenant uses of what it may; a bound of 0 is none.
type Quota struct {
	Nodes, MaxNodes int64
	bus.Usage
}

// Bounded reports whether anything has a bound.
func (q Quota) Bounded() bool {
	return q.MaxNodes > 0 || q.MaxStorage > 0 || q.MaxStreams > 0 || q.MaxConsumers > 0
}

// Quota asks the broker. Nodes are counted where they have a bound.
func (c *Client) Quota(ctx context.Context) (q Quota, err error) {
	if q.Usage, err = c.conn.Usage(ctx); err != nil {
		return q, err
	}
	room, err := c.room(ctx)
	q.Nodes, q.MaxNodes = room.have, room.most
	return q, err
}

// maxNodes is how many nodes the tenant may register, 0 for any number, by the
// trust set that is pinned, or without one by the one that is stored.
func (c *Client) maxNodes(ctx context.Context) (int64, error) {
	if c.trust != nil {
		c.newestTrust(ctx)
		return int64(c.trust.Current().MaxNodes), nil
	}
	m, err := c.conn.StoredTrust(ctx)
	if fleet.KindOf(err) == fleet.Unknown {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	set, err := message.OpenTrust(m)
	return int64(set.MaxNodes), err
}

// room is how many nodes the register may have, 0 for any number, and has.
type room struct{ most, have int64 }

func (c *Client) room(ctx context.Context) (*room, error) {
	most, err := c.maxNodes(ctx)
	r := &room{most: most}
	if err != nil || most == 0 {
		return r, err
	}
	err = c.conn.Keys(ctx, subjects.Nodes, func(e bus.Entry) error {
		if !e.Deleted {
			r.have++
		}
		return nil
	})
	return r, err
}

// keepToQuota takes out again who was added, the last first, where others took
// the last places in the same moment. The error is Busy then.
func (c *Client) keepToQuota(ctx context.Context, before *room, added []bus.Entry) error {
	if before.most == 0 || len(added) == 0 {
		return nil
	}
	now, err := c.room(ctx)
	if err != nil || now.have <= now.most {
		return err
	}
	over := min(int(now.have-now.most), len(added))
	for _, e := range added[len(added)-over:] {
		if err := c.remove(ctx, subjects.Nodes, e.Key, message.RegisterSubject(e.Key), e.Sequence, ""); err != nil {
			return err
		}
	}
	return fleet.Errorf(fleet.Busy, "the tenant may have %d nodes, and others took the last place in the same moment: %s not added", now.most, plural(over))
}

func plural(n int) string {
	if n == 1 {
		return "one was"
	}
	return fmt.Sprintf("%d were", n)
}

// take makes place for one more node; the error is Busy.
func (r *room) take() error {
	if r.most > 0 && r.have >= r.most {
		return fleet.Errorf(fleet.Busy, "the tenant may have %d nodes and has %d: remove one with `fairlead nodes rm`, or have the quota raised with `fairlead tenant set`", r.most, r.have)
	}
	r.have++
	return nil
}
