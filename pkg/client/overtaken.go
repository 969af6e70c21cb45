package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Overtaken is the error, of kind Conflict, of a plan that somebody else was faster
// than: nothing of it is stored.
type Overtaken struct {
	By      string     // whose plan it was
	Changes []Overtake // what others changed meanwhile
}

// Overtake is one resource that two people changed at once.
type Overtake struct {
	Resource string
	Base     uint64     // the revision that both began from, 0 for none
	Theirs   []Revision // what was stored since, the oldest first
	// What each of the two makes of the base, unified; "" where that is nothing, or
	// not known any more.
	TheirDiff, YourDiff string
	Same                bool // both make the same of it
}

// Error says who was faster with what, when and why.
func (o *Overtaken) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nothing was applied: somebody changed the same while %s planned this", o.By)
	for _, c := range o.Changes {
		for _, r := range c.Theirs {
			fmt.Fprintf(&b, "\n  %s: %s by %s, revision %d of %s%s%s", c.Resource, past[r.Action], o.whose(r), r.Revision,
				r.At.UTC().Format(time.DateTime+" MST"), from(c.Base), because(r.Message))
		}
	}
	b.WriteString("\nlook with `fairlead diff` and apply again")
	return b.String()
}

// Unwrap is the kind.
func (o *Overtaken) Unwrap() error { return fleet.Errorf(fleet.Conflict, "somebody was faster") }

func (o *Overtaken) whose(r Revision) string {
	switch {
	case !r.Proven:
		return fmt.Sprintf("%s (not proven: %s)", cmp.Or(r.By, "nobody"), r.Problem)
	case r.By == o.By:
		return r.By + " as well, from elsewhere"
	}
	return fmt.Sprintf("%s (%s)", r.By, r.Role)
}

var past = map[string]string{Create: "created", Update: "changed", Remove: "deleted"}

// from says which revision two people began from.
func from(base uint64) string {
	if base == 0 {
		return ""
	}
	return fmt.Sprintf(", where both began from %d", base)
}

// overtaken finds out who was faster than a plan, which the broker refused with
// err; that is the error where it cannot be told.
func (c *Client) overtaken(ctx context.Context, p Plan, err error) error {
	o := &Overtaken{By: c.Me()}
	for _, r := range p.Resources {
		if r.Action == Unchanged {
			continue
		}
		all, herr := c.history(ctx, r.key)
		if herr != nil {
			break
		}
		since := slices.IndexFunc(all, func(h Revision) bool { return h.Revision > r.sequence })
		if since < 0 {
			continue
		}
		var was, is, mine *fleet.Resource
		if base, ok := inForce(all, r.sequence); ok && base.Action != Remove {
			was = &base.value
		}
		newest := all[len(all)-1]
		if now, ok := inForce(all, newest.Revision); ok && now.Action != Remove {
			is = &now.value
		}
		if r.Action != Remove {
			mine = &r.value
		}
		o.Changes = append(o.Changes, Overtake{Resource: r.Resource, Base: r.sequence, Theirs: all[since:],
			TheirDiff: resourceDiff(r.Resource, was, is), YourDiff: resourceDiff(r.Resource, was, mine),
			Same: is == nil && mine == nil || is != nil && mine != nil && same(*is, *mine)})
	}
	if len(o.Changes) == 0 {
		return fleet.Errorf(fleet.Conflict, "somebody changed one of these resources at the same time, nothing was applied: look with `fairlead diff` and apply again (%w)", err)
	}
	return o
}
