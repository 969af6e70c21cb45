package station_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// many registers nodes by the thousand: with keys of nobody, many at once.
func (s *site) many(count int, labels func(i int) map[string]string) {
	s.t.Helper()
	alice := s.users["alice"]
	for begin := 0; begin < count; begin += bus.MaxChanges {
		for i := begin; i < min(count, begin+bus.MaxChanges); i++ {
			r := station.NodeRecord{Name: fmt.Sprintf("n%05d", i), Key: alice.Key, Labels: labels(i)}
			m, err := station.SignRecord(r, "alice", alice)
			if err != nil {
				s.t.Fatal(err)
			}
			if _, err := s.conn("alice", subjects.Admin).Put(within(s.t), subjects.Nodes, bus.Change{Key: r.Name, Document: m, Expect: bus.Any}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func TestTwelveHundredNodesAreAnsweredPageByPage(t *testing.T) {
	s := open(t)
	const count = 1200
	s.many(count, func(i int) map[string]string { return map[string]string{"parity": []string{"even", "odd"}[i%2]} })
	s.station(nil)
	pages, after := 0, ""
	var all []string
	for more := true; more; pages++ {
		var a station.NodesAnswer
		if err := s.ask(station.QueryNodes, station.NodesQuestion{After: after, Most: 500}, &a); err != nil {
			t.Fatal(err)
		}
		for _, n := range a.Nodes {
			all = append(all, n.Name)
		}
		if a.Now.IsZero() {
			t.Error("the answer has no time")
		}
		if more = a.More; more {
			after = all[len(all)-1]
		}
	}
	if len(all) != count || !slices.IsSorted(all) || pages != 3 {
		t.Errorf("%d nodes on %d pages, sorted: %t", len(all), pages, slices.IsSorted(all))
	}

	odd, _, err := s.client.Nodes(within(t), station.NodesQuestion{Selector: "parity=odd"})
	if err != nil || len(odd) != count/2 || odd[0].Name != "n00001" {
		t.Errorf("%d odd nodes, %v", len(odd), err)
	}
	some, _, err := s.client.Nodes(within(t), station.NodesQuestion{Names: []string{"n00007", "n00002", "n00009", "nobody"}, Selector: "parity=odd"})
	if err != nil || len(some) != 2 || some[0].Name != "n00007" || some[1].Name != "n00009" {
		t.Errorf("%+v, %v", some, err)
	}
	if _, _, err := s.client.Nodes(within(t), station.NodesQuestion{Selector: "a in ("}); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("a bad selector: %v", err)
	}
}

// Ten thousand nodes that all say why they are unfit are many times the
// broker's largest payload.
func TestAnswersStayUnderTheBrokersPayload(t *testing.T) {
	s := open(t)
	const count = 1500
	s.many(count, func(int) map[string]string { return map[string]string{"text": strings.Repeat("x", 63)} })
	s.station(nil)
	var broken []fleet.Resource
	for i := range 20 {
		broken = append(broken, proxy(fmt.Sprintf("broken%d", i), "", strings.Repeat("nowhere", 8)))
	}
	var sequence uint64
	for _, r := range broken {
		sequence = s.resource(r, s.users["alice"])
	}
	nodes, _, err := s.client.Nodes(within(t), station.NodesQuestion{})
	if err != nil || len(nodes) != count {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	var compiled []station.CompiledNode
	q := station.CompiledQuestion{Sequence: sequence}
	for more := true; more; {
		var a station.CompiledAnswer
		if err := s.ask(station.QueryCompiled, q, &a); err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, a.Nodes...)
		if more = a.More; more {
			q.After = compiled[len(compiled)-1].Name
		}
	}
	if len(compiled) != count || strings.Count(compiled[0].Fault, "VirtualHost/broken") < 20 {
		t.Errorf("%d nodes, the first has %q", len(compiled), compiled[0].Fault)
	}
	var few station.CompiledAnswer
	if err := s.ask(station.QueryCompiled, station.CompiledQuestion{Sequence: sequence, Names: []string{"n00003", "n00001"}}, &few); err != nil ||
		len(few.Nodes) != 2 || few.Nodes[0].Name != "n00001" || few.More {
		t.Errorf("%+v, %v", few, err)
	}
}

func TestANodesDetailIsAllThatIsKnownOfIt(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	s.apply(host("site", "", "x"))
	d, _ := s.desired("ship1")
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted, Version: "1.2.3", EverySeconds: 60})
	s.health("ship1", 60)
	s.report("ship1", handlers.Reported{ObservedRevision: 1, Revision: 1, Digest: d.Digest, Status: handlers.StatusApplied, RunningDigest: d.Digest})
	sent := s.send("ship1", "reload", 1, 0, nil)[0]
	var n station.NodeDetail
	eventually(t, "everything is known", func() bool {
		n = s.node("ship1")
		return n.Health != nil && n.Sync == station.InSync && n.Version != "" && n.Waiting == 2
	})
	if n.Name != "ship1" || n.Labels["kind"] != "ship" || n.Key != s.users["ship1"].Key || n.Presence != station.Online ||
		n.DesiredRevision != 1 || n.ObservedRevision != 1 || n.DesiredDigest != d.Digest || n.RunningDigest != d.Digest || n.Version != "1.2.3" {
		t.Errorf("%+v", n.NodeStatus)
	}
	if n.Desired.Revision != 1 || n.Desired.By != "alice" || !slices.Equal(n.Desired.Resources, []string{"VirtualHost/site"}) {
		t.Errorf("%+v", n.Desired)
	}
	if len(n.Commands) != 2 || n.Commands[1].ID != sent.ID || n.Commands[1].From != "alice" || n.Commands[1].State != message.Published {
		t.Errorf("%+v", n.Commands)
	}
	if n.Stale() || !n.AsOf.IsZero() {
		t.Errorf("it is there, and told as of %v", n.AsOf)
	}

	// What it was is not what it is.
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStopped})
	eventually(t, "it is known to be away", func() bool { n = s.node("ship1"); return n.Presence == station.Offline })
	if !n.Stale() || n.Sync != station.InSync || !n.AsOf.Equal(n.LastSeen) || n.AsOf.IsZero() {
		t.Errorf("%+v", n.NodeStatus)
	}
	if sum, err := s.client.Summary(within(t), station.NodesQuestion{}); err != nil || sum.Stale != 1 || sum.Sync[station.InSync] != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestAnUnknownNodeIsUnknown(t *testing.T) {
	s := running(t)
	if _, err := s.client.Node(within(t), "ghost"); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(fmt.Sprint(err), "ghost") {
		t.Errorf("%v", err)
	}
}

func TestACommandIsFoundByItsID(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 1, 0, nil)[0]
	a, err := s.client.Command(within(t), sent.ID)
	if err != nil || a.State != message.Published || a.Waiting.ID != sent.ID || a.Waiting.Subject != sent.Subject || a.Waiting.Expires.IsZero() {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := s.answer(sent, message.Running, s.users["ship1"]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool { return s.state(sent.ID) == message.Running })
	s.end(sent)
	eventually(t, "it has ended", func() bool { return s.state(sent.ID) == message.Succeeded })
	if a, err = s.client.Command(within(t), sent.ID); err != nil || a.Ended.ID != sent.ID || a.Ended.Answer.Message != "done" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestSyncIsToldInWordsAndUnknownIsNeverGood(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	is := func(word string) {
		t.Helper()
		eventually(t, "ship1 is "+word, func() bool { return s.node("ship1").Sync == word })
	}
	is(station.NoneDue)
	s.apply(host("site", "", "x"))
	is(station.Unsaid)
	d, _ := s.desired("ship1")
	failed := handlers.Reported{Revision: 1, Status: handlers.StatusFailed, Message: "nginx: [emerg] no\n" + strings.Repeat("x", 100_000)}
	s.report("ship1", failed)
	is(station.FailedIn)
	if got := s.node("ship1").Message; !strings.HasPrefix(got, "nginx: [emerg] no") || len(got) > 5000 {
		t.Errorf("why: %d bytes", len(got))
	}
	good := handlers.Reported{ObservedRevision: 1, Revision: 1, Digest: d.Digest, Status: handlers.StatusApplied, RunningDigest: d.Digest}
	s.report("ship1", good)
	is(station.InSync)
	good.RunningDigest = "other"
	s.report("ship1", good)
	is(station.Drifted)
	good.RunningDigest = d.Digest
	s.report("ship1", good)
	is(station.InSync)
	s.apply(host("site", "", "y"))
	is(station.Pending)
}

// Its files are what they should be, and a site may answer 502 all the same.
func TestAServerThatIsNotUsedIsToldOfANodeInSync(t *testing.T) {
	s := open(t)
	s.station(nil)
	s.crewOf("n1")
	unused := func(servers ...nginx.ServerStatus) {
		t.Helper()
		s.event("n1", subjects.MethodHealth, "nginx", map[string]any{"everySeconds": 3600, "nginx": map[string]any{"up": true, "servers": servers}})
	}
	for _, one := range []struct {
		servers []nginx.ServerStatus
		want    string
	}{
		{[]nginx.ServerStatus{{Upstream: "app", Server: "gone.test:80", Message: "left out: gone.test has no address"}}, "Upstream/app gone.test:80: left out: gone.test has no address"},
		{[]nginx.ServerStatus{{Upstream: "app", Server: "a:80", Message: "down"}, {Upstream: "app", Server: "b:80"}}, "Upstream/app a:80: down (and 1 more)"},
		{nil, ""},
	} {
		unused(one.servers...)
		eventually(t, "the node says "+one.want, func() bool {
			n := s.node("n1")
			return n.Sync == station.InSync && n.Message == one.want
		})
	}
}

func TestPresenceIsToldInWords(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	is := func(word string) {
		t.Helper()
		eventually(t, "ship1 is "+word, func() bool { return s.node("ship1").Presence == word })
	}
	is(station.NeverWas)
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted, EverySeconds: 60})
	is(station.Online)
	s.health("ship1", 60)
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStopped})
	is(station.Offline)
	stop()
	stop = s.station(nil)
	if got := s.node("ship1"); got.Presence != station.Offline || got.LastSeen.IsZero() {
		t.Errorf("after a restart of the station a node that stopped is %s, last seen %s", got.Presence, got.LastSeen)
	}
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleReturned, EverySeconds: 0.05})
	is(station.Offline) // after three beats without one
	s.health("ship1", 60)
	is(station.Online)
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStopped})
	is(station.Offline)
	s.health("ship1", 60) // as after a restart that nobody told of
	is(station.Online)
	stop()
}

func TestAForgedReportAndHealthAreIgnored(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	s.apply(host("site", "", "x"))
	d, _ := s.desired("ship1")
	body := fmt.Sprintf(`{"observedRevision":1,"revision":1,"digest":%q,"status":"applied","runningDigest":%[1]q}`, d.Digest)
	key := subjects.StateKey("ship1", handlers.MethodNginxConfig, "nginx")
	for _, signer := range []string{"ship2", "", "alice"} {
		s.put("ship1", subjects.Node, subjects.Reported, key, message.ReportedSubject("ship1", handlers.MethodNginxConfig, "nginx"), []byte(body), s.users[signer], nil)
	}
	s.report("ship2", handlers.Reported{ObservedRevision: 1, Revision: 1, Digest: d.Digest, Status: handlers.StatusApplied, RunningDigest: d.Digest})
	eventually(t, "what came behind it is known", func() bool { return s.node("ship2").Sync == station.InSync })
	if n := s.node("ship1"); n.Sync != station.Unsaid {
		t.Errorf("ship1 is %s", n.Sync)
	}
}

func TestANodeThatLeavesTheRegisterWhileItIsAskedForEndsNothing(t *testing.T) {
	s := running(t)
	s.nodes(nil, "stays", "goes")
	ctx, cancel := context.WithCancel(within(t))
	asked := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, _, err := s.client.Nodes(ctx, station.NodesQuestion{}); err != nil && ctx.Err() == nil {
				asked <- err
				return
			}
		}
		asked <- nil
	}()
	record := station.NodeRecord{Name: "goes", Key: s.users["goes"].Key}
	for range 50 {
		s.put("alice", subjects.Admin, subjects.Nodes, "goes", message.RegisterSubject("goes"), nil, s.users["alice"],
			func(m *message.Message) { m.Operation = bus.Delete })
		if err := s.client.Register(within(t), record); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-asked; err != nil {
		t.Error(err)
	}
	eventually(t, "both are there", func() bool {
		nodes, _, err := s.client.Nodes(within(t), station.NodesQuestion{})
		return err == nil && len(nodes) == 2
	})
}

func TestAStationThatEndsStopsAnswering(t *testing.T) {
	s := open(t)
	s.station(nil)()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := s.client.Nodes(ctx, station.NodesQuestion{}); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("%v", err)
	}
}
