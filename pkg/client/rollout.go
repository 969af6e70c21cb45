package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// StartRollout has a plan travel through the fleet in waves instead of carrying it
// out at once, and returns the rollout's id. A station drives it from here. The
// error is Conflict where somebody changed a resource since the plan was made.
func (c *Client) StartRollout(ctx context.Context, p Plan, s rollout.Strategy, undoes string) (id string, err error) {
	if s, err = s.Complete(); err != nil {
		return "", err
	}
	changes, err := c.changes(p)
	if err != nil {
		return "", err
	}
	if len(changes) == 0 {
		return "", fleet.Errorf(fleet.Invalid, "nothing changes: there is nothing to roll out")
	}
	if len(changes) >= bus.MaxChanges {
		return "", fleet.Errorf(fleet.Invalid, "%d resources at once: a rollout takes %d at most", len(changes), bus.MaxChanges-1)
	}
	plan := rollout.Plan{Strategy: s, Message: p.Message, Undoes: undoes}
	if plan.Changes, err = c.rolloutChanges(ctx, changes); err != nil {
		return "", err
	}
	id = message.NewID()
	canaries := 0
	if plan.Nodes, canaries, err = c.order(ctx, p, s.Canary, id); err != nil {
		return "", err
	}
	if s.Canary != "" && canaries == 0 {
		return "", fleet.Errorf(fleet.Invalid, "the canary %q is none of the %d nodes that become others by the change", s.Canary, len(plan.Nodes))
	}
	plan.Steps = s.Steps(len(plan.Nodes), canaries)
	documents, err := station.SignRollout(id, plan, changes, c.Me(), c.creds)
	if err != nil {
		return "", err
	}
	_, err = c.conn.PutAll(ctx, subjects.Rollouts, documents)
	return id, err
}

// rolloutChanges are the changes of a rollout over what is there now, or over what
// rollouts that are under way will put there.
func (c *Client) rolloutChanges(ctx context.Context, changes []bus.Change) (all []rollout.Change, err error) {
	ahead, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	if err != nil {
		return nil, err
	}
	for _, change := range changes {
		next := rollout.Change{Key: change.Key, Document: change.Document.ID, Delete: change.Document.Operation == bus.Delete, Sequence: change.Expect}
		e, err := c.conn.Get(ctx, subjects.Fleet, change.Key)
		if err != nil && fleet.KindOf(err) != fleet.Unknown {
			return nil, err
		}
		if e.Sequence != change.Expect {
			return nil, fleet.Errorf(fleet.Conflict, "somebody changed %s at the same time, nothing was begun: look with `fairlead diff` and apply again", next.Resource())
		}
		base := ""
		if err == nil {
			kind, name, _ := strings.Cut(change.Key, ".")
			m, err := e.Message(message.ResourceSubject(kind, name))
			if err != nil {
				return nil, err
			}
			base = m.ID
		}
		next.Bases = []string{base}
		for _, r := range ahead {
			for _, other := range r.Changes {
				if other.Key != next.Key {
					continue
				}
				if base = other.Document; other.Delete {
					base = ""
				}
				next.Bases = append(next.Bases, base)
			}
		}
		all = append(all, next)
	}
	return all, nil
}

// order are the nodes that a plan makes others, as they are released: the canary's
// first; of each, those that are there before those that are not, so that no wave
// but the last is empty; and otherwise by lot, so that not always the same nodes
// are the first to break. One that is drained is none of them: it takes the change
// when the rollout is complete.
func (c *Client) order(ctx context.Context, p Plan, canary, lot string) (names []string, canaries int, err error) {
	var affected []string
	for _, n := range p.Nodes {
		affected = append(affected, n.Nodes...)
	}
	if len(affected) == 0 {
		return nil, 0, nil
	}
	selector, err := fleet.ParseSelector(canary)
	if err != nil {
		return nil, 0, err
	}
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{Show: station.ShowList})
	if err != nil {
		return nil, 0, err
	}
	type place struct {
		name           string
		canary, online bool
		lot            [sha256.Size]byte
	}
	var places []place
	slices.Sort(affected)
	for _, n := range nodes {
		if _, ok := slices.BinarySearch(affected, n.Name); !ok || n.Drained != nil {
			continue
		}
		labels := station.NodeRecord{Name: n.Name, Labels: n.Labels}.AllLabels()
		places = append(places, place{n.Name, canary != "" && selector.Matches(labels), n.There(), sha256.Sum256([]byte(lot + n.Name))})
	}
	first := func(a, b bool) int { return map[bool]int{true: -1}[a] - map[bool]int{true: -1}[b] }
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(first(a.canary, b.canary), first(a.online, b.online), slices.Compare(a.lot[:], b.lot[:]), cmp.Compare(a.name, b.name))
	})
	for _, p := range places {
		names = append(names, p.name)
		if p.canary {
			canaries++
		}
	}
	return names, canaries, nil
}

// Rollouts are those that a station knows, the newest first.
func (c *Client) Rollouts(ctx context.Context, q station.RolloutsQuestion) ([]station.RolloutStatus, error) {
	a, err := ask[station.RolloutsAnswer](ctx, c, station.QueryRollouts, q)
	return a.Rollouts, err
}

// Rollout is one of them, with its released nodes that are not well, by its id or
// the beginning or end of it; where id is empty, the one that is under way, or else
// the newest. It comes with the broker's time. The error is Unknown where there is
// none, Invalid where several are meant.
func (c *Client) Rollout(ctx context.Context, id string) (r station.RolloutStatus, now time.Time, err error) {
	if id == "" {
		if id, err = c.theRollout(ctx); err != nil {
			return r, now, err
		}
	}
	a, err := ask[station.RolloutsAnswer](ctx, c, station.QueryRollouts, station.RolloutsQuestion{ID: id, Nodes: true})
	switch {
	case err != nil:
		return r, now, err
	case len(a.Rollouts) != 1:
		return r, now, fleet.Errorf(fleet.Invalid, "%q is the beginning or end of %d rollouts: give more of it", id, len(a.Rollouts))
	}
	return a.Rollouts[0], a.Now, nil
}

// theRollout is the one that is meant where none is named: that which is under way, and
// none that is queued behind it, or else the newest.
func (c *Client) theRollout(ctx context.Context) (string, error) {
	all, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	queued := func(r station.RolloutStatus) bool { return r.State.Phase == rollout.Queued }
	if moving := slices.DeleteFunc(slices.Clone(all), queued); len(moving) == 1 {
		all = moving
	}
	if err == nil && len(all) == 0 {
		all, err = c.Rollouts(ctx, station.RolloutsQuestion{})
		all = all[:min(1, len(all))]
	}
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", fleet.Errorf(fleet.Unknown, "there is no rollout: `fairlead apply --waves` begins one")
	case len(all) > 1:
		var ids []string
		for _, r := range all {
			ids = append(ids, r.ID)
		}
		return "", fleet.Errorf(fleet.Invalid, "%d rollouts are under way: say which of %s", len(all), strings.Join(ids, ", "))
	}
	return all[0].ID, nil
}

// Steer tells the station that drives a rollout what a person wants of it, and
// waits until that was followed. The error is Conflict where it cannot be, with the
// reason, and Timeout where no station has taken it up before ctx ended: then it
// stands nevertheless.
func (c *Client) Steer(ctx context.Context, id string, o rollout.Order) (r station.RolloutStatus, err error) {
	change, err := station.SignOrder(id, o, c.Me(), c.creds)
	if err != nil {
		return r, err
	}
	sequence, err := c.conn.Put(ctx, subjects.Rollouts, change)
	if err != nil {
		return r, err
	}
	tick := time.NewTicker(orderLook)
	defer tick.Stop()
	for {
		r, _, err = c.Rollout(ctx, id)
		switch {
		case ctx.Err() != nil:
			return r, fleet.Errorf(fleet.Timeout, "ordered; no station has taken it up yet: %w", ctx.Err())
		case err != nil && fleet.KindOf(err) != fleet.Unavailable && fleet.KindOf(err) != fleet.Timeout:
			return r, err
		case err != nil:
		case r.State.Order == sequence && r.State.OrderSaid != "":
			return r, fleet.Errorf(fleet.Conflict, "%s of rollout %s cannot be: %s", o.Do, r.ID, r.State.OrderSaid)
		case r.State.Order >= sequence:
			return r, nil
		case r.State.Phase.Ended():
			text := ""
			if o.Do == rollout.OrderAbort && r.State.Phase == rollout.Complete {
				text = "; `fairlead rollout undo` takes it back"
			}
			return r, fleet.Errorf(fleet.Conflict, "rollout %s is over: %s%s", r.ID, r.Progress, text)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// orderLook is how often a state is looked at.
const orderLook = 100 * time.Millisecond

// free holds that no rollout is under way over one of some resources. A station
// that does not answer is not waited for: whoever drives the rollout finds that a
// resource was changed, and takes its own change back.
func (c *Client) free(ctx context.Context, changes []bus.Change) error {
	if len(changes) == 0 {
		return nil
	}
	under, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	if err != nil {
		c.log.Debug("it is not known whether a rollout is under way", "error", err)
		return nil
	}
	for _, r := range under {
		for _, changed := range r.Changes {
			if slices.ContainsFunc(changes, func(c bus.Change) bool { return c.Key == changed.Key }) {
				return fleet.Errorf(fleet.Conflict, "%s is under rollout %s%s (%s), nothing was applied: wait for its end, or take it back with `fairlead rollout abort %[2]s`",
					changed.Resource(), r.ID, byWhom(r.By), r.Progress)
			}
		}
	}
	return nil
}

// underWay says of rollouts that are under way that a plan does not know of them: it
// is made from the fleet's resources. Without a station there are none to be told.
func (c *Client) underWay(ctx context.Context) (warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, underWayTime)
	defer cancel()
	all, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	if err != nil {
		c.log.Debug("it is not known whether a rollout is under way", "error", err)
	}
	for _, r := range all {
		if r.State.Overlays() {
			warnings = append(warnings, fmt.Sprintf("rollout %s%s is under way: what runs on the nodes that have it (%d) is not shown here", r.ID, byWhom(r.By), r.State.Released))
		}
	}
	return warnings
}

// underWayTime bounds that question: a plan is of use without the answer.
const underWayTime = 2 * time.Second

func byWhom(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" by %s", name)
}
