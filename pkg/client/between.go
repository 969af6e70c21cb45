package client

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Between is what changed between two points of the fleet's history.
type Between struct {
	From uint64 `json:"from"` // sequences of the bucket `fleet`
	To   uint64 `json:"to"`
	// Resources are those that are not the same; By wrote what they are at To.
	Resources []ResourceChange `json:"resources"`
	// Nodes are those for which the resources at To render to other files than those
	// at From, by their labels and facts of today.
	Nodes []NodeChange `json:"nodes"`
	// NotKept are resources of which it is not known what they were.
	NotKept []string `json:"notKept,omitempty"`
}

// Between compares the fleet as it was at two revisions; to is 0 for now. With kind
// and name it is what that one resource changed, with the others as they were at to.
// The error is Invalid for a revision that there was not yet.
func (c *Client) Between(ctx context.Context, from, to uint64, kind, name string) (Between, error) {
	now, err := c.stored(ctx)
	if err != nil {
		return Between{}, err
	}
	var last uint64
	for _, sequence := range now.known {
		last = max(last, sequence)
	}
	if to == 0 {
		to = last
	}
	b := Between{From: from, To: to, Resources: []ResourceChange{}, Nodes: []NodeChange{}}
	if max(from, to) > last || from == 0 {
		return b, fleet.Errorf(fleet.Invalid, "revision %d: the fleet's revisions go from 1 to %d", max(from, to)*min(from, 1), last)
	}
	was, lost, err := c.fleetAt(ctx, now.known, from)
	if err != nil {
		return b, err
	}
	is, more, err := c.fleetAt(ctx, now.known, to)
	if err != nil {
		return b, err
	}
	b.NotKept = slices.Compact(slices.Sorted(slices.Values(append(lost, more...))))
	if kind != "" {
		id := kind + "/" + name
		one, there := was[id]
		_, still := is[id]
		b.NotKept = slices.DeleteFunc(b.NotKept, func(lost string) bool { return lost != id })
		if !there && !still && len(b.NotKept) == 0 {
			if _, err := c.History(ctx, kind, name); err != nil {
				return b, err
			}
		}
		if was = maps.Clone(is); there {
			was[id] = one
		} else {
			delete(was, id)
		}
	}
	b.Resources = append(b.Resources, differences(was, is)...)
	before, err := station.Compile(plainly(was), now.nodes)
	if err != nil {
		return b, err
	}
	after, err := station.Compile(plainly(is), now.nodes)
	if err != nil {
		return b, err
	}
	then := stored{desired: make(map[string]heldState)}
	for _, p := range before {
		if p.Err == nil {
			then.desired[p.Node] = heldState{Desired: nginx.Desired{Revision: 1, Digest: p.Bundle.Digest, Address: p.Address, Resources: p.Resources}}
		}
	}
	changes, err := c.nodeChanges(ctx, then, after)
	b.Nodes = append(b.Nodes, changes...)
	return b, err
}

// fleetAt are the resources that were in force at a revision, by ID, and those of
// which that is not kept.
func (c *Client) fleetAt(ctx context.Context, known map[string]uint64, at uint64) (map[string]storedResource, []string, error) {
	all, there := make(map[string]storedResource), make(map[string]bool)
	var unclear, lost []string
	keys := slices.Sorted(maps.Keys(known))
	err := c.conn.KeysAt(ctx, subjects.Fleet, keys, bus.Moment{Sequence: at}, func(e bus.Entry) {
		there[e.Key] = true
		r := c.revision(ctx, e)
		switch value, ok := r.Value(); {
		case !r.Proven:
			unclear = append(unclear, e.Key)
		case ok:
			all[r.Resource] = storedResource{value, e.Sequence, r.By}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for _, key := range keys {
		if !there[key] {
			unclear = append(unclear, key)
		}
	}
	for _, key := range unclear {
		history, err := c.history(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		switch r, was := inForce(history, at); {
		case was && r.Action != Remove:
			all[r.Resource] = storedResource{r.value, r.Revision, r.By}
		case !was && len(history) > 0 && !(history[0].knows && history[0].before == 0):
			lost = append(lost, history[0].Resource)
		}
	}
	return all, lost, nil
}

// differences are what became of resources from one point to another, by ID.
func differences(was, is map[string]storedResource) (changes []ResourceChange) {
	for id, before := range was {
		after, there := is[id]
		switch {
		case !there:
			changes = append(changes, ResourceChange{Resource: id, Action: Remove, Diff: resourceDiff(id, &before.Resource, nil)})
		case !same(before.Resource, after.Resource):
			changes = append(changes, ResourceChange{Resource: id, Action: Update, By: after.by, Diff: resourceDiff(id, &before.Resource, &after.Resource),
				Passwords: newPasswords(before.Spec, after.Spec)})
		}
	}
	for id, after := range is {
		if _, there := was[id]; !there {
			changes = append(changes, ResourceChange{Resource: id, Action: Create, By: after.by, Diff: resourceDiff(id, nil, &after.Resource)})
		}
	}
	slices.SortFunc(changes, func(a, b ResourceChange) int { return cmp.Compare(a.Resource, b.Resource) })
	return changes
}

func plainly(of map[string]storedResource) []fleet.Resource {
	return stored{resources: of}.list()
}
