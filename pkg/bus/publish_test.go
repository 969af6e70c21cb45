package bus_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestAMessageIsStoredOnceHoweverOftenItIsPublished(t *testing.T) {
	s := open(t)
	c := s.admin()
	m := s.command("ship1", "reload")
	if sequence := publish(t, c, m); sequence != 1 {
		t.Errorf("the sequence is %d", sequence)
	}
	for range 3 {
		if _, err := c.Publish(t.Context(), m); !errors.Is(err, bus.ErrExists) || fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("again: %v", err)
		}
	}
	pending, err := c.PublishAsync(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pending.Wait(within(t)); !errors.Is(err, bus.ErrExists) {
		t.Errorf("again, without waiting: %v", err)
	}
	if errs := c.PublishAll(within(t), []message.Message{m, m}); errors.Join(errs...) != nil {
		t.Errorf("again, with others: %v", errs)
	}
	items := all(t, c, subjects.Commands, bus.ReadOptions{})
	if len(items) != 1 {
		t.Fatalf("%d are stored", len(items))
	}
	d := message.Receive(items[0].Stored)
	if d.Fault != nil || d.Message.ID != m.ID || d.Message.CheckSignature() != nil {
		t.Errorf("stored is %+v", d)
	}
}

func TestAnAnswerThatCameInTimeIsOneHoweverLateItIsRead(t *testing.T) {
	s := open(t)
	c := s.admin()
	var all []*bus.Pending
	for range 33 {
		pending, err := c.PublishAsync(s.command("ship1", "reload"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pending)
	}
	if _, err := all[32].Wait(within(t)); err != nil { // the others came before it
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i, pending := range all[:32] {
		if sequence, err := pending.Wait(over); err != nil || sequence != uint64(i+1) {
			t.Fatalf("number %d: %d, %v", i+1, sequence, err)
		}
	}
}

// The broker's own check for duplicates looks at the id alone, in the whole
// stream. A node that guesses the id of another's answer must not silence it.
func TestTheSameIDOnAnotherSubjectIsAnotherMessage(t *testing.T) {
	s := open(t)
	id := message.NewID() + "-end"
	answer := func(node string) message.Message {
		m := s.event(node, subjects.MethodAck, "reload")
		m.ID = id
		return s.signed(node, subjects.Node, m)
	}
	publish(t, s.node("ship2"), answer("ship2"))
	publish(t, s.node("ship1"), answer("ship1"))
	pending, err := s.node("ship3").PublishAsync(answer("ship3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pending.Wait(within(t)); err != nil {
		t.Error(err)
	}
	if items := all(t, s.admin(), subjects.Events, bus.ReadOptions{}); len(items) != 3 {
		t.Errorf("%d of 3 answers are stored", len(items))
	}
}

func TestManyAreStoredInOrder(t *testing.T) {
	s := open(t)
	c := s.admin()
	ms := make([]message.Message, 6000) // more than may be under way at once
	for i := range ms {
		ms[i] = s.command("ship1", "reload")
	}
	if err := errors.Join(c.PublishAll(within(t), ms)...); err != nil {
		t.Fatal(err)
	}
	items := all(t, c, subjects.Commands, bus.ReadOptions{})
	if len(items) != len(ms) {
		t.Fatalf("%d are stored", len(items))
	}
	for i, item := range items {
		if item.Subject != ms[i].StoredSubject() {
			t.Fatalf("number %d is %s", i, item.Subject)
		}
	}
}

func TestWhatCannotBeStoredIsToldWithItsKind(t *testing.T) {
	s := open(t)
	c := s.admin()
	big := s.command("ship1", "reload")
	big.Body = bytes.Repeat([]byte("x"), 1<<20)
	if _, err := c.Publish(t.Context(), big); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("more than a payload: kind %s, %v", fleet.KindOf(err), err)
	}
	if _, err := c.PublishAsync(big); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("more than a payload, without waiting: kind %s, %v", fleet.KindOf(err), err)
	}
	unkept := s.event("ship1", "gossip", "nginx")
	if _, err := s.node("ship1").Publish(t.Context(), unkept); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("what no stream keeps: kind %s, %v", fleet.KindOf(err), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Publish(ended, s.command("ship1", "reload")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestWithoutABrokerAPublishFailsAtOnce(t *testing.T) {
	s := open(t)
	lost := make(chan struct{}, 1)
	c := s.connect(bus.Options{Credentials: s.credentials("alice", subjects.Admin), OnDisconnect: func(error) { lost <- struct{}{} }})
	s.stop()
	next(t, lost)
	if c.Connected() {
		t.Error("the connection stands")
	}
	if _, err := c.Publish(within(t), s.command("ship1", "reload")); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("publish: kind %s, %v", fleet.KindOf(err), err)
	}
	for _, err := range c.PublishAll(within(t), []message.Message{s.command("ship1", "reload"), s.command("ship1", "reload")}) {
		if fleet.KindOf(err) != fleet.Unavailable {
			t.Errorf("publish all: kind %s, %v", fleet.KindOf(err), err)
		}
	}
	if _, err := c.Get(within(t), subjects.Desired, "x"); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("get: kind %s, %v", fleet.KindOf(err), err)
	}
}

func TestHealthReportsAreKeptByTheLast(t *testing.T) {
	s := bare(t)
	if err := s.station().EnsureStorage(t.Context(), subjects.Settings{HealthKept: 2}); err != nil {
		t.Fatal(err)
	}
	ship1 := s.node("ship1")
	for range 5 {
		publish(t, ship1, s.event("ship1", subjects.MethodHealth, "nginx"))
	}
	items := all(t, s.admin(), subjects.Health, bus.ReadOptions{Filter: subjects.HealthOf("ship1")})
	if len(items) != 2 || items[1].Sequence != 5 {
		t.Errorf("kept are %v", items)
	}
}
