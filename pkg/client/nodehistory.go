package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// NodeRevision is a desired state that a node once had, and what became of it.
type NodeRevision struct {
	Revision uint64    `json:"revision"`
	Digest   string    `json:"digest"`
	At       time.Time `json:"at"` // the broker's clock
	By       string    `json:"by,omitempty"`
	Message  string    `json:"message,omitempty"`
	// Fleet is the sequence of the bucket `fleet` that it was made from, and Cause
	// the revision of a resource that made it another; Change names that resource.
	Fleet  uint64 `json:"fleet,omitempty"`
	Cause  uint64 `json:"cause,omitempty"`
	Change string `json:"change,omitempty"`
	// Changes are the resources by which it differs from the revision before it, by
	// name; nil where that one is not kept.
	Changes []ResourceMade `json:"changes,omitempty"`
	// Rollout released the node to it, or took it back.
	Rollout string `json:"rollout,omitempty"`
	// Changed is when that was, and Removed says that it was a removal.
	Changed   time.Time `json:"changed,omitzero"`
	Removed   bool      `json:"removed,omitempty"`
	Resources int       `json:"resources"`
	// Proven is whether a station wrote it; Problem says why not.
	Proven  bool   `json:"proven"`
	Problem string `json:"problem,omitempty"`
	// Command told the node of it. State is how far that came by proven answers,
	// empty where the audit does not hold it: a newer revision came before the node
	// was told, or it is too long ago.
	Command string        `json:"command,omitempty"`
	State   message.State `json:"state,omitempty"`
	Answer  string        `json:"answer,omitempty"`
	Ended   time.Time     `json:"ended,omitzero"` // when the final answer was stored
}

// ResourceMade is what became of a resource of a node: Create where the node had none of
// that name, Remove where it has none any more, which may be for its selector.
type ResourceMade = station.ResourceMade

// NodeHistory are the kept desired states of a node's nginx, the oldest first. The
// error is Unknown where it never had one.
func (c *Client) NodeHistory(ctx context.Context, node string) (all []NodeRevision, err error) {
	key := subjects.StateKey(node, handlers.MethodNginxConfig, "nginx")
	at := make(map[string]int) // by id of the command
	var before heldState       // the one of which all is known
	err = c.conn.History(ctx, subjects.Desired, key, func(e bus.Entry) error {
		d, problem := c.desiredIn(ctx, e, node)
		r := NodeRevision{Revision: d.Revision, Digest: d.Digest, At: e.At, By: d.By, Message: d.Message, Fleet: d.Fleet, Cause: d.Cause, Rollout: d.Rollout, Resources: d.resources,
			Proven: problem == "", Problem: problem}
		if r.Proven {
			r.Command = station.CommandFor(node, d.Desired).ID
			at[r.Command] = len(all)
			switch {
			case d.cut != nil: // of the one before it parts are gone
				r.Changes = d.made
			case before.cut == nil && before.Revision == d.Revision-1:
				r.Changes = madeOf(before.Resources, d.Resources)
			}
			before = d
		}
		all = append(all, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fleet.Errorf(fleet.Unknown, "%q is no node that ever had a desired state", node)
	}
	command := subjects.Subject{Node: node, Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: "nginx"}
	for _, filter := range []subjects.Subject{command, command.Answer()} {
		err = c.conn.Read(ctx, subjects.Audit, bus.ReadOptions{Filter: filter.String(), Since: all[0].At}, func(i bus.Item) error {
			d := message.ReceiveCopied(i.Stored, i.Origin)
			m := d.Message
			state, id := m.State, m.Command
			if m.Subject.Direction == subjects.Command {
				state, id = message.Published, m.ID
			}
			n, ours := at[id]
			if !ours || all[n].State.Final() || d.Fault != nil || !c.Proven(ctx, d) {
				return nil
			}
			r := &all[n]
			r.State = state
			if state.Final() {
				r.Ended = d.StoredAt
			}
			if answer, err := m.ReadAnswer(); err == nil && m.Subject.Direction == subjects.Event {
				r.Answer = answer.Message
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, c.nameCauses(ctx, all)
}

// madeOf is what makes a node's resources others than before. Whom their secrets are
// sealed to makes no difference.
func madeOf(before, after []fleet.Resource) (made []ResourceMade) {
	had := make(map[string]fleet.Resource, len(before))
	for _, r := range before {
		had[r.ID()] = r
	}
	for _, r := range after {
		if old, there := had[r.ID()]; !there {
			made = append(made, ResourceMade{Resource: r.ID(), Action: Create})
		} else if !same(fleet.Shown(old), fleet.Shown(r)) {
			made = append(made, ResourceMade{Resource: r.ID(), Action: Update})
		}
		delete(had, r.ID())
	}
	for id := range had {
		made = append(made, ResourceMade{Resource: id, Action: Remove})
	}
	slices.SortFunc(made, func(a, b ResourceMade) int { return strings.Compare(a.Resource, b.Resource) })
	return made
}

// nameCauses says which resource was changed, where that is still kept.
func (c *Client) nameCauses(ctx context.Context, all []NodeRevision) error {
	for i := range all {
		if all[i].Cause == 0 {
			continue
		}
		e, err := c.conn.EntryAt(ctx, subjects.Fleet, all[i].Cause)
		if fleet.KindOf(err) == fleet.Unknown {
			continue
		}
		if err != nil {
			return err
		}
		all[i].Change, all[i].Changed, all[i].Removed = strings.Replace(e.Key, ".", "/", 1), e.At, e.Deleted
	}
	return nil
}

// desiredIn reads a desired state, and says what is wrong with it; "" for nothing.
func (c *Client) desiredIn(ctx context.Context, e bus.Entry, node string) (d heldState, problem string) {
	m, err := e.Message(message.DesiredSubject(node, handlers.MethodNginxConfig, "nginx"))
	if err == nil {
		err = m.CheckSignature()
	}
	if err != nil {
		return d, err.Error()
	}
	owner, err := c.whose(ctx, m.Key)
	switch {
	case err != nil:
		return d, err.Error()
	case owner.Role != subjects.Station || owner.Name != m.From || endedBy(owner, e.At):
		return d, "no station wrote it"
	case e.Deleted:
		return d, "it was deleted"
	}
	if err = m.Unpack(); err == nil {
		d, err = decodeDesired(m.Body)
	}
	if err != nil {
		return d, err.Error()
	}
	return d, ""
}
