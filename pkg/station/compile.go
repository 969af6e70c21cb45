package station

import (
	"encoding/json"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// Plan is what one node should be, by the resources and the register.
type Plan struct {
	Node      string
	Address   string
	Resources []fleet.Resource // as they are on the node, without variables, sorted by ID
	Unfit     []nginx.Unfit    // resources that select the node and are left out, sorted by ID
	Wrong     fleet.Faults     // with raw configuration that is left out, whatever the node's nginx has
	Bundle    nginx.Bundle     // empty where Err is set
	Err       error            // fleet.Faults: why the node cannot take them at all
}

// Compile decides what every node should be. It is a pure function, the same
// for the station and for a person who asks what would change. Nodes for which
// the same comes out share one bundle.
//
// What a node cannot take, because its nginx lacks something or because it
// lacks a label that a variable names, is left out for it with what needs it;
// the rest goes on.
func Compile(resources []fleet.Resource, nodes []NodeRecord) ([]Plan, error) {
	c, err := newChooser(resources)
	if err != nil {
		return nil, err
	}
	cache := make(map[string]Plan)
	plans := make([]Plan, 0, len(nodes))
	for _, node := range nodes {
		chosen := c.choose(node)
		plan, ok := cache[chosen.key]
		if !ok {
			plan = c.plan(node, chosen)
			cache[chosen.key] = plan
		}
		plan.Node = node.Name
		plans = append(plans, plan)
	}
	return plans, nil
}

// plan leaves out what the node cannot take, and renders the rest.
func (c *chooser) plan(node NodeRecord, chosen choice) Plan {
	plan := Plan{Address: node.Address, Resources: chosen.resources}
	if why := nginx.UnfitFor(chosen.resources, node.facts, chosen.lacking); len(why) > 0 {
		plan.Resources = c.without(chosen, why)
		for _, id := range sortedKeys(why) {
			plan.Unfit = append(plan.Unfit, nginx.Unfit{Resource: id, Reason: why[id]})
		}
		plan.Wrong = nginx.InspectUnfit(chosen.resources, why)
	}
	if plan.Bundle, plan.Err = nginx.Render(plan.Address, plan.Resources); plan.Err == nil {
		plan.Err = nginx.Inspect(plan.Bundle, plan.Bundle.Policy()).Err()
	}
	if plan.Err == nil {
		plan.Err = tooLarge(plan.Resources, plan.Bundle)
	}
	return plan
}

// DecodeResource reads a resource as the fleet bucket keeps it.
func DecodeResource(body []byte) (fleet.Resource, error) {
	var r fleet.Resource
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fleet.Errorf(fleet.Invalid, "resource: %w", err)
	}
	return r, r.Validate().Err()
}

func compare(a, b string) int { return strings.Compare(a, b) }
