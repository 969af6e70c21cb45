package client_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestAPlanIsCheckedByNodesOfEachGroup(t *testing.T) {
	s := open(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2", "ship3")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	p := s.plan(host("a", "", "one") + host("b", "kind=ship", "$"+"{node.labels.kind} of $"+"{node.labels.node}"))
	everybody := func(nodes []string) []string { return nodes }
	all, err := client.Checks(p, everybody, time.Minute)
	if err != nil || len(all) != 4 || len(p.Nodes) != 4 { // a variable makes each ship another
		t.Fatalf("%d checks of %d groups, %v", len(all), len(p.Nodes), err)
	}
	for _, c := range all {
		var body handlers.NginxCheckBody
		if err := json.Unmarshal(c.Body, &body); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(p.Nodes, func(n client.NodeChange) bool { return n.Nodes[0] == c.Subject.Node })
		b, err := nginx.Render(body.Address, body.Resources)
		if err != nil || b.Digest != body.Digest || p.Nodes[at].Digest != body.Digest || c.Subject.Method != "nginxcheck" {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
	first := func(nodes []string) []string { return nodes[:1] }
	for range 2 { // also where each node's own values make it another
		if some, err := client.Checks(p, first, time.Minute); err != nil || len(some) != 2 || some[0].Subject.Node != "ship1" || some[1].Subject.Node != "shop1" {
			t.Errorf("%+v, %v", some, err)
		}
		if groups := client.Alike(p.Nodes); len(groups) != 2 {
			t.Errorf("%d groups", len(groups))
		}
		p = s.plan(host("a", "", "one") + host("b", "kind=ship", "two"))
	}
	var big strings.Builder
	for i := range 40 {
		big.WriteString(host(fmt.Sprintf("h%d", i), "", strings.Repeat("x", 3000)))
	}
	p = s.plan(big.String())
	for i := range p.Nodes {
		p.Nodes[i].Nodes = slices.Repeat(p.Nodes[i].Nodes, 200)
	}
	_, err = client.Checks(p, everybody, time.Minute)
	if kind(t, err, fleet.Invalid); !strings.Contains(fmt.Sprint(err), "--limit leaves some nodes of each group of equal ones") {
		t.Error(err)
	}
	for i := range 160 {
		big.WriteString(host(fmt.Sprintf("i%d", i), "", strings.Repeat("x", 3000)))
	}
	_, err = client.Checks(s.plan(big.String()), everybody, time.Minute)
	if kind(t, err, fleet.Invalid); !strings.Contains(fmt.Sprint(err), "and a command holds 512 KB: it can not be checked there before it is applied") {
		t.Error(err)
	}
}
