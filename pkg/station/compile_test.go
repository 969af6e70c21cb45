package station_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

func record(name string, labels ...string) station.NodeRecord {
	r := station.NodeRecord{Name: name, Key: "U" + name, Labels: map[string]string{}}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		r.Labels[key] = value
	}
	return r
}

func compile(t *testing.T, resources []fleet.Resource, nodes ...station.NodeRecord) map[string]station.Plan {
	t.Helper()
	plans, err := station.Compile(resources, nodes)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]station.Plan)
	for _, p := range plans {
		byName[p.Node] = p
	}
	return byName
}

func names(p station.Plan) []string {
	var all []string
	for _, r := range p.Resources {
		all = append(all, r.ID())
	}
	return all
}

func TestSelectorsChooseNodes(t *testing.T) {
	plans := compile(t, []fleet.Resource{host("all", "", "a"), host("ships", "kind=ship", "b"), host("far", "kind=ship,zone in (north, south)", "c"), host("land", "kind!=ship", "d")},
		record("ship1", "kind=ship", "zone=north"), record("ship2", "kind=ship", "zone=east"), record("shop1", "kind=shop"), record("bare"))
	for node, want := range map[string][]string{
		"ship1": {"VirtualHost/all", "VirtualHost/far", "VirtualHost/ships"},
		"ship2": {"VirtualHost/all", "VirtualHost/ships"},
		"shop1": {"VirtualHost/all", "VirtualHost/land"},
		"bare":  {"VirtualHost/all", "VirtualHost/land"},
	} {
		if got := names(plans[node]); !slices.Equal(got, want) {
			t.Errorf("%s gets %v, want %v", node, got, want)
		}
	}
}

func TestANodesNameIsALabel(t *testing.T) {
	plans := compile(t, []fleet.Resource{host("one", "node=ship1", "a"), host("rest", "node notin (ship1,own)", "b")},
		record("ship1"), record("ship2"), record("ship3", "node=own"))
	for node, want := range map[string][]string{"ship1": {"VirtualHost/one"}, "ship2": {"VirtualHost/rest"}, "ship3": nil} {
		if got := names(plans[node]); !slices.Equal(got, want) {
			t.Errorf("%s gets %v, want %v", node, got, want)
		}
	}
}

func TestUpstreamsFollowTheHostsThatUseThem(t *testing.T) {
	plans := compile(t, []fleet.Resource{upstream("app", "192.0.2.1:80"), upstream("spare", "192.0.2.2:80"), proxy("shop", "kind=shop", "app"), host("all", "", "x")},
		record("shop1", "kind=shop"), record("ship1", "kind=ship"))
	if got := names(plans["shop1"]); !slices.Equal(got, []string{"Upstream/app", "VirtualHost/all", "VirtualHost/shop"}) {
		t.Errorf("shop1 gets %v", got)
	}
	if got := names(plans["ship1"]); !slices.Equal(got, []string{"VirtualHost/all"}) {
		t.Errorf("ship1 gets %v", got)
	}
}

func TestTheSameInputCompilesToTheSameDigestInAnyOrder(t *testing.T) {
	resources := []fleet.Resource{upstream("app", "192.0.2.1:80"), proxy("shop", "", "app"), host("a", "", "x"), host("b", "", "y"), file("extra", "map $a $b {}\n")}
	first := compile(t, resources, record("ship1"))["ship1"]
	if first.Err != nil || len(first.Bundle.Digest) != 64 {
		t.Fatalf("%+v", first)
	}
	for range 20 {
		slices.Reverse(resources[1:])
		slices.Reverse(resources)
		if again := compile(t, resources, record("ship1"))["ship1"]; again.Bundle.Digest != first.Bundle.Digest || !reflect.DeepEqual(names(again), names(first)) {
			t.Fatalf("%s is now %s", first.Bundle.Digest, again.Bundle.Digest)
		}
	}
	changed := compile(t, []fleet.Resource{host("a", "", "z")}, record("ship1"))["ship1"]
	if changed.Bundle.Digest == first.Bundle.Digest {
		t.Error("other resources have the same digest")
	}
}

func TestEqualNodesShareABundle(t *testing.T) {
	elsewhere := record("ship3")
	elsewhere.Address = "127.0.0.9"
	plans := compile(t, []fleet.Resource{host("a", "", "x")}, record("ship1", "zone=north"), record("ship2", "zone=south"), elsewhere)
	one, two, three := plans["ship1"].Bundle, plans["ship2"].Bundle, plans["ship3"].Bundle
	if one.Digest != two.Digest || &one.Files[0] != &two.Files[0] {
		t.Error("two equal nodes were rendered twice")
	}
	if three.Digest == one.Digest {
		t.Error("a node with another address has the same bundle")
	}
}

func TestAFaultNamesItsResourceAndLeavesOtherNodesAlone(t *testing.T) {
	plans := compile(t, []fleet.Resource{proxy("broken", "kind=ship", "nowhere"), host("good", "", "x")}, record("ship1", "kind=ship"), record("shop1", "kind=shop"))
	var faults fleet.Faults
	if !errors.As(plans["ship1"].Err, &faults) || len(faults) != 1 || faults[0].Subject != "VirtualHost/broken" || !strings.Contains(faults[0].String(), "nowhere") {
		t.Errorf("ship1: %v", plans["ship1"].Err)
	}
	if p := plans["shop1"]; p.Err != nil || p.Bundle.Digest == "" {
		t.Errorf("shop1: %v", p.Err)
	}
}

func TestABadSelectorIsAFaultOfItsResource(t *testing.T) {
	_, err := station.Compile([]fleet.Resource{host("good", "", "x"), host("bad", "kind in (", "x")}, []station.NodeRecord{record("ship1")})
	var faults fleet.Faults
	if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Subject != "VirtualHost/bad" || faults[0].Path != "spec.selector" {
		t.Errorf("%v", err)
	}
}

func TestAResourceIsDecodedStrictlyAndValidated(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "resource",
		`{"apiVersion":"fairlead/v1","kind":"Nothing","metadata":{"name":"x"},"spec":{}}`:                                                      "Nothing",
		`{"apiVersion":"fairlead/v1","kind":"VirtualHost","metadata":{"name":"x"},"spec":{"selektor":"a"}}`:                                    "selektor",
		`{"apiVersion":"fairlead/v1","kind":"ConfigFile","metadata":{"name":"x"},"spec":{"selector":"a in (","context":"http","content":"x"}}`: "spec.selector",
	} {
		if _, err := station.DecodeResource([]byte(text)); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkCompileTenThousandNodes(b *testing.B) {
	resources := []fleet.Resource{upstream("app", "192.0.2.1:80"), proxy("shop", "kind=shop", "app")}
	for i := range 50 {
		resources = append(resources, host(fmt.Sprintf("h%d", i), fmt.Sprintf("zone=z%d", i%10), "x"))
	}
	nodes := make([]station.NodeRecord, 10_000)
	for i := range nodes {
		nodes[i] = record(fmt.Sprintf("n%05d", i), fmt.Sprintf("zone=z%d", i%10), "kind=shop")
	}
	for b.Loop() {
		if _, err := station.Compile(resources, nodes); err != nil {
			b.Fatal(err)
		}
	}
}
