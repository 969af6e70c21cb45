package dev_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/manifest"
	"fairlead/pkg/station"
)

// whole runs all of a fleet and returns a client of it; stop ends everything.
func whole(t *testing.T, o dev.Options) (d *dev.Dev, c *client.Client, stop func()) {
	t.Helper()
	d, err := dev.New(o)
	if err != nil {
		t.Fatal(err)
	}
	p := begin(t, d.Ready(), d.Run)
	ctx, cancel := patient(t)
	defer cancel()
	if c, err = d.Client(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return d, c, func() {
		c.Close()
		p.stop(t)
	}
}

func example(t *testing.T, name string) manifest.Set {
	t.Helper()
	s, err := manifest.Load("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheHelloExampleServesAndASecondStartCarriesOn(t *testing.T) {
	t.Parallel()
	o := options(t, 2)
	d, c, stop := whole(t, o)
	if told := succeeds(t, c, example(t, "hello"), false); len(told) != 2 {
		t.Errorf("%d nodes were told", len(told))
	}
	nodes, err := d.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		serves(t, n.Address, 8080, "Hello from Fairlead.\n")
	}
	before := inSync(t, c, "node1")
	stop()
	for _, n := range nodes {
		if code, _ := get(n.Address, 8080); code != 0 {
			t.Errorf("%s still answers", n.Name)
		}
	}

	_, c, _ = whole(t, o)
	for _, n := range nodes {
		serves(t, n.Address, 8080, "Hello from Fairlead.\n")
		inSync(t, c, n.Name)
		if commands := endedOnce(t, c, n.Name); len(commands) != 1 {
			t.Errorf("%s was sent %d commands", n.Name, len(commands))
		}
	}
	if after := inSync(t, c, "node1"); after.ObservedRevision != before.ObservedRevision || after.RunningDigest != before.RunningDigest {
		t.Errorf("revision %d of %.12s is now %d of %.12s", before.ObservedRevision, before.RunningDigest, after.ObservedRevision, after.RunningDigest)
	}
	succeeds(t, c, set(t, site("other", "", 8090, "more")), false)
	serves(t, nodes[0].Address, 8090, "more")
	serves(t, nodes[0].Address, 8080, "Hello from Fairlead.\n")
}

func TestASecondStartLeavesANodeInTheRegisterAsItWas(t *testing.T) {
	t.Parallel()
	o := options(t, 1)
	_, c, stop := whole(t, o)
	ctx, cancel := patient(t)
	defer cancel()
	if _, err := c.Edit(ctx, []string{"node1"}, func(r *station.NodeRecord) error {
		r.Labels["region"], r.Drained = "eu", &station.Drain{By: c.Me(), At: time.Now().UTC().Truncate(time.Second)}
		delete(r.Labels, "role")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop()

	_, c, _ = whole(t, o)
	r, err := c.Registered(ctx, "node1")
	if err != nil || r.Drained == nil || !maps.Equal(r.Labels, map[string]string{"env": "dev", "index": "1", "region": "eu"}) {
		t.Errorf("it has the labels %v, drained %+v: %v", r.Labels, r.Drained, err)
	}
}

func TestTheProxyExampleBalancesOverBothServers(t *testing.T) {
	t.Parallel()
	d, c, _ := whole(t, options(t, 1)) // its servers listen on fixed addresses: one node
	succeeds(t, c, example(t, "proxy"), false)
	nodes, err := d.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for range 20 {
		code, body := get(nodes[0].Address, 8081)
		if code != 200 {
			t.Fatal(code, body)
		}
		seen[strings.TrimSpace(body)]++
	}
	if seen["one"] == 0 || seen["two"] == 0 || len(seen) != 2 {
		t.Errorf("20 requests went to %v", seen)
	}
}
