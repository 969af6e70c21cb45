package client_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func host(name, selector, text string) string {
	return fmt.Sprintf("apiVersion: fairlead/v1\nkind: VirtualHost\nmetadata: {name: %s}\nspec:\n  selector: %q\n  listen: [{port: 8080}]\n"+
		"  serverNames: [%[1]s.example.org]\n  locations:\n  - {path: /, return: {code: 200, text: %[3]q}}\n---\n", name, selector, text)
}

func proxy(name, selector, upstream string) string {
	return fmt.Sprintf("apiVersion: fairlead/v1\nkind: VirtualHost\nmetadata: {name: %s}\nspec:\n  selector: %q\n  listen: [{port: 8080}]\n"+
		"  serverNames: [%[1]s.example.org]\n  locations:\n  - path: /\n    proxy: {upstream: %[3]s}\n---\n", name, selector, upstream)
}

func actions(p client.Plan) map[string]string {
	all := make(map[string]string)
	for _, r := range p.Resources {
		all[r.Resource] = r.Action
	}
	return all
}

func TestAPlanSaysWhatBecomesOfEachResourceAndNode(t *testing.T) {
	s := open(t)
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	p := s.plan(host("a", "kind=ship", "one") + host("b", "", "two"))
	if p.Changes() != 2 || actions(p)["VirtualHost/a"] != client.Create || len(p.Nodes) != 2 || !strings.Contains(p.Resources[0].Diff, "+") {
		t.Fatalf("%+v", p)
	}
	ships := p.Nodes[slices.IndexFunc(p.Nodes, func(n client.NodeChange) bool { return n.Nodes[0] == "ship1" })]
	if !slices.Equal(ships.Nodes, []string{"ship1", "ship2"}) || len(ships.Digest) != 64 || !strings.Contains(ships.Diff, "a.example.org") {
		t.Errorf("%+v", ships)
	}
	sent, unfit := s.carryOut(p)
	if len(sent) != 3 || len(unfit) != 0 {
		t.Fatalf("told %+v, unfit %v", sent, unfit)
	}
	for _, one := range sent {
		d, err := s.client.Desired(within(t), one.Node)
		if err != nil || d.Revision != 1 || one.Node != "shop1" && d.Digest != ships.Digest {
			t.Errorf("%s: %+v, %v", one.Node, d, err)
		}
		if a, err := s.client.Command(within(t), one.ID); err != nil || a.State != message.Published {
			t.Errorf("%s: %+v, %v", one.Node, a, err)
		}
	}
	p = s.plan(host("a", "kind=ship", "one") + host("b", "", "changed") + host("c", "kind=none", "nobody's"))
	if want := []string{`VirtualHost/c selects no node: none matches "kind=none"`}; !slices.Equal(p.Warnings, want) {
		t.Errorf("warned of %v, want %v", p.Warnings, want)
	}
	if a := actions(p); a["VirtualHost/a"] != client.Unchanged || a["VirtualHost/b"] != client.Update || a["VirtualHost/c"] != client.Create || p.Changes() != 2 {
		t.Errorf("%v", a)
	}
	if r := p.Resources[1]; r.By != "alice" || !strings.Contains(r.Diff, "-") || !strings.Contains(r.Diff, "changed") {
		t.Errorf("%+v", r)
	}
	s.carryOut(p)
	p = s.plan(host("a", "kind=ship", "one") + host("b", "", "changed") + host("c", "kind=none", "nobody's"))
	if p.Changes() != 0 || len(p.Nodes) != 0 {
		t.Errorf("applied once more: %+v", p)
	}
	done, err := s.client.Apply(within(t), p)
	if err != nil || done.Sequence != 0 {
		t.Errorf("nothing to do is %d, %v", done.Sequence, err)
	}
	if sent, unfit, err := s.client.Told(within(t), done); len(sent)+len(unfit) != 0 || err != nil {
		t.Errorf("%v %v %v", sent, unfit, err)
	}
}

func TestDeletingIsAPlanToo(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	s.apply(host("a", "", "one") + host("b", "", "two"))
	p, err := s.client.Plan(within(t), set(t, host("a", "", "one")+host("ghost", "", "x")), true)
	if err != nil {
		t.Fatal(err)
	}
	if a := actions(p); a["VirtualHost/a"] != client.Remove || a["VirtualHost/ghost"] != client.Unchanged || len(p.Nodes) != 1 {
		t.Fatalf("%+v", p)
	}
	s.carryOut(p)
	left, err := s.client.Resources(within(t), "", "")
	if err != nil || len(left) != 1 || left[0].ID() != "VirtualHost/b" || left[0].By != "alice" {
		t.Errorf("%+v, %v", left, err)
	}
	if p := s.plan(host("a", "", "again")); actions(p)["VirtualHost/a"] != client.Create {
		t.Errorf("%+v", p)
	} else {
		s.carryOut(p) // behind the mark of its deletion
	}
	if some, err := s.client.Resources(within(t), "VirtualHost", "a"); err != nil || len(some) != 1 {
		t.Errorf("%+v, %v", some, err)
	}
}

func TestAFaultCarriesFileAndLine(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	_, err := s.client.Plan(within(t), set(t, host("good", "", "x")+proxy("bad", "", "nowhere")), false)
	var faults fleet.Faults
	if !errors.As(err, &faults) || len(faults) != 1 {
		t.Fatalf("%v", err)
	}
	if f := faults[0]; f.File != "site.yaml" || f.Line != 20 || f.Subject != "VirtualHost/bad" || !strings.Contains(f.Message, "nowhere") {
		t.Errorf("%+v", f)
	}
}

func TestFaultsThatAreThereAlreadyStopNobodyElse(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	s.apply("apiVersion: fairlead/v1\nkind: Upstream\nmetadata: {name: app}\nspec: {servers: [{address: \"192.0.2.1:80\"}]}\n---\n" + proxy("theirs", "kind!=shop", "app"))
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	// Somebody takes the upstream away without asking for a plan.
	key := subjects.ResourceKey("Upstream", "app")
	s.removeUnasked(key, message.ResourceSubject("Upstream", "app"))
	eventually(t, "ship1 is unfit", func() bool { n, err := s.client.Node(within(t), "ship1"); return err == nil && n.Sync == "unfit" })

	p := s.plan(host("mine", "", "x"))
	if p.Changes() != 1 || len(p.Nodes) != 1 || !slices.Equal(p.Nodes[0].Nodes, []string{"shop1"}) {
		t.Errorf("%+v", p)
	}
	_, err := s.client.Plan(within(t), set(t, proxy("mine", "", "nowhere")), false)
	var faults fleet.Faults
	if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Subject != "VirtualHost/mine" || faults[0].Line == 0 {
		t.Errorf("only the new fault counts: %v", err)
	}
	if sent, unfit := s.carryOut(p); len(sent) != 1 || sent[0].Node != "shop1" || len(unfit) != 0 {
		t.Errorf("told %v, unfit %v", sent, unfit)
	}
}

func TestABrokenDocumentStopsNoPlan(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	s.apply(host("a", "", "one"))
	s.garbage(subjects.Fleet, "VirtualHost.a", "{")
	s.garbage(subjects.Fleet, "VirtualHost.b", "garbage")
	s.garbage(subjects.Nodes, "ghost", "[]")
	s.garbage(subjects.Desired, subjects.StateKey("ghost", "nginxconfig", "nginx"), "?")
	var p client.Plan
	eventually(t, "the station puts back what somebody signed", func() bool {
		p = s.plan(host("a", "", "one") + host("b", "", "two"))
		return actions(p)["VirtualHost/a"] == client.Unchanged
	})
	if a := actions(p); a["VirtualHost/b"] != client.Create {
		t.Errorf("%v", a)
	}
	s.carryOut(p)
	left, err := s.client.Resources(within(t), "", "")
	if err != nil || len(left) != 2 {
		t.Errorf("%+v, %v", left, err)
	}
}

func TestAPlanThatSomebodyOvertookIsAConflictAndChangesNothing(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	s.apply(host("a", "", "one"))
	mine := s.plan(host("a", "", "mine") + host("new", "", "mine"))
	bob := s.open("bob")
	theirs, err := bob.Plan(within(t), set(t, host("a", "", "theirs")), false)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Message = "they asked for it"
	if _, err := bob.Apply(within(t), theirs); err != nil {
		t.Fatal(err)
	}
	_, err = s.client.Apply(within(t), mine)
	kind(t, err, fleet.Conflict)
	var o *client.Overtaken
	if !errors.As(err, &o) || o.By != "alice" || len(o.Changes) != 1 {
		t.Fatalf("%v", err)
	}
	c := o.Changes[0]
	if c.Resource != "VirtualHost/a" || c.Base != 1 || len(c.Theirs) != 1 || c.Theirs[0].By != "bob" || c.Theirs[0].Revision != 2 || c.Same {
		t.Errorf("%+v", c)
	}
	for text, holds := range map[string][]string{c.TheirDiff: {"-        text: one", "+        text: theirs"}, c.YourDiff: {"-        text: one", "+        text: mine"},
		err.Error(): {"nothing was applied: somebody changed the same while alice planned this", "VirtualHost/a: changed by bob (admin), revision 2 of ", ", where both began from 1 (“they asked for it”)"}} {
		for _, one := range holds {
			if !strings.Contains(text, one) {
				t.Errorf("%q is not in:\n%s", one, text)
			}
		}
	}
	left, err := s.client.Resources(within(t), "", "")
	if err != nil || len(left) != 1 || left[0].By != "bob" {
		t.Errorf("%+v, %v", left, err)
	}

	// Two who make the same new one, and one who removes what another changes.
	first, second := s.plan(host("new", "", "x")), s.plan(host("new", "", "x"))
	s.done(s.client, first)
	_, err = bob.Apply(within(t), second)
	if !errors.As(err, &o) || !o.Changes[0].Same || o.Changes[0].Base != 0 || !strings.Contains(err.Error(), "created by alice (admin), revision 3 of ") {
		t.Errorf("%v", err)
	}
	gone, err := s.client.Plan(within(t), set(t, host("a", "", "")), true)
	if err != nil {
		t.Fatal(err)
	}
	s.because(s.client, "", host("a", "", "again"))
	_, err = s.client.Apply(within(t), gone)
	if !errors.As(err, &o) || o.Changes[0].Same || !strings.Contains(o.Changes[0].YourDiff, "-        text: theirs") || !strings.Contains(err.Error(), "changed by alice as well, from elsewhere, revision ") {
		t.Errorf("%v", err)
	}
}

func TestNodesThatCannotTakeAChangeAreToldApart(t *testing.T) {
	s := open(t)
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	s.nodes(map[string]string{"kind": "ship"}, "ship1")
	p := s.plan(host("a", "", "one") + host("b", "", "two"))
	// The plan was fit for both; what one of them has is changed before the station looks.
	s.unasked("VirtualHost.bad", message.ResourceSubject("VirtualHost", "bad"), strings.NewReplacer("\n", "").Replace(
		`{"apiVersion":"fairlead/v1","kind":"VirtualHost","metadata":{"name":"bad"},"spec":{"selector":"kind=ship","listen":[{"port":8080}],
"serverNames":["bad.example.org"],"locations":[{"path":"/","proxy":{"upstream":"nowhere"}}]}}`))
	sent, unfit := s.carryOut(p)
	if len(sent) != 1 || sent[0].Node != "shop1" || len(unfit) != 1 || !strings.Contains(unfit["ship1"], "nowhere") {
		t.Errorf("told %+v, unfit %v", sent, unfit)
	}
}
