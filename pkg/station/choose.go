package station

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// chooser finds the resources of one node after the other. It remembers what
// is the same for all nodes, because there may be many.
type chooser struct {
	resources []fleet.Resource // sorted by ID
	index     map[string]int   // by ID
	roots     []root           // those with a selector
	needs     [][]int          // by index: of a resource without variables, those that it needs and that are there
	variables [][]fleet.Variable
	resolved  map[string]resolution
}

type root struct {
	index    int
	selector fleet.Selector
}

// resolution is a resource with variables as it is for nodes with the same
// values.
type resolution struct {
	resource fleet.Resource
	needs    []int
	lacking  string // why it cannot be had there
}

// choice are a node's resources.
type choice struct {
	resources []fleet.Resource  // resolved, sorted by ID
	lacking   map[string]string // by ID: why a variable has no value
	key       string            // nodes with the same key get the same
}

// newChooser parses the selectors; the error is fleet.Faults.
func newChooser(resources []fleet.Resource) (*chooser, error) {
	resources = slices.Clone(resources)
	slices.SortStableFunc(resources, func(a, b fleet.Resource) int { return compare(a.ID(), b.ID()) })
	c := &chooser{resources: resources, index: make(map[string]int, len(resources)), resolved: make(map[string]resolution),
		needs: make([][]int, len(resources)), variables: make([][]fleet.Variable, len(resources))}
	for i, r := range resources {
		c.index[r.ID()] = i
	}
	var faults fleet.Faults
	for i, r := range resources {
		c.variables[i] = r.Variables()
		c.needs[i], _ = c.needsOf(r)
		spec, selects := r.Spec.(fleet.Selecting)
		if !selects {
			continue
		}
		s, err := fleet.ParseSelector(spec.Selects())
		if err != nil {
			faults = append(faults, fleet.Fault{Subject: r.ID(), Path: "spec.selector", Message: err.Error()})
		}
		c.roots = append(c.roots, root{i, s})
	}
	return c, faults.Err()
}

// needsOf are the resources that one needs, as far as they are there, and the
// first that is not.
func (c *chooser) needsOf(r fleet.Resource) (needs []int, missing *fleet.Need) {
	spec, ok := r.Spec.(fleet.Needing)
	if !ok {
		return nil, nil
	}
	for _, need := range spec.Needs() {
		if i, there := c.index[need.ID()]; there {
			needs = append(needs, i)
		} else if missing == nil {
			missing = &need
		}
	}
	return needs, missing
}

// choose takes the resources that select a node, and those that they need.
func (c *chooser) choose(node NodeRecord) choice {
	taken := make([]bool, len(c.resources))
	own := make(map[int]resolution)
	labels := node.AllLabels()
	values := fleet.Values{Name: node.Name, Address: node.Address, Labels: labels, Facts: node.facts}
	var key strings.Builder
	fmt.Fprintf(&key, "%s\x00%s\x00", node.Address, node.able)
	var take func(i int)
	take = func(i int) {
		if taken[i] {
			return
		}
		taken[i] = true
		needs := c.needs[i]
		if c.variables[i] != nil {
			own[i] = c.resolve(i, values, &key)
			needs = own[i].needs
		}
		for _, need := range needs {
			take(need)
		}
	}
	for _, r := range c.roots {
		if r.selector.Matches(labels) {
			take(r.index)
		}
	}
	var result choice
	var number [4]byte
	for i, r := range c.resources {
		if !taken[i] {
			continue
		}
		binary.BigEndian.PutUint32(number[:], uint32(i))
		key.Write(number[:])
		if c.variables[i] != nil {
			r = own[i].resource
			if own[i].lacking != "" {
				if result.lacking == nil {
					result.lacking = make(map[string]string)
				}
				result.lacking[r.ID()] = own[i].lacking
				continue
			}
		}
		result.resources = append(result.resources, r)
	}
	result.key = key.String()
	return result
}

// resolve puts a node's values into a resource and adds them to the key. Of a
// resource whose name for another one has variables, that other one may be
// there on some nodes only.
func (c *chooser) resolve(i int, values fleet.Values, key *strings.Builder) resolution {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", i)
	for _, v := range c.variables[i] {
		value, problem := values.Of(v)
		fmt.Fprintf(&b, "\x00%s\x01%s", value, problem)
	}
	b.WriteString("\x02")
	key.WriteString(b.String())
	if done, ok := c.resolved[b.String()]; ok {
		return done
	}
	done := resolution{resource: c.resources[i]}
	resolved, err := c.resources[i].Resolve(values)
	if err != nil {
		done.lacking = plainly(err)
	} else {
		var missing *fleet.Need
		done.resource = resolved
		if done.needs, missing = c.needsOf(resolved); missing != nil {
			done.lacking = fmt.Sprintf("%s: there is no %s", missing.Path, missing.ID())
		}
	}
	c.resolved[b.String()] = done
	return done
}

// plainly is what is wrong with one resource, on one line and without its name.
func plainly(err error) string {
	faults, ok := err.(fleet.Faults)
	if !ok {
		return err.Error()
	}
	var lines []string
	for _, f := range faults {
		f.Subject = ""
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "; ")
}

// without is a choice without what is unfit, and without what only that needs.
func (c *chooser) without(chosen choice, unfit map[string]string) []fleet.Resource {
	at := make(map[string]fleet.Resource, len(chosen.resources))
	for _, r := range chosen.resources {
		at[r.ID()] = r
	}
	wanted := make(map[string]bool)
	var want func(id string)
	want = func(id string) {
		r, ok := at[id]
		if _, out := unfit[id]; out || !ok || wanted[id] {
			return
		}
		wanted[id] = true
		if spec, ok := r.Spec.(fleet.Needing); ok {
			for _, need := range spec.Needs() {
				want(need.ID())
			}
		}
	}
	for _, r := range chosen.resources {
		if _, selects := r.Spec.(fleet.Selecting); selects {
			want(r.ID())
		}
	}
	return slices.DeleteFunc(slices.Clone(chosen.resources), func(r fleet.Resource) bool { return !wanted[r.ID()] })
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
