package client_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// reports has a node write what it is; signer is whose key signs it.
func (s *site) reports(node, signer string, r handlers.Reported) {
	s.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.Message{Subject: message.ReportedSubject(node, handlers.MethodNginxConfig, "nginx"), ID: message.NewID(), From: node, Body: body}
	if err := m.Sign(s.users[signer]); err != nil {
		s.t.Fatal(err)
	}
	change := bus.Change{Key: subjects.StateKey(node, handlers.MethodNginxConfig, "nginx"), Document: m, Expect: bus.Any}
	if _, err := s.conn(node).Put(within(s.t), subjects.Reported, change); err != nil {
		s.t.Fatal(err)
	}
}

// says has a node answer the command of its newest desired state.
func (s *site) says(node string, state message.State, a message.Answer) nginx.Desired {
	s.t.Helper()
	d, err := s.client.Desired(within(s.t), node)
	if err != nil {
		s.t.Fatal(err)
	}
	if state == message.Succeeded {
		if a.Result, err = json.Marshal(nginx.Verdict{Revision: d.Revision, Digest: d.Digest}); err != nil {
			s.t.Fatal(err)
		}
	}
	command := station.CommandFor(node, d)
	m := message.NewAnswer(command, node, state, a)
	if err := m.Sign(s.users[node]); err != nil {
		s.t.Fatal(err)
	}
	s.publish(node, m)
	eventually(s.t, "the audit has it", func() bool { return len(s.audit(client.AuditOptions{ID: command.ID}, 0)) == 2 })
	return d
}

// now is a moment behind all that the broker has stored so far.
func (s *site) now() time.Time {
	s.t.Helper()
	_, now, err := s.client.Nodes(within(s.t), station.NodesQuestion{})
	if err != nil {
		s.t.Fatal(err)
	}
	mark := time.Now()
	if now.After(mark) {
		mark = now
	}
	// What comes next is stored later than this, however coarse the clock is.
	eventually(s.t, "time goes on", func() bool { return time.Now().After(mark.Add(time.Millisecond)) })
	return mark.Add(time.Millisecond)
}

// then is what a node was at a moment, in a line.
func (s *site) then(at time.Time, node string) string {
	s.t.Helper()
	all, err := s.client.At(within(s.t), at, client.PastQuestion{Names: []string{node}})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) != 1 {
		return fmt.Sprintf("%d nodes", len(all))
	}
	n := all[0]
	return strings.TrimSpace(fmt.Sprintf("%s: should %d by %s, ran %d. %s", n.Sync, n.DesiredRevision, n.By, n.RanRevision, n.Message))
}

func TestWhatANodeWasIsSaidByItsReportsAndTheAudit(t *testing.T) {
	s := open(t)
	before := s.now()
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2", "ship3")
	registered := s.now()
	s.because(s.client, "", host("a", "", "one"))
	desired := s.now()
	// ship1 reports, of ship2 there are answers alone, ship3 says nothing.
	one := s.says("ship1", message.Succeeded, message.Answer{})
	s.reports("ship1", "ship1", handlers.Reported{Revision: 1, ObservedRevision: 1, Status: handlers.StatusApplied, RunningDigest: one.Digest})
	s.says("ship2", message.Succeeded, message.Answer{})
	first := s.now()
	s.because(s.open("bob"), "", host("a", "", "two"))
	changed := s.now()
	s.reports("ship1", "ship1", handlers.Reported{Revision: 2, ObservedRevision: 1, Status: handlers.StatusFailed, RunningDigest: one.Digest, Message: "no"})
	s.says("ship2", message.FailedEnd, message.Answer{Message: "refused"})
	failed := s.now()
	s.reports("ship1", "ship2", handlers.Reported{Revision: 2, ObservedRevision: 2, Status: handlers.StatusApplied}) // another's word
	forged := s.now()
	s.nodes(map[string]string{"kind": "shop"}, "ship3")

	for i, row := range []struct {
		at   time.Time
		node string
		want string
	}{
		{before, "ship1", "0 nodes"},
		{registered, "ship1", "none: should 0 by , ran 0."},
		{desired, "ship1", "unknown: should 1 by alice, ran 0. nothing is kept of what it said before"},
		{first, "ship1", "in sync: should 1 by alice, ran 1."},
		{first, "ship2", "in sync: should 1 by alice, ran 1."},
		{first, "ship3", "unknown: should 1 by alice, ran 0. nothing is kept of what it said before"},
		{changed, "ship1", "pending: should 2 by bob, ran 1. the node has not taken the newest revision yet"},
		{changed, "ship2", "pending: should 2 by bob, ran 1. the node has not taken the newest revision yet"},
		{failed, "ship1", "failed: should 2 by bob, ran 1. no"},
		{failed, "ship2", "failed: should 2 by bob, ran 0. refused"},
		{forged, "ship1", "unknown: should 2 by bob, ran 0. its last report before is not proven"},
	} {
		if got := s.then(row.at, row.node); got != row.want {
			t.Errorf("%d: %s was %q, want %q", i, row.node, got, row.want)
		}
	}
	// Nodes are chosen by the labels that they had.
	for selector, want := range map[string]int{"kind=ship": 3, "kind=shop": 0, "": 3} {
		if all, err := s.client.At(within(t), forged, client.PastQuestion{Selector: selector}); err != nil || len(all) != want {
			t.Errorf("%q: %d nodes, %v", selector, len(all), err)
		}
	}
}

func TestWhatIsNotKeptOfTheLongAgoIsUnknown(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	s.because(s.client, "", host("a", "", "one"))
	one := s.says("ship1", message.Succeeded, message.Answer{})
	s.says("ship2", message.Succeeded, message.Answer{})
	s.happens("ship2", nginx.EventRolledBack)
	then := s.now()
	for range 9 { // the bucket keeps eight
		s.reports("ship1", "ship1", handlers.Reported{Revision: 1, ObservedRevision: 1, Status: handlers.StatusApplied, RunningDigest: one.Digest})
	}
	if got, want := s.then(then, "ship1"), "in sync: should 1 by alice, ran 1."; got != want {
		t.Errorf("by the audit: %q, want %q", got, want)
	}
	if got, want := s.then(then, "ship2"), "unknown: should 1 by alice, ran 0. revision 1 was taken back afterwards, and what ran then is not kept"; got != want {
		t.Errorf("taken back: %q, want %q", got, want)
	}
	key := subjects.StateKey("ship1", handlers.MethodNginxConfig, "nginx")
	other, err := bus.Connect(t.Context(), bus.Options{URL: s.url, Credentials: s.users["station-a"]})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 64 {
		if _, err := other.Put(within(t), subjects.Desired, bus.Change{Key: key, Document: message.Message{Body: []byte("{}")}, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.then(then, "ship1"); !strings.HasPrefix(got, "unknown: should 0 by , ran ") || !strings.Contains(got, "its desired state of then is not kept any more") {
		t.Errorf("%q", got)
	}
}

// happens has a node tell of its nginx.
func (s *site) happens(node, event string) {
	s.t.Helper()
	body, err := json.Marshal(message.Lifecycle{Event: event})
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.Message{Subject: subjects.Subject{Node: node, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: "nginx"},
		ID: message.NewID(), From: node, Body: body}
	if err := m.Sign(s.users[node]); err != nil {
		s.t.Fatal(err)
	}
	s.publish(node, m)
	eventually(s.t, "the audit has it", func() bool {
		all, err := s.client.Happenings(within(s.t), node, time.Time{}, 10)
		return err == nil && len(all) > 0
	})
}
