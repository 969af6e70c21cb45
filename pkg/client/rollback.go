package client

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

// Rollback plans to make a resource what it was at a revision, 0 for what it was
// before it became what it is. Carried out, that is a new revision. The error is
// Unknown where no such revision is kept, Refused where it is not proven.
func (c *Client) Rollback(ctx context.Context, kind, name string, to uint64) (Plan, error) {
	var r Revision
	var err error
	if to > 0 {
		r, err = c.Revision(ctx, kind, name, to)
	} else {
		r, err = c.before(ctx, kind, name)
	}
	if err != nil {
		return Plan{}, err
	}
	if !r.Proven {
		return Plan{}, fleet.Errorf(fleet.Refused, "revision %d of %s is not proven (%s), so stations ignore it; `fairlead get %[2]s --revision %[1]d -o yaml` shows what it holds",
			r.Revision, r.Resource, r.Problem)
	}
	now, err := c.stored(ctx)
	if err != nil {
		return Plan{}, err
	}
	var there, gone []fleet.Resource
	if value, ok := r.Value(); ok {
		there = append(there, value)
	} else {
		gone = append(gone, removed(kind, name))
	}
	p, err := c.plan(ctx, now, manifest.Of(there...), manifest.Of(gone...))
	p.Message = fmt.Sprintf("back to revision %d", r.Revision)
	return p, err
}

// removed names a resource that is to go.
func removed(kind, name string) fleet.Resource {
	return fleet.Resource{Kind: kind, Metadata: fleet.Metadata{Name: name}}
}

// before is what a resource was before it became what it is.
func (c *Client) before(ctx context.Context, kind, name string) (Revision, error) {
	all, err := c.History(ctx, kind, name)
	if err != nil {
		return Revision{}, err
	}
	at := slices.IndexFunc(all, func(r Revision) bool { return r.Now })
	if at < 0 {
		return Revision{}, fleet.Errorf(fleet.Unknown, "no kept revision of %s/%s is proven", kind, name)
	}
	for _, r := range slices.Backward(all[:at]) {
		if r.Proven && !(r.Action == Remove && all[at].Action == Remove) && !same(r.value, all[at].value) {
			return r, nil
		}
	}
	if all[at].Action == Create {
		return Revision{}, fleet.Errorf(fleet.Unknown, "%s/%s was nothing before revision %d: `fairlead delete %[1]s %[2]s` removes it", kind, name, all[at].Revision)
	}
	return Revision{}, fleet.Errorf(fleet.Unknown, "%s/%s has no other revision that is kept", kind, name)
}

// TakeBack plans to undo all that was changed in the same step as a revision: each
// resource is to be what it was before. The error is Conflict where one of them was
// changed again since, and Unknown where it is not kept what it was.
func (c *Client) TakeBack(ctx context.Context, revision uint64) (Plan, error) {
	step, err := c.Step(ctx, revision)
	if err != nil {
		return Plan{}, err
	}
	now, err := c.stored(ctx)
	if err != nil {
		return Plan{}, err
	}
	var there, gone []fleet.Resource
	for _, r := range step {
		all, err := c.history(ctx, r.key)
		if err != nil {
			return Plan{}, err
		}
		at := slices.IndexFunc(all, func(o Revision) bool { return o.Revision == r.Revision })
		later := slices.IndexFunc(all, func(o Revision) bool { return o.Revision > r.Revision && o.Proven && o.Again != r.Revision })
		switch {
		case at < 0:
			return Plan{}, fleet.Errorf(fleet.Unknown, "revision %d of %s is not kept any more", r.Revision, r.Resource)
		case later >= 0:
			l := all[later]
			return Plan{}, fleet.Errorf(fleet.Conflict, "%s was changed again since, by %s with revision %d%s: take that back first, or roll resources back one by one",
				r.Resource, l.By, l.Revision, because(l.Message))
		case now.known[r.key] != all[len(all)-1].Revision:
			return Plan{}, fleet.Errorf(fleet.Conflict, "%s is being changed: look with `fairlead history %[1]s`", r.Resource)
		}
		switch before, was := inForce(all, r.Revision-1); {
		case was && before.Action != Remove:
			there = append(there, before.value)
		case was || all[at].Action == Create:
			kind, name, _ := strings.Cut(r.key, ".")
			gone = append(gone, removed(kind, name))
		default:
			return Plan{}, fleet.Errorf(fleet.Unknown, "what %s was before revision %d is not kept any more", r.Resource, r.Revision)
		}
	}
	p, err := c.plan(ctx, now, manifest.Of(there...), manifest.Of(gone...))
	p.Message = fmt.Sprintf("takes back revision %d", revision)
	return p, err
}

// because is a reason that somebody gave, "" for none.
func because(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (“%s”)", text)
}
