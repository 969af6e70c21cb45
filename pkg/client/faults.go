package client

import (
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/station"
)

// located is an error with file and line where it is faults of a set.
func located(set manifest.Set, err error) error {
	if faults, ok := err.(fleet.Faults); ok {
		return set.Locate(faults)
	}
	return err
}

// nodeFault is a fault and the nodes that have it.
type nodeFault struct {
	fleet.Fault
	nodes []string
}

// newFaults are those that a change would bring, each once, with its nodes; a
// node that could not take what is there already must not stop everybody else's
// work. A fault of a resource that is not part of the change is told as one of
// that which causes it. Another error is one of a node that is no fault of its
// resources.
func newFaults(now stored, changes []ResourceChange, before, after []station.Plan) (fleet.Faults, error) {
	type of struct{ node, fault string }
	had := make(map[of]bool)
	for _, p := range before {
		for _, f := range faultsOf(p) {
			had[of{p.Node, f.String()}] = true
		}
	}
	var found []*nodeFault
	known := make(map[string]*nodeFault)
	for _, p := range after {
		if _, ok := p.Err.(fleet.Faults); p.Err != nil && !ok {
			return nil, p.Err
		}
		for _, f := range faultsOf(p) {
			if had[of{p.Node, f.String()}] {
				continue
			}
			key := f.String()
			if p.Address != "" { // a clash of listeners is the same one on every node
				key = strings.ReplaceAll(key, p.Address, "\x00")
			}
			if known[key] == nil {
				known[key] = &nodeFault{Fault: f}
				found = append(found, known[key])
			}
			known[key].nodes = append(known[key].nodes, p.Node)
		}
	}
	blame(now, changes, found)
	faults := make(fleet.Faults, len(found))
	for i, f := range found {
		faults[i] = f.Fault
		faults[i].Message += fmt.Sprintf(" (on %s)", NameNodes(f.nodes))
	}
	return faults, nil
}

// faultsOf are why a node can not take its plan, and what is wrong with what it
// is spared for another reason: nobody is to store that.
func faultsOf(p station.Plan) fleet.Faults {
	faults, _ := p.Err.(fleet.Faults)
	return append(slices.Clip(faults), p.Wrong...)
}

// mostSuspects bounds the changes that are tried out.
const mostSuspects = 100

// blame tries each change by itself on a node that has the fault of a stored
// resource, to find the one that brings it. A fault that needs several of them
// stays as it is.
func blame(now stored, changes []ResourceChange, found []*nodeFault) {
	open := slices.DeleteFunc(slices.Clone(found), func(f *nodeFault) bool {
		return slices.ContainsFunc(changes, func(c ResourceChange) bool { return c.Resource == f.Subject && c.Action != Remove })
	})
	tried := 0
	for _, c := range changes {
		if c.Action == Unchanged {
			continue
		}
		if tried++; len(open) == 0 || tried > mostSuspects {
			return
		}
		alone := make(map[string]fleet.Resource, len(now.resources))
		for id, r := range now.resources {
			alone[id] = r.Resource
		}
		how := "with it"
		if alone[c.Resource] = c.value; c.Action == Remove {
			how = "without it"
			delete(alone, c.Resource)
		}
		brings := make(map[string][]string) // faults by node
		open = slices.DeleteFunc(open, func(f *nodeFault) bool {
			node := f.nodes[0]
			if brings[node] == nil {
				brings[node] = now.faultsWith(sorted(alone), node)
			}
			guilty := slices.Contains(brings[node], f.String())
			if guilty {
				f.Fault = fleet.Fault{Subject: c.Resource, Message: fmt.Sprintf("%s %s is wrong: %s: %s", how, f.Subject, f.Path, f.Message)}
			}
			return guilty
		})
	}
}

// faultsWith are the faults that a node would have with some resources.
func (s stored) faultsWith(resources []fleet.Resource, node string) []string {
	i := slices.IndexFunc(s.nodes, func(n station.NodeRecord) bool { return n.Name == node })
	plans, err := station.Compile(resources, s.nodes[i:i+1])
	if err != nil {
		return []string{}
	}
	texts := []string{}
	for _, f := range faultsOf(plans[0]) {
		texts = append(texts, f.String())
	}
	return texts
}

// NameNodes names a few nodes, or some and how many more there are.
func NameNodes(nodes []string) string { return NameFew(nodes, "nodes") }

// NameFew names a few of what there may be thousands of, or some and how many more there are.
func NameFew(names []string, what string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more %s", strings.Join(names[:few], ", "), len(names)-few, what)
}
