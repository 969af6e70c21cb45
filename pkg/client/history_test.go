package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

var errEnough = errors.New("enough")

// audit reads the audit; an error of errEnough ends it.
func (s *site) audit(o client.AuditOptions, most int) (got []client.Record) {
	s.t.Helper()
	err := s.client.Audit(within(s.t), o, func(r client.Record) error {
		if got = append(got, r); len(got) == most {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		s.t.Fatal(err)
	}
	return got
}

func TestTheAuditIsChosenByNodeByCommandAndByTime(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	one, two := s.send("ship1", 2), s.send("ship2", 1)
	s.answer(one[0], message.Running, "ship1", nil)
	s.answer(one[0], message.Succeeded, "ship1", nil)
	s.answer(one[1], message.Succeeded, "ship2", nil) // a forgery: kept, and told as one
	s.answer(two[0], message.Succeeded, "ship2", nil)
	all := s.audit(client.AuditOptions{Follow: true}, 7)
	if len(all) != 7 {
		t.Fatalf("%d records", len(all))
	}
	for i, r := range all[1:] {
		if r.Sequence <= all[i].Sequence {
			t.Errorf("record %d is out of order", i+1)
		}
	}
	for _, r := range all {
		if forged := r.Message.Command == one[1].ID; r.Proven == forged {
			t.Errorf("%+v", r)
		}
	}
	ships := s.audit(client.AuditOptions{Node: "ship2"}, 0)
	if len(ships) != 2 || slices.ContainsFunc(ships, func(r client.Record) bool { return r.Message.Subject.Node != "ship2" }) {
		t.Errorf("ship2: %+v", ships)
	}
	story := s.audit(client.AuditOptions{ID: one[0].ID}, 0)
	if len(story) != 3 {
		t.Fatalf("one command's story has %d records", len(story))
	}
	var states []message.State
	for _, r := range story {
		states = append(states, r.Message.State)
	}
	slices.Sort(states)
	if !slices.Equal(states, []message.State{"", message.Running, message.Succeeded}) {
		t.Errorf("%v", states)
	}
	if late := s.audit(client.AuditOptions{Since: all[4].StoredAt}, 0); len(late) < 3 || len(late) == 7 {
		t.Errorf("since then: %d records", len(late))
	}
	if none := s.audit(client.AuditOptions{Since: time.Now().Add(time.Hour)}, 0); len(none) != 0 {
		t.Errorf("from the future: %+v", none)
	}
}

func TestTheAuditTellsWhoDidWhatInWhichRole(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	bob := s.open("bob")
	hers := s.send("ship1", 2)
	his, err := bob.Send(within(t), command("ship1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sent := range append(hers, his...) {
		s.answer(sent, message.Succeeded, "ship1", nil)
	}
	// Somebody else in her name.
	m := message.Message{Subject: command("ship1").Subject, ID: message.NewID(), From: "alice", Expires: time.Now().Add(time.Hour)}
	if err := m.Sign(s.users["bob"]); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Conn().Publish(within(t), m); err != nil {
		t.Fatal(err)
	}
	// A station that tells of her change, and a person who only says so.
	for _, from := range []string{"station-a", "bob"} {
		m := message.Message{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: "nginx"},
			ID: message.NewID(), From: from, Expires: time.Now().Add(time.Hour), Body: []byte(`{"by":"alice"}`)}
		if err := m.Sign(s.users[from]); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Conn().Publish(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	s.audit(client.AuditOptions{Follow: true}, 9)
	who := func(by string) (all []string) {
		for _, r := range s.audit(client.AuditOptions{By: by}, 0) {
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %v %s", r.Message.From, r.By, r.Role, r.Proven, r.For)))
		}
		slices.Sort(all)
		return all
	}
	node, forged := "ship1 ship1 node true", "alice bob admin false"
	for by, want := range map[string][]string{
		"alice":              {"alice alice admin true", "alice alice admin true", forged, node, node, "station-a station-a station true alice"},
		"bob":                {forged, "bob bob admin true", "bob bob admin true", node},
		s.users["alice"].Key: {"alice alice admin true", "alice alice admin true", node, node},
		"ship1":              {node, node, node},
		"carol":              nil,
	} {
		if got := who(by); !slices.Equal(got, want) {
			t.Errorf("by %s: %q, want %q", by, got, want)
		}
	}
}

func TestFollowingTheAuditBringsWhatComes(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	done := make(chan []client.Record, 1)
	before := s.send("ship1", 1)
	go func() { done <- s.audit(client.AuditOptions{Node: "ship1", Follow: true}, 3) }()
	behind := s.send("ship1", 2)
	got := <-done
	if len(got) != 3 || got[0].Message.ID != before[0].ID || got[2].Message.ID != behind[1].ID {
		t.Errorf("%+v", got)
	}
}

func TestLogsAreChosenByNodeAndTimeAndFollowed(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	for i := range 4 {
		s.log(fmt.Sprintf("ship%d", i%2+1), "nginx", fmt.Sprintf("line %d", i))
	}
	logs := func(o client.LogOptions, most int) (got []client.LogBatch) {
		t.Helper()
		err := s.client.Logs(within(t), o, func(b client.LogBatch) error {
			if got = append(got, b); len(got) == most {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			t.Error(err)
		}
		return got
	}
	all := logs(client.LogOptions{}, 0)
	if len(all) != 4 || all[0].Node != "ship1" || all[0].Domain != "nginx" || all[3].Records[0].Message != "line 3" || all[0].StoredAt.IsZero() {
		t.Fatalf("%+v", all)
	}
	if some := logs(client.LogOptions{Node: "ship2"}, 0); len(some) != 2 || some[0].Records[0].Message != "line 1" {
		t.Errorf("%+v", some)
	}
	if late := logs(client.LogOptions{Since: all[2].StoredAt}, 0); len(late) != 2 {
		t.Errorf("%d since then", len(late))
	}
	done := make(chan []client.LogBatch, 1)
	go func() { done <- logs(client.LogOptions{Node: "ship1", Since: all[3].StoredAt, Follow: true}, 1) }()
	s.log("ship1", "nginx", "line 4")
	if got := <-done; len(got) != 1 || got[0].Records[0].Message != "line 4" {
		t.Errorf("%+v", got)
	}
}

func TestWhatANodeTellsOfItsNginxIsFoundInTheAudit(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	tell := func(node, domain, event, text, signer string) {
		body, _ := json.Marshal(message.Lifecycle{Event: event, Message: text})
		m := message.Message{Subject: subjects.Subject{Node: node, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: domain},
			ID: message.NewID(), From: node, Body: body}
		if err := m.Sign(s.creds(signer, subjects.Node)); err != nil {
			t.Fatal(err)
		}
		s.publish(node, m)
	}
	tell("ship1", message.LifecycleDomain, message.LifecycleStarted, "", "ship1")
	tell("ship1", "nginx", "rolledback", "one", "ship1")
	tell("ship1", "nginx", "recovered", "two", "ship1")
	tell("ship2", "nginx", "recovered", "another's", "ship2")
	tell("ship1", "nginx", "healed", "a forgery", "ship2")
	var got []client.Happening
	eventually(t, "all are in the audit", func() bool {
		var err error
		if got, err = s.client.Happenings(within(t), "ship1", time.Time{}, 2); err != nil {
			t.Fatal(err)
		}
		return len(got) == 2 && got[1].Event == "healed"
	})
	if got[0].Event != "recovered" || got[0].Text != "two" || got[0].Domain != "nginx" || !got[0].Proven || got[1].Proven || got[1].At.IsZero() {
		t.Errorf("%+v", got)
	}
	n, err := s.client.Node(within(t), "ship1")
	if err != nil || n.Lifecycle.Event != message.LifecycleStarted {
		t.Errorf("an event of nginx stands for one of the agent: %+v, %v", n.Lifecycle, err)
	}
}
