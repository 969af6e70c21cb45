package station_test

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
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

func (s *site) names(q station.NodesQuestion) string {
	s.t.Helper()
	names, err := s.client.Names(within(s.t), q)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestNodesAreChosenByWhatIsKnownOfThem(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	s.apply(host("site", "kind=ship", "x"))
	d, _ := s.desired("ship1")
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted, Version: "1.10.0", EverySeconds: 3600})
	s.report("ship1", handlers.Reported{ObservedRevision: 1, Revision: 1, Digest: d.Digest, Status: handlers.StatusApplied, RunningDigest: d.Digest})
	s.facts("ship1", &fleet.Facts{OS: "debian-12", Nginx: "1.22.1", Modules: []string{"ngx_stream_module"}, CPUs: 2, JWTUntil: time.Now().Add(time.Hour)})
	s.facts("shop1", &fleet.Facts{OS: "alpine-3.20", Nginx: "1.9.15"})
	sent := s.send("shop1", "reload", 3, 0, nil)
	eventually(t, "all is known", func() bool {
		return s.node("ship1").Sync == station.InSync && s.node("shop1").Facts != nil && s.node("shop1").Waiting == len(sent)
	})
	for fields, want := range map[string]string{
		"":                                   "ship1 ship2 shop1",
		"name=ship*":                         "ship1 ship2",
		"presence=online":                    "ship1",
		"presence!=online":                   "ship2 shop1",
		"seen<1h":                            "ship1",
		"seen>1h":                            "ship2 shop1",
		"sync=in sync":                       "ship1",
		"sync in (unknown,pending)":          "ship2",
		"sync!=in sync":                      "ship2 shop1",
		"revision=1,observed=0":              "ship2",
		"running=" + d.Digest:                "ship1",
		"waiting>=3":                         "shop1",
		"agent.version>=1.9":                 "ship1",
		"nginx.version>=1.20":                "ship1",
		"nginx.version<1.20":                 "shop1",
		"nginx.modules=*stream*":             "ship1",
		"os=debian-*":                        "ship1",
		"os!=debian-12":                      "ship2 shop1",
		"cpus>1":                             "ship1",
		"jwt<2h":                             "ship1",
		"drained=false":                      "ship1 ship2 shop1",
		"presence=online,sync=in sync,os=b*": "",
	} {
		if got := s.names(station.NodesQuestion{Fields: fields}); got != want {
			t.Errorf("%q: %q, want %q", fields, got, want)
		}
	}
	if got := s.names(station.NodesQuestion{Selector: "kind=ship", Fields: "presence!=online", Names: []string{"ship1", "ship2", "shop1"}}); got != "ship2" {
		t.Errorf("all of it at once: %q", got)
	}
	if _, err := s.client.Names(within(t), station.NodesQuestion{Fields: "presense=online"}); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "there are name, presence, seen") {
		t.Errorf("a field that does not exist: %v", err)
	}
}

func TestEveryFieldHasASummary(t *testing.T) {
	for _, f := range station.Fields() {
		if f.Summary == "" {
			t.Errorf("%s has none", f.Name)
		}
	}
}

func TestASummaryCountsWhatListsShow(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	s.apply(host("site", "kind=ship", "x"))
	s.send("shop1", "reload", 2, 0, nil)
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted, EverySeconds: 3600})
	eventually(t, "all is known", func() bool { return s.node("shop1").Waiting == 2 && s.node("ship1").Presence == station.Online })
	all, now, err := s.client.Nodes(within(t), station.NodesQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	want := station.Summary{Now: now}
	for _, n := range all {
		want.Add(n)
	}
	got, err := s.client.Summary(within(t), station.NodesQuestion{})
	if err != nil || got.Nodes != 3 || fmt.Sprint(got.Sync) != "map[none:1 unknown:2]" || fmt.Sprint(got.Presence) != "map[never seen:2 online:1]" ||
		got.Waiting != want.Waiting || got.Worst != "ship1" || got.Now.IsZero() {
		t.Errorf("%+v (%v)\nthe list has %+v", got, err, want)
	}
	if got, err := s.client.Summary(within(t), station.NodesQuestion{Selector: "kind=shop"}); err != nil || got.Nodes != 1 || got.Worst != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestALittleOfEachNodeIsThatAlone(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	for show, want := range map[string]string{
		station.ShowNames: `{"name":"ship1"}`,
		station.ShowList:  `{"name":"ship1","labels":{"kind":"ship"},"presence":"never seen","sync":"none"}`,
	} {
		var a struct{ Nodes []json.RawMessage }
		if err := s.ask(station.QueryNodes, station.NodesQuestion{Show: show}, &a); err != nil || len(a.Nodes) != 1 || string(a.Nodes[0]) != want {
			t.Errorf("%s: %s (%v), want %s", show, a.Nodes, err, want)
		}
	}
}

func TestMoreNamesThanAQuestionHolds(t *testing.T) {
	s := running(t)
	s.nodes(nil, "a", "b", "z")
	names := []string{"z", "a"}
	for i := range 20000 {
		names = append(names, fmt.Sprintf("nobody-with-a-rather-long-name-%d", i))
	}
	if got := s.names(station.NodesQuestion{Names: append(names, "b")}); got != "a b z" {
		t.Errorf("%q", got)
	}
}

// BenchmarkNodes is what the command line waits for on a fleet of ten thousand.
func BenchmarkNodes(b *testing.B) {
	s := open(b)
	const count = 10_000
	s.many(count, func(i int) map[string]string { return map[string]string{"role": "edge", "shard": fmt.Sprint(i % 100)} })
	s.station(nil)
	for name, ask := range map[string]func(c *client.Client) (int, error){
		"summary": func(c *client.Client) (int, error) {
			a, err := c.Summary(within(b), station.NodesQuestion{})
			return a.Nodes, err
		},
		"names": func(c *client.Client) (int, error) {
			names, err := c.Names(within(b), station.NodesQuestion{Selector: "role=edge", Fields: "presence=never seen"})
			return len(names), err
		},
		"list": func(c *client.Client) (int, error) {
			nodes, _, err := c.Nodes(within(b), station.NodesQuestion{Show: station.ShowList})
			return len(nodes), err
		},
		"all": func(c *client.Client) (int, error) {
			nodes, _, err := c.Nodes(within(b), station.NodesQuestion{})
			return len(nodes), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n, err := ask(s.client); err != nil || n != count {
					b.Fatalf("%d nodes, %v", n, err)
				}
			}
		})
	}
	if names := s.names(station.NodesQuestion{Fields: "name=n0000*"}); len(strings.Fields(names)) != 10 || !slices.IsSorted(strings.Fields(names)) {
		b.Fatal(names)
	}
}
