package client_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// because applies a set with a message and waits for the station.
func (s *site) because(by *client.Client, why, text string) uint64 {
	s.t.Helper()
	p, err := by.Plan(within(s.t), set(s.t, text), false)
	if err != nil {
		s.t.Fatal(err)
	}
	p.Message = why
	return s.done(by, p)
}

func (s *site) done(by *client.Client, p client.Plan) uint64 {
	s.t.Helper()
	done, err := by.Apply(within(s.t), p)
	if err == nil {
		_, _, err = by.Told(within(s.t), done)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return done.Sequence
}

func (s *site) history(name string) []client.Revision {
	s.t.Helper()
	all, err := s.client.History(within(s.t), "VirtualHost", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func TestAHistorySaysWhoDidWhatAndWhyAndWhatIsNotProven(t *testing.T) {
	s := open(t)
	bob := s.open("bob")
	first := s.because(s.client, "the shop opens", host("a", "", "one")+host("b", "", "one"))
	s.because(bob, "", host("a", "", "two"))
	// Somebody who is nobody's, in alice's name, and what nobody signed at all.
	m := message.Message{Subject: message.ResourceSubject("VirtualHost", "a"), ID: message.NewID(), From: "alice", Body: []byte("{}")}
	if err := m.Sign(stranger(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Conn().Put(within(t), subjects.Fleet, bus.Change{Key: "VirtualHost.a", Document: m, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
	p, err := s.client.Plan(within(t), set(t, host("a", "", "")), true)
	if err != nil {
		t.Fatal(err)
	}
	p.Message = "it has closed"
	s.done(s.client, p)
	last := s.because(bob, "it opens again", host("a", "", "three"))

	var got []string
	for _, r := range s.history("a") {
		if !r.Proven && !strings.Contains(r.Problem, "nobody is known who has the key") {
			t.Errorf("the problem is %q", r.Problem)
		}
		got = append(got, fmt.Sprintf("%s %s %s %v %v %s", r.Action, r.By, r.Role, r.Proven, r.Now, r.Message))
	}
	want := []string{"create alice admin true false the shop opens", "update bob admin true false ", "update alice  false false ",
		"delete alice admin true false it has closed", "create bob admin true true it opens again"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	all := s.history("a")
	if all[0].Revision != first-1 || all[4].Revision != last || all[0].Change == "" || all[0].Change != s.history("b")[0].Change || all[1].Change == all[0].Change {
		t.Errorf("%+v", all)
	}
	step, err := s.client.Step(within(t), first)
	if err != nil || len(step) != 2 || step[0].Resource != "VirtualHost/a" || step[1].Resource != "VirtualHost/b" {
		t.Errorf("one step is %+v, %v", step, err)
	}
	if _, err := s.client.Step(within(t), all[2].Revision); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("what is not proven: %v", err)
	}
	_, err = s.client.History(within(t), "VirtualHost", "never")
	kind(t, err, fleet.Unknown)
	_, err = s.client.Revision(within(t), "VirtualHost", "a", 99)
	kind(t, err, fleet.Unknown)
	if !strings.Contains(fmt.Sprint(err), "has no revision 99 that is kept") {
		t.Error(err)
	}
}

func TestWhatAStationPutBackIsToldApart(t *testing.T) {
	s := open(t)
	first := s.because(s.client, "", host("a", "", "one"))
	s.garbage(subjects.Fleet, "VirtualHost.a", "{")
	var all []client.Revision
	eventually(t, "the station puts it back", func() bool { all = s.history("a"); return len(all) == 3 })
	if r := all[2]; r.Again != first || !r.Proven || !r.Now || r.By != "alice" || all[1].Proven || all[1].By != "" {
		t.Errorf("%+v", all)
	}
}

// ends answers the command that told a node of its newest desired state.
func (s *site) ends(node string, state message.State) nginx.Desired {
	s.t.Helper()
	d, err := s.client.Desired(within(s.t), node)
	if err != nil {
		s.t.Fatal(err)
	}
	m := station.CommandFor(node, d)
	s.answer(client.Sent{ID: m.ID, Subject: m.Subject.String(), Node: node}, state, node, nil)
	eventually(s.t, "the audit has it", func() bool {
		return len(s.audit(client.AuditOptions{ID: m.ID}, 0)) == 2
	})
	return d
}

func TestANodesHistorySaysWhatEachRevisionCameTo(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	bob := s.open("bob")
	s.because(s.client, "the first", host("a", "", "one"))
	s.ends("ship1", message.Succeeded)
	two := s.because(bob, "the second", host("b", "", "two"))
	s.ends("ship1", message.FailedEnd)
	s.because(s.client, "", host("a", "", "three"))
	newest, err := s.client.Desired(within(t), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the audit has the last command", func() bool {
		return len(s.audit(client.AuditOptions{ID: station.CommandFor("ship1", newest).ID}, 0)) == 1
	})

	all, err := s.client.NodeHistory(within(t), "ship1")
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, want := range []client.NodeRevision{
		{Revision: 1, By: "alice", Message: "the first", Change: "VirtualHost/a", Cause: 1, State: message.Succeeded, Answer: "done", Resources: 1,
			Changes: []client.ResourceMade{{Resource: "VirtualHost/a", Action: client.Create}}},
		{Revision: 2, By: "bob", Message: "the second", Change: "VirtualHost/b", Cause: two, State: message.FailedEnd, Answer: "done", Resources: 2,
			Changes: []client.ResourceMade{{Resource: "VirtualHost/b", Action: client.Create}}},
		{Revision: 3, By: "alice", Change: "VirtualHost/a", Cause: two + 1, State: message.Published, Resources: 2,
			Changes: []client.ResourceMade{{Resource: "VirtualHost/a", Action: client.Update}}},
	} {
		got := all[i]
		if got.Command == "" || len(got.Digest) != 64 || !got.Proven || got.At.IsZero() || got.Ended.IsZero() == got.State.Final() || got.Fleet != got.Cause || got.Changed.IsZero() {
			t.Errorf("%+v", got)
		}
		got.Command, got.Digest, got.Proven, got.At, got.Ended, got.Fleet, got.Changed = "", "", false, want.At, want.Ended, 0, want.Changed
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	_, err = s.client.NodeHistory(within(t), "ship9")
	kind(t, err, fleet.Unknown)

	// What no station wrote is kept by the bucket, and told as that.
	s.garbage(subjects.Desired, subjects.StateKey("ship1", handlers.MethodNginxConfig, "nginx"), `{"revision":9}`)
	all, err = s.client.NodeHistory(context.WithoutCancel(within(t)), "ship1")
	if err != nil || len(all) < 4 || all[3].Proven || all[3].Problem == "" || all[3].State != "" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestANodesHistoryNamesAllThatWasChangedInOneStep(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	changes := func() []client.ResourceMade {
		t.Helper()
		all, err := s.client.NodeHistory(within(t), "ship1")
		if err != nil || len(all) == 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[len(all)-1].Changes
	}
	s.because(s.client, "", host("a", "", "one")+host("b", "", "one")+host("c", "", "one"))
	want := []client.ResourceMade{{Resource: "VirtualHost/a", Action: client.Create}, {Resource: "VirtualHost/b", Action: client.Create}, {Resource: "VirtualHost/c", Action: client.Create}}
	if got := changes(); !slices.Equal(got, want) {
		t.Errorf("of three new ones: %v", got)
	}
	// One that is as it was is not named; one whose selector leaves the node out is gone for it.
	s.because(s.client, "", host("a", "", "two")+host("b", "", "one")+host("c", "role=other", "one"))
	want = []client.ResourceMade{{Resource: "VirtualHost/a", Action: client.Update}, {Resource: "VirtualHost/c", Action: client.Remove}}
	if got := changes(); !slices.Equal(got, want) {
		t.Errorf("of two that were changed: %v", got)
	}
}

func (s *site) text(name string) string {
	s.t.Helper()
	found, err := s.client.Resources(within(s.t), "VirtualHost", name)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(found) == 0 {
		return ""
	}
	return found[0].Spec.(*fleet.VirtualHost).Locations[0].Return.Text
}

func TestARollbackIsANewRevision(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	one := s.because(s.client, "", host("a", "", "one"))
	was, err := s.client.Desired(within(t), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	s.because(s.client, "", host("a", "", "two"))
	roll := func(to uint64) uint64 {
		t.Helper()
		p, err := s.client.Rollback(within(t), "VirtualHost", "a", to)
		if err != nil {
			t.Fatal(err)
		}
		return s.done(s.client, p)
	}
	back := roll(one)
	all := s.history("a")
	if r := all[2]; r.Revision != back || r.Message != "back to revision 1" || !r.Now || r.Action != client.Update || s.text("a") != "one" {
		t.Errorf("%+v", all)
	}
	if d, err := s.client.Desired(within(t), "ship1"); err != nil || d.Digest != was.Digest || d.Revision != 3 || d.Message != "back to revision 1" {
		t.Errorf("%+v, %v", d, err)
	}
	if roll(one) != 0 {
		t.Error("what is so already was changed")
	}
	roll(0)
	if s.text("a") != "two" {
		t.Errorf("before the last change it was %q", s.text("a"))
	}
	gone, err := s.client.Plan(within(t), set(t, host("a", "", "")), true)
	if err != nil {
		t.Fatal(err)
	}
	removal := s.done(s.client, gone)
	roll(back)
	if s.text("a") != "one" {
		t.Error("what was removed did not come back")
	}
	roll(removal)
	if s.text("a") != "" {
		t.Error("it is not removed again")
	}
	s.because(s.client, "", host("new", "", "one"))
	_, err = s.client.Rollback(within(t), "VirtualHost", "new", 0)
	kind(t, err, fleet.Unknown)
	if !strings.Contains(fmt.Sprint(err), "`fairlead delete VirtualHost new` removes it") {
		t.Error(err)
	}
	s.garbage(subjects.Fleet, "VirtualHost.new", "{}")
	newest := s.history("new")
	_, err = s.client.Rollback(within(t), "VirtualHost", "new", newest[1].Revision)
	kind(t, err, fleet.Refused)
}

func TestAStepIsTakenBackAsAWhole(t *testing.T) {
	s := open(t)
	s.because(s.client, "", host("a", "", "one")+host("b", "", "one"))
	step := s.because(s.client, "", host("a", "", "two")+host("new", "", "two"))
	p, err := s.client.TakeBack(within(t), step-1)
	if err != nil {
		t.Fatal(err)
	}
	if a := actions(p); len(a) != 2 || a["VirtualHost/a"] != client.Update || a["VirtualHost/new"] != client.Remove {
		t.Errorf("%v", a)
	}
	s.done(s.client, p)
	if s.text("a") != "one" || s.text("new") != "" || s.text("b") != "one" {
		t.Error("it is not as it was")
	}
	bob := s.open("bob")
	step = s.because(s.client, "", host("a", "", "three")+host("b", "", "three"))
	s.because(bob, "mine", host("b", "", "four"))
	_, err = s.client.TakeBack(within(t), step)
	kind(t, err, fleet.Conflict)
	if !strings.Contains(fmt.Sprint(err), "VirtualHost/b was changed again since, by bob with revision") || !strings.Contains(fmt.Sprint(err), "(“mine”)") {
		t.Error(err)
	}
}

func TestTwoPointsOfTheFleetAreCompared(t *testing.T) {
	s := open(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	one := s.because(s.client, "", host("a", "kind=ship", "one")+host("b", "", "one"))
	two := s.because(s.open("bob"), "", host("a", "kind=ship", "two")+host("c", "kind=shop", "two"))
	gone, err := s.client.Plan(within(t), set(t, host("b", "", "")), true)
	if err != nil {
		t.Fatal(err)
	}
	three := s.done(s.client, gone)
	between := func(from, to uint64, kind, name string) (says string) {
		t.Helper()
		b, err := s.client.Between(within(t), from, to, kind, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Resources {
			says += fmt.Sprintf("%s %s by %s, ", r.Action, r.Resource, r.By)
		}
		for _, n := range b.Nodes {
			if n.Diff == "" || n.Digest == n.Before {
				t.Errorf("%+v", n)
			}
			says += strings.Join(n.Nodes, "+") + " "
		}
		return says + strings.Join(b.NotKept, ",")
	}
	for _, row := range []struct {
		from, to   uint64
		kind, name string
		want       string
	}{
		{one, two, "", "", "update VirtualHost/a by bob, create VirtualHost/c by bob, ship1+ship2 shop1 "},
		{one, 0, "", "", "update VirtualHost/a by bob, delete VirtualHost/b by , create VirtualHost/c by bob, ship1+ship2 shop1 "},
		{three, one, "", "", "update VirtualHost/a by alice, create VirtualHost/b by alice, delete VirtualHost/c by , ship1+ship2 shop1 "},
		{one, 0, "VirtualHost", "a", "update VirtualHost/a by bob, ship1+ship2 "},
		{two, 0, "VirtualHost", "a", ""},
		{two, two, "", "", ""},
		{1, two, "VirtualHost", "b", "create VirtualHost/b by alice, ship1+ship2 shop1 "},
	} {
		if got := between(row.from, row.to, row.kind, row.name); got != row.want {
			t.Errorf("from %d to %d %s: %q, want %q", row.from, row.to, row.name, got, row.want)
		}
	}
	for _, beyond := range []uint64{0, three + 1} {
		_, err = s.client.Between(within(t), beyond, 0, "", "")
		kind(t, err, fleet.Invalid)
	}
	_, err = s.client.Between(within(t), one, 0, "VirtualHost", "never")
	kind(t, err, fleet.Unknown)

	// The bucket keeps so many revisions of a key and no more.
	for i := range 64 {
		s.unasked("VirtualHost.a", message.ResourceSubject("VirtualHost", "a"), strings.NewReplacer("\n", "").Replace(fmt.Sprintf(
			`{"apiVersion":"fairlead/v1","kind":"VirtualHost","metadata":{"name":"a"},"spec":{"selector":"","listen":[{"port":8080}],
"serverNames":["a.example.org"],"locations":[{"path":"/","return":{"code":200,"text":"%d"}}]}}`, i)))
	}
	if got := between(one, three, "", ""); !strings.HasSuffix(got, " VirtualHost/a") {
		t.Errorf("what is not kept: %q", got)
	}
}
