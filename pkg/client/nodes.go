package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/station"
)

// namesMost is how many names one question may hold: under the broker's largest
// payload, however long they are.
const namesMost = 8192

// Nodes are the nodes that match, by name, and the broker's time. A bound of the
// question is one of its pages: all of them are read.
func (c *Client) Nodes(ctx context.Context, q station.NodesQuestion) (all []station.NodeStatus, now time.Time, err error) {
	asked := len(q.Names)
	err = inParts(q.Names, func(names []string) error {
		q.Names, q.After = names, ""
		for {
			page, err := c.NodesPage(ctx, q)
			if err != nil {
				return err
			}
			all, now = append(all, page.Nodes...), page.Now
			if !page.More {
				return nil
			}
			q.After = page.Nodes[len(page.Nodes)-1].Name
		}
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	if asked > namesMost {
		slices.SortFunc(all, func(a, b station.NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	}
	return all, now, nil
}

// inParts calls ask with names, as many at once as a question can hold. None are
// asked for as they are.
func inParts(names []string, ask func([]string) error) error {
	if len(names) <= namesMost {
		return ask(names)
	}
	for part := range slices.Chunk(names, namesMost) {
		if err := ask(part); err != nil {
			return err
		}
	}
	return nil
}

// NodesPage is one page of the nodes that match.
func (c *Client) NodesPage(ctx context.Context, q station.NodesQuestion) (station.NodesAnswer, error) {
	return ask[station.NodesAnswer](ctx, c, station.QueryNodes, q)
}

// Summary counts the nodes that match.
func (c *Client) Summary(ctx context.Context, q station.NodesQuestion) (station.Summary, error) {
	return ask[station.Summary](ctx, c, station.QuerySummary, q)
}

// Names are the names of the nodes that match, sorted.
func (c *Client) Names(ctx context.Context, q station.NodesQuestion) ([]string, error) {
	q.Show = station.ShowNames
	nodes, _, err := c.Nodes(ctx, q)
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names, err
}
