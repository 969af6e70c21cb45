package client

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// LeftOut is a resource that some nodes cannot take, for one reason: they go
// on without it.
type LeftOut struct {
	Resource string   `json:"resource"` // "<Kind>/<name>"
	Reason   string   `json:"reason"`
	Nodes    []string `json:"nodes"`
}

// leftOut are the resources of a plan that nodes cannot take, and any others
// that they could take before.
func leftOut(changes []ResourceChange, before, after []station.Plan) []LeftOut {
	type of struct{ node, resource string }
	had := make(map[of]bool)
	for _, p := range before {
		for _, u := range p.Unfit {
			had[of{p.Node, u.Resource}] = true
		}
	}
	var all []LeftOut
	for _, p := range after {
		for _, u := range p.Unfit {
			named := slices.ContainsFunc(changes, func(c ResourceChange) bool { return c.Resource == u.Resource })
			if !named && had[of{p.Node, u.Resource}] {
				continue
			}
			same := func(l LeftOut) bool { return l.Resource == u.Resource && l.Reason == u.Reason }
			i := slices.IndexFunc(all, same)
			if i < 0 {
				i = len(all)
				all = append(all, LeftOut{Resource: u.Resource, Reason: u.Reason})
			}
			all[i].Nodes = append(all[i].Nodes, p.Node)
		}
	}
	slices.SortStableFunc(all, func(a, b LeftOut) int { return cmp.Compare(a.Resource, b.Resource) })
	return all
}

// facts are what the nodes say of themselves, by name, each proven by the
// node's own key.
func (c *Client) facts(ctx context.Context, nodes []station.NodeRecord) (map[string]*fleet.Facts, error) {
	keys := make(map[string]string, len(nodes))
	for _, n := range nodes {
		keys[n.Name] = n.Key
	}
	all := make(map[string]*fleet.Facts)
	err := c.conn.Entries(ctx, subjects.Reported, subjects.StateKey("*", subjects.MethodLifecycle, message.LifecycleDomain), func(e bus.Entry) error {
		name, _, _ := strings.Cut(e.Key, ".")
		m, err := e.Message(message.ReportedSubject(name, subjects.MethodLifecycle, message.LifecycleDomain))
		if err == nil {
			err = m.CheckSignature()
		}
		if err == nil && m.Key != keys[name] {
			err = fleet.Errorf(fleet.Refused, "it is signed by another key than the node's")
		}
		if err == nil {
			err = m.Unpack()
		}
		var f fleet.Facts
		if err == nil {
			f, err = station.DecodeFacts(m.Body)
		}
		if err != nil {
			c.log.Warn("ignored the facts of a node", "key", e.Key, "error", err)
			return nil
		}
		all[name] = &f
		return nil
	})
	return all, err
}
