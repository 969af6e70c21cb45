package station

import (
	"encoding/json"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// Plan is what one node should be, by the resources and the register.
type Plan struct {
	Node      string
	Address   string
	Resources []fleet.Resource // sorted by ID
	Bundle    nginx.Bundle     // empty where Err is set
	Err       error            // fleet.Faults: why the node cannot take them
}

// Compile decides what every node should be. It is a pure function, the same
// for the station and for a person who asks what would change. Nodes for which
// the same comes out share one bundle.
func Compile(resources []fleet.Resource, nodes []NodeRecord) ([]Plan, error) {
	selectors, err := selectorsOf(resources)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]fleet.Resource, len(resources))
	for _, r := range resources {
		byID[r.ID()] = r
	}
	type rendered struct {
		bundle nginx.Bundle
		err    error
	}
	cache := make(map[string]rendered)
	plans := make([]Plan, 0, len(nodes))
	for _, node := range nodes {
		plan := Plan{Node: node.Name, Address: node.Address, Resources: chosen(resources, selectors, byID, node.AllLabels())}
		key := node.Address
		for _, r := range plan.Resources {
			key += "\x00" + r.ID()
		}
		done, ok := cache[key]
		if !ok {
			if done.bundle, done.err = nginx.Render(plan.Address, plan.Resources); done.err == nil {
				done.err = nginx.Inspect(done.bundle, done.bundle.Policy()).Err()
			}
			cache[key] = done
		}
		plan.Bundle, plan.Err = done.bundle, done.err
		plans = append(plans, plan)
	}
	return plans, nil
}

// selectorsOf parses the selectors of all resources that have one.
func selectorsOf(resources []fleet.Resource) (map[string]fleet.Selector, error) {
	selectors := make(map[string]fleet.Selector)
	var faults fleet.Faults
	for _, r := range resources {
		spec, selects := r.Spec.(fleet.Selecting)
		if !selects {
			continue
		}
		text := spec.Selects()
		s, err := fleet.ParseSelector(text)
		if err != nil {
			faults = append(faults, fleet.Fault{Subject: r.ID(), Path: "spec.selector", Message: err.Error()})
		}
		selectors[r.ID()] = s
	}
	return selectors, faults.Err()
}

// chosen are the resources that select a node, and those that they need.
func chosen(resources []fleet.Resource, selectors map[string]fleet.Selector, byID map[string]fleet.Resource, labels map[string]string) []fleet.Resource {
	var all []fleet.Resource
	taken := make(map[string]bool)
	var take func(r fleet.Resource)
	take = func(r fleet.Resource) {
		if taken[r.ID()] {
			return
		}
		taken[r.ID()] = true
		all = append(all, r)
		if spec, ok := r.Spec.(fleet.Needing); ok {
			for _, need := range spec.Needs() {
				if needed, ok := byID[need.ID()]; ok {
					take(needed)
				}
			}
		}
	}
	for _, r := range resources {
		if selector, selects := selectors[r.ID()]; selects && selector.Matches(labels) {
			take(r)
		}
	}
	slices.SortFunc(all, func(a, b fleet.Resource) int { return strings.Compare(a.ID(), b.ID()) })
	return all
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
