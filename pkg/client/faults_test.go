package client_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

func nodePolicy(name, spec string) string {
	return fmt.Sprintf("apiVersion: fairlead/v1\nkind: NodePolicy\nmetadata: {name: %s}\nspec: {%s}\n---\n", name, spec)
}

const app = "apiVersion: fairlead/v1\nkind: Upstream\nmetadata: {name: app}\nspec: {servers: [{address: \"192.0.2.1:80\"}]}\n---\n"

// faultsOf are the faults of a plan.
func (s *site) faultsOf(text string, remove bool) fleet.Faults {
	s.t.Helper()
	_, err := s.client.Plan(within(s.t), set(s.t, text), remove)
	var faults fleet.Faults
	if !errors.As(err, &faults) {
		s.t.Fatalf("%v", err)
	}
	return faults
}

// Of two resources that clash, the rules name one. When that one is stored
// already, who applies the other is told file and line of theirs.
func TestAFaultOfWhatIsStoredCarriesFileAndLineOfItsCause(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	s.apply(app + proxy("site", "", "app") + nodePolicy("stored", "drift: report"))
	for name, test := range map[string]struct {
		text, want string
		remove     bool
	}{
		"a second policy": {text: host("good", "", "x") + nodePolicy("applied", "drift: adopt"),
			want: "site.yaml:11: NodePolicy/applied: with it NodePolicy/stored is wrong: spec.selector: selects a node that follows NodePolicy/applied already: a node follows one policy (on ship1, ship2)"},
		"a stricter policy": {text: nodePolicy("stored", "egress: {deny: [192.0.2.0/24]}"),
			want: "site.yaml:1: NodePolicy/stored: with it Upstream/app is wrong: spec.servers[0].address: the node's policy denies upstreams at 192.0.2.0/24: 192.0.2.1 is in it (on ship1, ship2)"},
		"what is needed": {text: nodePolicy("stored", "drift: report") + app, remove: true,
			want: "site.yaml:6: Upstream/app: without it VirtualHost/site is wrong: spec.locations[0].proxy.upstream: there is no Upstream/app (on ship1, ship2)"},
	} {
		if faults := s.faultsOf(test.text, test.remove); len(faults) != 1 || faults.Error() != test.want {
			t.Errorf("%s: %v, want\n%s", name, faults, test.want)
		}
	}
}

// A clash is the same on every node, though each has an address of its own.
func TestAFaultIsToldOnceWithItsNodes(t *testing.T) {
	s := open(t)
	for i := range 7 {
		s.node(station.NodeRecord{Name: fmt.Sprintf("ship%d", i+1), Address: fmt.Sprintf("192.0.2.%d", i+1)})
	}
	s.apply(host("a", "", "stored"))
	clash := strings.ReplaceAll(host("b", "", "x"), "b.example.org", "a.example.org")
	faults := s.faultsOf(clash, false)
	const want = "site.yaml:7: VirtualHost/b: spec.serverNames[0]: VirtualHost/a answers to a.example.org on 192.0.2.1:8080 already (on ship1, ship2, ship3, ship4, ship5 and 2 more nodes)"
	if len(faults) != 1 || faults.Error() != want {
		t.Errorf("%v, want\n%s", faults, want)
	}
}
