package client

import (
	"context"
	"encoding/json"
	"slices"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Applied is what came of carrying out a plan.
type Applied struct {
	Plan
	// Sequence of the fleet bucket after the change; 0 where nothing changed.
	Sequence uint64 `json:"sequence,omitempty"`
}

// Apply carries out a plan: all of its resources or none. The error is of kind Conflict
// where somebody changed one of them since the plan was made, *Overtaken, or is
// rolling out another.
func (c *Client) Apply(ctx context.Context, p Plan) (Applied, error) {
	changes, err := c.changes(p)
	if err != nil {
		return Applied{}, err
	}
	if err := c.free(ctx, changes); err != nil {
		return Applied{}, err
	}
	sequence, err := c.conn.PutAll(ctx, subjects.Fleet, changes)
	if fleet.KindOf(err) == fleet.Conflict {
		return Applied{}, c.overtaken(ctx, p, err)
	}
	return Applied{p, sequence}, err
}

// changes are a plan's resources as they are stored: signed, with its message, and
// with one name for the whole step.
func (c *Client) changes(p Plan) ([]bus.Change, error) {
	if err := message.CheckNote(p.Message); err != nil {
		return nil, err
	}
	var changes []bus.Change
	step := message.NewID()
	for _, r := range p.Resources {
		if r.Action == Unchanged {
			continue
		}
		m := message.Message{Subject: message.ResourceSubject(r.value.Kind, r.value.Metadata.Name), ID: message.NewID(),
			Note: p.Message, Change: step}
		if r.Action == Remove {
			m.Operation = bus.Delete
		} else {
			body, err := json.Marshal(r.value)
			if err != nil {
				return nil, fleet.Errorf(fleet.Internal, "%s: %w", r.Resource, err)
			}
			m.Body = body
		}
		if err := c.sign(&m); err != nil {
			return nil, err
		}
		changes = append(changes, bus.Change{Key: r.key, Document: m, Expect: r.sequence})
	}
	return changes, nil
}

// Told are the commands by which the station tells nodes about a change, once
// it has compiled it, for the nodes that a plan names; and the nodes that
// could not take it, with the reason.
func (c *Client) Told(ctx context.Context, a Applied) (sent []Sent, unfit map[string]string, err error) {
	var changed []string
	for _, n := range a.Nodes {
		changed = append(changed, n.Nodes...)
	}
	slices.Sort(changed)
	compiled, err := c.compiled(ctx, a.Sequence, changed)
	if err != nil {
		return nil, nil, err
	}
	unfit = make(map[string]string)
	for _, n := range compiled {
		if n.Fault != "" {
			unfit[n.Name] = n.Fault
			continue
		}
		s := subjects.Subject{Node: n.Name, Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: "nginx"}
		sent = append(sent, Sent{ID: n.Command, Subject: s.String(), Node: n.Name})
	}
	return sent, unfit, nil
}

// askNames bounds the nodes named in one question.
const askNames = 500

// compiled asks what nodes should be since a change. It waits for the station
// to have compiled it also where no node is named.
func (c *Client) compiled(ctx context.Context, sequence uint64, names []string) ([]station.CompiledNode, error) {
	if len(names) == 0 {
		_, err := ask[station.CompiledAnswer](ctx, c, station.QueryCompiled, station.CompiledQuestion{Sequence: sequence})
		return nil, err
	}
	var all []station.CompiledNode
	for some := range slices.Chunk(names, askNames) {
		q := station.CompiledQuestion{Sequence: sequence, Names: some}
		for more := true; more; {
			page, err := ask[station.CompiledAnswer](ctx, c, station.QueryCompiled, q)
			if err != nil {
				return nil, err
			}
			all = append(all, page.Nodes...)
			if more = page.More; more {
				q.After = page.Nodes[len(page.Nodes)-1].Name
			}
		}
	}
	return all, nil
}

// Resource is a resource as it is stored.
type Resource struct {
	fleet.Resource
	By       string
	Sequence uint64
}

// Resources are the stored resources, by ID; kind and name narrow it where
// they are not empty.
func (c *Client) Resources(ctx context.Context, kind, name string) ([]Resource, error) {
	s, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	var all []Resource
	for _, r := range s.list() {
		if (kind == "" || r.Kind == kind) && (name == "" || r.Metadata.Name == name) {
			have := s.resources[r.ID()]
			all = append(all, Resource{r, have.by, have.sequence})
		}
	}
	return all, nil
}
