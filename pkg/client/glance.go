package client

import (
	"context"
	"time"

	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Glance is the fleet at a moment.
type Glance struct {
	Summary  station.Summary         `json:"summary"`
	Rollouts []station.RolloutStatus `json:"rollouts"` // those that are under way
	Amiss    []station.NodeStatus    `json:"amiss"`    // the first that are not in sync
	// Commands and Events count what was ever stored of the two: what they grew by
	// between two glances is the rate.
	Commands uint64    `json:"commands"`
	Events   uint64    `json:"events"`
	At       time.Time `json:"at"` // the broker's clock
}

// Glance looks at the nodes that a question is about, and names at most some of
// those that are not in sync.
func (c *Client) Glance(ctx context.Context, q station.NodesQuestion, some int) (g Glance, err error) {
	if g.Summary, err = c.Summary(ctx, q); err != nil {
		return g, err
	}
	if g.Rollouts, err = c.Rollouts(ctx, station.RolloutsQuestion{Open: true}); err != nil {
		return g, err
	}
	if g.Rollouts == nil {
		g.Rollouts = []station.RolloutStatus{}
	}
	g.Amiss = []station.NodeStatus{}
	if g.Summary.Worst != "" && some > 0 {
		q.Most = some
		q.Fields = station.Both(q.Fields, station.NotInSync)
		page, err := c.NodesPage(ctx, q)
		if err != nil {
			return g, err
		}
		g.Amiss = append(g.Amiss, page.Nodes...)
	}
	commands, err := c.conn.State(ctx, subjects.Commands)
	if err != nil {
		return g, err
	}
	events, err := c.conn.State(ctx, subjects.Events)
	g.Commands, g.Events, g.At = commands.Last, events.Last, events.Now
	return g, err
}
