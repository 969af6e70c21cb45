package station_test

import (
	"encoding/json"
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

var desiredKey = func(node string) string { return subjects.StateKey(node, handlers.MethodNginxConfig, "nginx") }

func (s *site) revision(name string) uint64 {
	s.t.Helper()
	d, _ := s.desired(name)
	return d.Revision
}

func TestEachChangeIsOneRevisionAndNoChangeIsNone(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	for i := range uint64(3) {
		s.apply(host("site", "", strings.Repeat("x", int(i)+1)))
		for _, name := range []string{"ship1", "ship2"} {
			d, ok := s.desired(name)
			if !ok || d.Revision != i+1 || d.By != "alice" || len(d.Digest) != 64 || len(d.Resources) != 1 {
				t.Fatalf("%s after change %d: %+v", name, i+1, d)
			}
		}
	}
	s.apply(host("site", "", strings.Repeat("x", 3))) // the same again
	s.apply(host("other", "kind=shop", "no node"))    // nobody's
	if r := s.revision("ship1"); r != 3 {
		t.Errorf("no change is revision %d", r)
	}
	if got := len(s.items(subjects.BucketStream(subjects.Desired), "")); got != 6 {
		t.Errorf("%d documents were written for 3 changes of 2 nodes", got)
	}
}

func TestManyResourcesAtOnceAreOneRevision(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	alice := s.users["alice"]
	var changes []bus.Change
	for i := range bus.MaxChanges { // reading them takes longer than a station waits for calm
		name := fmt.Sprint("shop", i)
		body, err := json.Marshal(host(name, "", "x"))
		if err != nil {
			t.Fatal(err)
		}
		m := message.Message{Subject: message.ResourceSubject("VirtualHost", name), ID: message.NewID(), From: "alice", Body: body}
		if err := m.Sign(alice); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, bus.Change{Key: subjects.ResourceKey("VirtualHost", name), Document: m})
	}
	sequence, err := s.conn("alice", subjects.Admin).PutAll(within(t), subjects.Fleet, changes)
	if err != nil {
		t.Fatal(err)
	}
	s.compiled(sequence)
	if d, _ := s.desired("ship1"); d.Revision != 1 || len(d.Resources) != bus.MaxChanges {
		t.Errorf("revision %d with %d resources", d.Revision, len(d.Resources))
	}
}

func TestANodeThatNothingSelectsHasNoDocumentAndAnEmptiedOneAnEmptyRevision(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	site := host("site", "kind=ship", "x")
	s.apply(site)
	if _, ok := s.desired("shop1"); ok || s.node("shop1").Sync != station.NoneDue || len(s.told("shop1")) != 0 {
		t.Error("shop1 has a document")
	}
	s.remove(site)
	d, ok := s.desired("ship1")
	if !ok || d.Revision != 2 || len(d.Resources) != 0 || d.Digest == "" {
		t.Errorf("the emptied ship1 has %+v", d)
	}
	s.copied()
	if got := s.told("ship1"); len(got) != 2 {
		t.Errorf("ship1 was told %d times of 2 revisions", len(got))
	}
}

func TestANewNodeAndAChangedLabelAreCompiledWithoutAnApply(t *testing.T) {
	s := running(t)
	s.apply(host("ships", "kind=ship", "x"))
	s.nodes(map[string]string{"kind": "shop"}, "n1")
	s.nodes(map[string]string{"kind": "ship"}, "n2")
	eventually(t, "the new node has its first revision", func() bool { return s.revision("n2") == 1 })
	s.nodes(map[string]string{"kind": "ship"}, "n1")
	eventually(t, "the relabelled node has its first revision", func() bool { return s.revision("n1") == 1 })
}

func TestADesiredStateSaysWhoseChangeMadeItAndWhy(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	write := func(as string, role subjects.Role, r fleet.Resource, note string) uint64 {
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		sequence := s.put(as, role, subjects.Fleet, subjects.ResourceKey(r.Kind, r.Metadata.Name), message.ResourceSubject(r.Kind, r.Metadata.Name),
			body, s.creds(as, role), func(m *message.Message) { m.Note = note })
		s.compiled(sequence)
		return sequence
	}
	first := write("alice", subjects.Admin, host("ships", "kind=ship", "x"), "for the ships")
	shops := write("olga", subjects.Operator, host("shops", "kind=shop", "y"), "for the shops")
	s.report("ship1", handlers.Reported{Revision: 1, ObservedRevision: 1, Status: handlers.StatusApplied})
	for name, want := range map[string]nginx.Desired{
		"ship1": {Revision: 1, By: "alice", Message: "for the ships", Fleet: first, Cause: first}, "shop1": {Revision: 1, By: "olga", Message: "for the shops", Fleet: shops, Cause: shops},
	} {
		d, _ := s.desired(name)
		if d.Revision != want.Revision || d.By != want.By || d.Message != want.Message || d.Fleet != want.Fleet || d.Cause != want.Cause {
			t.Errorf("%s: %+v, want %+v", name, d, want)
		}
		if n := s.node(name).Desired; n.Message != want.Message || n.Cause != want.Cause {
			t.Errorf("a station tells %+v", n)
		}
		if m := station.CommandFor(name, d); m.Note != want.Message {
			t.Errorf("the command says %q", m.Note)
		}
	}
	// Whoever changed a resource last has nothing to do with a node's new label.
	s.nodes(map[string]string{"kind": "shop"}, "ship1")
	eventually(t, "the relabelled node has its next revision", func() bool { return s.revision("ship1") == 2 })
	if d, _ := s.desired("ship1"); d.By != "" || d.Message != "" || d.Cause != 0 || d.Fleet != shops {
		t.Errorf("relabelled: %+v", d)
	}
	s.remove(host("shops", "kind=shop", "y"))
	if d, _ := s.desired("shop1"); d.By != "alice" || d.Message != "" || len(d.Resources) != 0 {
		t.Errorf("removed: %+v", d)
	}
}

func TestTwoStationsWriteAndTellEachRevisionOnce(t *testing.T) {
	s := running(t)
	s.station(func(c *station.Config) { c.Credentials = s.users["station-b"] })
	names := []string{"n1", "n2", "n3", "n4", "n5"}
	s.nodes(nil, names...)
	const changes = 5
	for i := range changes {
		s.apply(host("site", "", strings.Repeat("x", i+1)))
		for _, name := range names {
			eventually(t, "the revision is written", func() bool { return s.revision(name) >= uint64(i+1) })
		}
	}
	s.copied()
	for _, name := range names {
		if r := s.revision(name); r != changes {
			t.Errorf("%s is at revision %d after %d changes", name, r, changes)
		}
		var want []string
		for _, i := range s.items(subjects.BucketStream(subjects.Desired), subjects.KeySubject(subjects.Desired, desiredKey(name))) {
			text, err := bus.EntryOf(subjects.Desired, i.Stored).Plain(message.DesiredSubject(name, handlers.MethodNginxConfig, "nginx"))
			var d nginx.Desired
			if err == nil {
				err = json.Unmarshal(text, &d)
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, station.CommandFor(name, d).ID)
		}
		eventually(t, "every revision was told", func() bool { return len(s.told(name)) >= changes })
		if got := s.told(name); !sameSet(got, want) {
			t.Errorf("%s was told by %v, want %v", name, got, want)
		}
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// A station that ends between desired and command leaves this behind.
func TestTheNextStationTellsWhatOneThatEndedDidNot(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	site := host("site", "", "x")
	plans, err := station.Compile([]fleet.Resource{site}, []station.NodeRecord{{Name: "ship1"}})
	if err != nil {
		t.Fatal(err)
	}
	s.resource(site, s.users["alice"])
	d := nginx.Desired{Revision: 1, Digest: plans[0].Bundle.Digest, Resources: plans[0].Resources, By: "alice", At: time.Now().UTC().Truncate(time.Millisecond)}
	body, _ := json.Marshal(d)
	s.put("station-a", subjects.Station, subjects.Desired, desiredKey("ship1"), message.DesiredSubject("ship1", handlers.MethodNginxConfig, "nginx"), body, s.users["station-a"], nil)
	s.station(nil)
	eventually(t, "the command is there", func() bool { ids, _ := s.sync("ship1"); return len(ids) == 1 })
	if got, _ := s.sync("ship1"); got[0] != station.CommandFor("ship1", d).ID || s.revision("ship1") != 1 {
		t.Errorf("told by %v at revision %d", got, s.revision("ship1"))
	}
}

// The node refused it, so it never reported the revision; its command was
// cleared, and the next station must not think that it was never sent.
func TestARevisionWhoseCommandEndedIsNotToldAgain(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	s.apply(host("site", "", "x"))
	waiting, _ := s.sync("ship1")
	if len(waiting) != 1 {
		t.Fatalf("told by %v", waiting)
	}
	sent := sentTo("ship1", handlers.MethodNginxConfig, waiting[0])
	if err := s.answer(sent, message.Rejected, s.users["ship1"]); err != nil {
		t.Fatal(err)
	}
	s.emptied()
	s.apply(host("nobody", "kind=none", "x")) // has the station look at every node again
	stop()
	s.station(nil)
	s.apply(host("nobody", "kind=none", "y"))
	s.copied()
	if got := s.told("ship1"); len(got) != 1 {
		t.Errorf("it was told by %v", got)
	}
}

func TestWhatTheWrongHandWroteIsIgnoredAndTheLastGoodStays(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	good, mine := host("site", "", "good"), file("extra", "map $a $good {}\n")
	s.apply(good, mine)
	before, _ := s.desired("ship1")
	bad := host("site", "", "bad")
	forged := func(m *message.Message) { m.From = "alice" }
	write := func(r fleet.Resource, by string, change func(*message.Message)) uint64 {
		body, _ := json.Marshal(r)
		return s.put("alice", subjects.Admin, subjects.Fleet, subjects.ResourceKey(r.Kind, r.Metadata.Name), message.ResourceSubject(r.Kind, r.Metadata.Name), body, s.users[by], change)
	}
	var last uint64
	for what, write := range map[string]func() uint64{
		"a viewer":                   func() uint64 { return write(bad, "vera", nil) },
		"nobody":                     func() uint64 { return write(bad, "", nil) },
		"a stranger as alice":        func() uint64 { return write(bad, untrusted, forged) },
		"a station":                  func() uint64 { return write(bad, "station-a", nil) },
		"an operator for a file":     func() uint64 { return write(file("extra", "map $a $bad {}\n"), "olga", nil) },
		"an operator for a new file": func() uint64 { return write(file("new", "map $a $bad {}\n"), "olga", nil) },
		"another name than the key's": func() uint64 {
			body, _ := json.Marshal(host("other", "", "bad"))
			return s.put("alice", subjects.Admin, subjects.Fleet, "VirtualHost.site", message.ResourceSubject("VirtualHost", "site"), body, s.users["alice"], nil)
		},
		"broken JSON": func() uint64 {
			return s.put("alice", subjects.Admin, subjects.Fleet, "VirtualHost.site", message.ResourceSubject("VirtualHost", "site"), []byte("{"), s.users["alice"], nil)
		},
		"a deletion of nobody": func() uint64 { // the mark alone, as `nats kv del` makes it
			return s.put("alice", subjects.Admin, subjects.Fleet, "VirtualHost.site", message.ResourceSubject("VirtualHost", "site"), nil, s.users["vera"],
				func(m *message.Message) { m.Operation = bus.Delete })
		},
	} {
		sequence := write()
		last = max(last, sequence)
		s.compiled(sequence)
		if d, _ := s.desired("ship1"); d.Revision != before.Revision || d.Digest != before.Digest {
			t.Fatalf("%s changed ship1 to %+v", what, d)
		}
	}
	stop()
	s.station(nil)
	s.compiled(last)
	if d, _ := s.desired("ship1"); d.Revision != before.Revision || d.Digest != before.Digest {
		t.Errorf("a new station has changed ship1 to %+v", d)
	}
	s.apply(bad) // and who may write it can repair it
	if d, _ := s.desired("ship1"); d.Revision != before.Revision+1 {
		t.Errorf("alice could not repair it: %+v", d)
	}
}

func TestAResourceThatWasDeletedStaysDeletedBehindGarbage(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	site := host("site", "", "x")
	s.apply(site)
	s.remove(site)
	sequence := s.put("alice", subjects.Admin, subjects.Fleet, "VirtualHost.site", message.ResourceSubject("VirtualHost", "site"), []byte("garbage"), nil, nil)
	s.compiled(sequence)
	stop()
	s.station(nil)
	s.compiled(sequence)
	if d, _ := s.desired("ship1"); d.Revision != 2 || len(d.Resources) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestADesiredStateOfAnotherHandIsWrittenAnewAndRevisionsOnlyGrow(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	s.apply(host("site", "", "x"))
	s.apply(host("site", "", "y"))
	write := func(body string, signer string, change func(*message.Message)) {
		s.put("station-a", subjects.Station, subjects.Desired, desiredKey("ship1"),
			message.DesiredSubject("ship1", handlers.MethodNginxConfig, "nginx"), []byte(body), s.users[signer], change)
	}
	good := func(revision uint64) bool {
		d, ok := s.desired("ship1")
		return ok && d.Revision == revision && len(d.Resources) == 1
	}
	write("{", "", nil)
	eventually(t, "broken JSON is replaced", func() bool { return good(3) })
	write(`{"revision":99,"digest":"x","resources":[]}`, untrusted, nil)
	eventually(t, "a forged one is replaced", func() bool { return good(4) })
	write("", "station-a", func(m *message.Message) { m.Operation = bus.Delete })
	eventually(t, "a deleted one is replaced", func() bool { return good(5) })
	stop()
	write("{", "", nil)
	stop = s.station(nil)
	eventually(t, "a new station replaces broken JSON", func() bool { return good(6) })
	stop()
	write("", "station-a", func(m *message.Message) { m.Operation = bus.Delete })
	s.station(nil)
	eventually(t, "a new station replaces a deleted one", func() bool { return good(7) })
}

func TestABrokenDocumentInAnyBucketStopsNothing(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	s.apply(host("site", "", "x"))
	garbage := []byte(`{"name": [`)
	for _, one := range []struct {
		as          string
		role        subjects.Role
		bucket, key string
	}{
		{"alice", subjects.Admin, subjects.Nodes, "ship1"}, {"alice", subjects.Admin, subjects.Nodes, "ghost"},
		{"alice", subjects.Admin, subjects.Fleet, "VirtualHost.broken"}, {"alice", subjects.Admin, subjects.Fleet, "VirtualHost.site"},
		{"station-a", subjects.Station, subjects.Desired, desiredKey("ship1")}, {"station-a", subjects.Station, subjects.Desired, "ghost.x"},
		{"ship1", subjects.Node, subjects.Reported, desiredKey("ship1")}, {"ship1", subjects.Node, subjects.Reported, "ship1.x"},
	} {
		s.put(one.as, one.role, one.bucket, one.key, subjects.Subject{}, garbage, nil, nil)
	}
	for range 2 {
		s.apply(host("more", "", "z"))
		nodes, _, err := s.client.Nodes(within(t), station.NodesQuestion{})
		if err != nil || len(nodes) != 1 || nodes[0].Name != "ship1" {
			t.Fatalf("%+v, %v", nodes, err)
		}
		eventually(t, "ship1 has both resources", func() bool { d, ok := s.desired("ship1"); return ok && len(d.Resources) == 2 })
		stop()
		stop = s.station(nil)
	}
}

func TestANodeThatCannotTakeTheNewestKeepsWhatItHas(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	s.apply(host("site", "", "x"))
	s.apply(proxy("broken", "kind=ship", "nowhere"))
	if n := s.node("ship1"); n.Sync != station.Unfit || !strings.Contains(n.Message, "VirtualHost/broken") || n.DesiredRevision != 1 {
		t.Errorf("ship1: %+v", n.NodeStatus)
	}
	if n := s.node("shop1"); n.Sync == station.Unfit || n.DesiredRevision != 1 {
		t.Errorf("shop1: %+v", n.NodeStatus)
	}
	s.apply(upstream("nowhere", "192.0.2.1:80"))
	if n := s.node("ship1"); n.Sync == station.Unfit || n.DesiredRevision != 2 {
		t.Errorf("ship1, repaired: %+v", n.NodeStatus)
	}
}

func TestAQuestionWaitsForItsChangeToBeCompiled(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	for i := range 10 {
		sequence := s.resource(host("site", "", strings.Repeat("x", i+1)), s.users["alice"])
		nodes := s.compiled(sequence)
		if len(nodes) != 1 || nodes[0].Revision != uint64(i+1) {
			t.Fatalf("after change %d: %+v", i+1, nodes)
		}
		d, _ := s.desired("ship1")
		if nodes[0].Digest != d.Digest || nodes[0].Command != station.CommandFor("ship1", d).ID {
			t.Fatalf("%+v is not %+v", nodes[0], d)
		}
	}
}
