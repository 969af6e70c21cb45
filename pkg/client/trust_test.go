package client_test

import (
	"encoding/json"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// spread stores what the authority says now.
func (s *site) spread() {
	s.t.Helper()
	m, err := s.authority.TrustSet()
	var lists [][]byte
	if err == nil {
		lists, err = s.authority.RevokedNodes()
	}
	if err == nil {
		err = s.client.Conn().PutTrust(within(s.t), m, lists...)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// by is a command that somebody signed, as it was stored at a moment.
func (s *site) by(name string, at time.Time) message.Delivery {
	s.t.Helper()
	m := message.Message{Subject: command("ship1").Subject, ID: message.NewID(), From: name, Expires: time.Now().Add(time.Hour)}
	if err := m.Sign(s.users[name]); err != nil {
		s.t.Fatal(err)
	}
	return message.Delivery{Message: m, StoredAt: at}
}

func TestWhoHasATrustSetBelievesWhomItNamesAndFollowsIt(t *testing.T) {
	s := open(t)
	pinned, err := s.authority.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	s.creds("mallory", subjects.Admin) // who has a place at the broker
	c, err := client.Open(within(t), client.Options{URL: s.url, Credentials: s.users["alice"], Trust: pinned})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	proven := func(d message.Delivery) bool { return c.Proven(within(t), d) }
	if !proven(s.by("bob", time.Now())) || proven(s.by("mallory", time.Now())) {
		t.Error("bob is not believed, or mallory is")
	}

	// The register is believed for what somebody wrote who may.
	body, err := json.Marshal(station.NodeRecord{Name: "ship1", Key: s.creds("ship1", subjects.Node).Key})
	if err != nil {
		t.Fatal(err)
	}
	enter := func(by string) {
		t.Helper()
		m := message.Message{Subject: message.RegisterSubject("ship1"), ID: message.NewID(), From: by, Body: body}
		if err := m.Sign(s.users[by]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Conn().Put(within(t), subjects.Nodes, bus.Change{Key: "ship1", Document: m, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
	}
	answer := message.Delivery{Message: s.signedAnswer(client.Sent{Node: "ship1", ID: message.NewID(), Subject: "ship1.command.reload.nginx"}, message.Succeeded, "ship1"), StoredAt: time.Now()}
	enter("mallory")
	if proven(answer) {
		t.Error("a node is believed that a stranger registered")
	}
	enter("bob")
	if !proven(answer) {
		t.Error("a node is not believed that bob registered")
	}

	s.spread() // mallory is trusted now
	eventually(t, "mallory is believed", func() bool { return proven(s.by("mallory", time.Now())) })
	before := time.Now().Add(-time.Minute)
	old, later := s.by("bob", before), s.by("bob", time.Now().Add(time.Minute))
	if _, err := s.authority.Revoke("bob", "left"); err != nil {
		t.Fatal(err)
	}
	if err := s.authority.RevokeKeys("stolen", identity.User{Name: "ship1", Role: subjects.Node, Key: s.users["ship1"].Key}); err != nil {
		t.Fatal(err)
	}
	s.spread()
	eventually(t, "bob is not believed any more", func() bool { return !proven(later) })
	if !proven(old) {
		t.Error("what bob sent before is not believed any more")
	}
	if !proven(answer) {
		t.Error("what ship1 said before is not believed any more")
	}
	answer.StoredAt = time.Now().Add(time.Minute)
	if proven(answer) {
		t.Error("ship1 is believed although its key was taken back")
	}
}

// A trust set that is newer than the user's own is asked for, not waited for.
func TestTheNewestTrustSetIsReadBeforeSomethingIsProven(t *testing.T) {
	s := open(t)
	pinned, err := s.authority.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	d := s.by("bob", time.Now().Add(time.Minute))
	if _, err := s.authority.Revoke("bob", "left"); err != nil {
		t.Fatal(err)
	}
	s.spread()
	c, err := client.Open(within(t), client.Options{URL: s.url, Credentials: s.users["alice"], Trust: pinned})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Proven(within(t), d) {
		t.Error("bob is believed by the set of before")
	}
}
