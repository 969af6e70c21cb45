package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Revision is a resource as somebody once wrote it, or its removal.
type Revision struct {
	Resource string    `json:"resource"` // "<Kind>/<name>"
	Revision uint64    `json:"revision"` // sequence in the bucket `fleet`
	At       time.Time `json:"at"`       // the broker's clock
	Action   string    `json:"action"`   // Create, Update or Remove
	// By is who says so; Role is of whose key it is.
	By   string        `json:"by,omitempty"`
	Role subjects.Role `json:"role,omitempty"`
	Key  string        `json:"key,omitempty"`
	// Proven is whether that one wrote it and might. What is not proven stations
	// ignore, and Problem says why.
	Proven  bool   `json:"proven"`
	Problem string `json:"problem,omitempty"`
	Message string `json:"message,omitempty"`
	// Change is what all have in common that was changed in the same step; "" where
	// that is not known.
	Change string `json:"change,omitempty"`
	// Again is the revision that this one is to the letter: a station wrote it
	// again because somebody had written over it. 0 for all else.
	Again uint64 `json:"again,omitempty"`
	// Now is the one that is in force.
	Now bool `json:"now,omitempty"`

	key    string
	before uint64 // sequence of the key's revision before it
	knows  bool   // before is known
	value  fleet.Resource
	id     string // of the document
}

// Value is the resource, false for a removal and for what cannot be read.
func (r Revision) Value() (fleet.Resource, bool) { return r.value, r.value.Kind != "" }

// History are the kept revisions of a resource, the oldest first. The error is
// Unknown where there is none.
func (c *Client) History(ctx context.Context, kind, name string) ([]Revision, error) {
	all, err := c.history(ctx, subjects.ResourceKey(kind, name))
	if err == nil && len(all) == 0 {
		err = fleet.Errorf(fleet.Unknown, "there never was a %s %q, or its history is not kept any more", kind, name)
	}
	return all, err
}

func (c *Client) history(ctx context.Context, key string) (all []Revision, err error) {
	err = c.conn.History(ctx, subjects.Fleet, key, func(e bus.Entry) error {
		all = append(all, c.revision(ctx, e))
		return nil
	})
	told(all)
	return all, err
}

// told completes the revisions of one resource by what came before each.
func told(all []Revision) {
	now := -1
	for i := range all {
		r := &all[i]
		if first := slices.IndexFunc(all[:i], func(o Revision) bool { return o.id != "" && o.id == r.id }); first >= 0 {
			r.Again = all[first].Revision
		}
		if r.Action == "" { // it is no removal
			r.Action = Update
			if now >= 0 && all[now].Action == Remove || now < 0 && (i > 0 || r.knows && r.before == 0) {
				r.Action = Create
			}
		}
		if r.Proven {
			now = i
		}
	}
	if now >= 0 {
		all[now].Now = true
	}
}

// inForce is the revision of a resource that was in force at a point of the
// bucket's sequence, false where none is kept.
func inForce(all []Revision, at uint64) (Revision, bool) {
	for _, r := range slices.Backward(all) {
		if r.Proven && r.Revision <= at {
			return r, true
		}
	}
	return Revision{}, false
}

// resourceIn is the resource that a document holds.
func resourceIn(m message.Message) (r fleet.Resource, err error) {
	if err := m.Unpack(); err != nil {
		return r, err
	}
	return station.DecodeResource(m.Body)
}

// revision reads one entry of the bucket `fleet`, and proves whose it is.
func (c *Client) revision(ctx context.Context, e bus.Entry) Revision {
	kind, name, _ := strings.Cut(e.Key, ".")
	r := Revision{Resource: kind + "/" + name, Revision: e.Sequence, At: e.At, key: e.Key}
	r.before, r.knows = e.After()
	if e.Deleted {
		r.Action = Remove
	}
	m, err := e.Message(message.ResourceSubject(kind, name))
	r.By, r.Key, r.Message, r.Change, r.id = m.From, m.Key, m.Note, m.Change, m.ID
	if err == nil {
		err = m.CheckSignature()
	}
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	owner, err := c.whose(ctx, m.Key)
	r.Role = owner.Role
	switch {
	case err != nil:
		r.Problem = fmt.Sprintf("whose key it is cannot be asked: %v", err)
	case owner.Name == "":
		r.Problem = "nobody is known who has the key"
	case owner.Name != m.From:
		r.Problem = fmt.Sprintf("it is signed by %s's key", owner.Name)
	case endedBy(owner, e.At):
		r.Problem = fmt.Sprintf("%s was not trusted any more", owner.Name)
	case !slices.Contains(station.WritersOf(kind), owner.Role) || owner.Limited:
		r.Problem = fmt.Sprintf("%s is %s and may not write it", owner.Name, owner.Role)
	case e.Deleted != (m.Operation == bus.Delete):
		r.Problem = "the broker says of it otherwise than who signed it whether it is a removal"
	}
	if !e.Deleted {
		value, err := resourceIn(m)
		if err == nil && value.ID() != r.Resource {
			err = fleet.Errorf(fleet.Invalid, "it is %s", value.ID())
		}
		if err == nil {
			r.value = value
		} else if r.Problem == "" {
			r.Problem = err.Error()
		}
	}
	r.Proven = r.Problem == ""
	return r
}

// Revision is one kept revision of a resource. The error is Unknown, and names
// those there are, where there is no such one.
func (c *Client) Revision(ctx context.Context, kind, name string, revision uint64) (Revision, error) {
	all, err := c.History(ctx, kind, name)
	if err != nil {
		return Revision{}, err
	}
	i := slices.IndexFunc(all, func(r Revision) bool { return r.Revision == revision })
	if i < 0 {
		return Revision{}, fleet.Errorf(fleet.Unknown, "%s/%s has no revision %d that is kept: the oldest of %d is %d, the newest %d; `fairlead history %[1]s/%[2]s` lists them",
			kind, name, revision, len(all), all[0].Revision, all[len(all)-1].Revision)
	}
	return all[i], nil
}

// Step is all that was changed in the same step as a revision of some resource, by
// the one who made it; that revision alone where it does not say. The error is
// Unknown where it is not kept, and Refused where it is not proven.
func (c *Client) Step(ctx context.Context, revision uint64) ([]Revision, error) {
	e, err := c.conn.EntryAt(ctx, subjects.Fleet, revision)
	if err != nil {
		return nil, err
	}
	of := c.revision(ctx, e)
	if !of.Proven {
		return nil, fleet.Errorf(fleet.Refused, "revision %d of %s is not proven: %s", revision, of.Resource, of.Problem)
	}
	if of.Change == "" {
		return []Revision{of}, nil
	}
	// It was one atomic step, so all of it lies side by side.
	var step []Revision
	beyond := errors.New("beyond")
	options := bus.ReadOptions{After: revision - min(revision, bus.MaxChanges)}
	err = c.conn.Read(ctx, subjects.BucketStream(subjects.Fleet), options, func(i bus.Item) error {
		r := c.revision(ctx, bus.EntryOf(subjects.Fleet, i.Stored))
		switch {
		case r.Change == of.Change && r.Key == of.Key && r.Proven:
			step = append(step, r)
		case r.Revision > revision:
			return beyond
		}
		return nil
	})
	if err != nil && err != beyond {
		return nil, err
	}
	return step, nil
}
