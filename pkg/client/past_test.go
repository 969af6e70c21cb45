package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/identity"
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

// crowd registers nodes that all have one key, and lets it speak for them.
func (s *site) crowd(count int) (names []string, key *identity.Credentials, conn *bus.Conn) {
	s.t.Helper()
	key = s.creds("crowd", subjects.Node)
	var records []station.NodeRecord
	for i := range count {
		names = append(names, fmt.Sprintf("n%04d", i))
		records = append(records, station.NodeRecord{Name: names[i], Key: key.PublicKey(), Since: time.Now()})
	}
	if err := s.client.Register(within(s.t), records...); err != nil {
		s.t.Fatal(err)
	}
	conn, err := bus.Connect(s.t.Context(), bus.Options{URL: s.url, Credentials: s.users["station-a"]}) // no node may speak for another
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return names, key, conn
}

// Of thousands of nodes of which no report is kept, the audit tells it in a few
// questions, also where the last word of some is no end, or comes after one.
func TestTheAuditTellsOfThousandsWhatTheyWere(t *testing.T) {
	s := open(t)
	const count = 600 // a question takes 256
	names, key, conn := s.crowd(count)
	s.because(s.client, "", host("a", "", "one"))
	desired := make(map[string]nginx.Desired)
	eventually(t, "all are compiled", func() bool {
		err := s.client.Conn().Entries(within(t), subjects.Desired, subjects.StateKey("*", handlers.MethodNginxConfig, "nginx"), func(e bus.Entry) error {
			name, _, _ := strings.Cut(e.Key, ".")
			text, err := e.Plain(message.DesiredSubject(name, handlers.MethodNginxConfig, "nginx"))
			if err != nil {
				return err
			}
			var d nginx.Desired
			err = json.Unmarshal(text, &d)
			desired[name] = d
			return err
		})
		return err == nil && len(desired) == count
	})
	var said []message.Message
	say := func(m message.Message) {
		if err := m.Sign(key); err != nil {
			t.Fatal(err)
		}
		said = append(said, m)
	}
	for i, name := range names {
		d := desired[name]
		result, err := json.Marshal(nginx.Verdict{Revision: d.Revision, Digest: d.Digest})
		if err != nil {
			t.Fatal(err)
		}
		command := station.CommandFor(name, d)
		say(message.NewAnswer(command, name, message.Succeeded, message.Answer{Result: result}))
		if i%10 == 1 { // of another command
			d.Revision++
			again := station.CommandFor(name, d)
			say(message.NewAnswer(again, name, message.Accepted, message.Answer{}))
			say(message.NewAnswer(again, name, message.Running, message.Answer{}))
		}
		for _, event := range map[int][]string{2: {nginx.EventRolledBack, nginx.EventResumed}, 3: {nginx.EventResumed}}[i%10] {
			body, err := json.Marshal(message.Lifecycle{Event: event})
			if err != nil {
				t.Fatal(err)
			}
			say(message.Message{Subject: subjects.Subject{Node: name, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: "nginx"},
				ID: message.NewID(), From: name, Body: body})
		}
	}
	if err := errors.Join(conn.PublishAll(within(t), said)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the audit has it", func() bool {
		state, err := s.client.Conn().State(within(t), subjects.Audit)
		return err == nil && state.Messages >= uint64(len(said)+count)
	})
	then := s.now()
	all, err := s.client.At(within(t), then, client.PastQuestion{})
	if err != nil || len(all) != count {
		t.Fatalf("%d nodes, %v", len(all), err)
	}
	for i, n := range all {
		want := fmt.Sprintf("%s %s ran 1 ", names[i], station.InSync)
		if i%10 == 2 {
			want = fmt.Sprintf("%s %s ran 0 revision 1 was taken back afterwards, and what ran then is not kept", names[i], station.Unsaid)
		}
		if got := fmt.Sprintf("%s %s ran %d %s", n.Name, n.Sync, n.RanRevision, n.Message); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	// Before the change nothing was due, and before that there was nobody.
	for _, row := range []struct {
		at   time.Time
		want int
	}{{desired[names[0]].At.Add(-time.Millisecond), count}, {time.Unix(1e9, 0), 0}} {
		all, err := s.client.At(within(t), row.at, client.PastQuestion{})
		if err != nil || len(all) != row.want {
			t.Errorf("at %s: %d nodes, %v", row.at, len(all), err)
		}
		for _, n := range all {
			if n.Sync != station.NoneDue {
				t.Fatalf("%+v", n)
			}
		}
	}
}
