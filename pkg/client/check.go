package client

import (
	"encoding/json"
	"slices"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// mostChecks is how many bytes all checks of a plan may have together: the audit
// keeps each of them for months.
const mostChecks = 64 << 20

// Checks are commands by which nodes have their own nginx check what a plan would
// give them, and commit nothing. sample chooses nodes of each group of Alike. No key leaves with them: nodes use those that they have. The error
// is Invalid where what a node would get is more than a command may hold, or all
// together are more than the audit should keep.
func Checks(p Plan, sample func(nodes []string) []string, expires time.Duration) ([]Command, error) {
	var all []Command
	size := 0
	for _, n := range sampled(p.Nodes, sample) {
		body := handlers.NginxCheckBody{Digest: n.Digest, Address: n.address}
		for _, r := range n.resources {
			body.Resources = append(body.Resources, fleet.Shown(r))
		}
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		if len(text) > message.MaxBody {
			return nil, fleet.Errorf(fleet.Invalid, "%s would get %d KB of resources, and a command holds %d KB: it can not be checked there before it is applied",
				NameNodes(n.Nodes), len(text)>>10, message.MaxBody>>10)
		}
		for _, node := range n.Nodes {
			s := subjects.Subject{Node: node, Direction: subjects.Command, Method: handlers.MethodNginxCheck, Domain: "nginx"}
			all = append(all, Command{Subject: s, Body: text, Expires: expires})
			size += len(text)
		}
	}
	if size > mostChecks {
		return nil, fleet.Errorf(fleet.Invalid, "%d nodes would be sent %d MB together, and at most %d MB are: --limit leaves some nodes of each group of equal ones",
			len(all), size>>20, mostChecks>>20)
	}
	return all, nil
}

// sampled are changes of those nodes alone that sample chooses of each group.
func sampled(changes []NodeChange, sample func(nodes []string) []string) (some []NodeChange) {
	for _, group := range Alike(changes) {
		var names []string
		for _, n := range group {
			names = append(names, n.Nodes...)
		}
		slices.Sort(names)
		chosen := make(map[string]bool)
		for _, name := range sample(names) {
			chosen[name] = true
		}
		for _, n := range group {
			n.Nodes = slices.DeleteFunc(slices.Clone(n.Nodes), func(name string) bool { return !chosen[name] })
			if len(n.Nodes) > 0 {
				some = append(some, n)
			}
		}
	}
	return some
}
