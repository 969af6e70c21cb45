package client_test

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
	"fairlead/subjects"
)

func states(outcomes []client.Outcome) string {
	var all []string
	for _, o := range outcomes {
		all = append(all, o.Node+" "+string(o.State))
	}
	return strings.Join(all, ", ")
}

func TestAnOrderIsToldAgainstTheNodesThatWereMeant(t *testing.T) {
	s := open(t)
	s.nodes(nil, "a", "b", "c", "d", "e")
	o := client.NewOrder([]string{"c", "a", "b", "d", "a"}, "-l role=edge", "reload", "nginx", time.Hour)
	if err := s.client.Keep(within(t), o); err != nil {
		t.Fatal(err)
	}
	commands := client.Commands(o, nil)
	sent, err := s.client.Send(within(t), commands[:3]...) // as if the sender had ended there
	if err != nil || len(sent) != 3 || sent[0].Order != o.ID {
		t.Fatalf("%+v, %v", sent, err)
	}
	s.answer(sent[0], message.Succeeded, "a", nil)
	s.answer(sent[1], message.Running, "b", nil)

	// Another person, later, at another host.
	other := s.open("vera")
	again, err := other.FindOrder(within(t), o.ID)
	if err != nil || again.By != "alice" || again.Chosen != "-l role=edge" || again.At.IsZero() || !slices.Equal(again.Nodes, []string{"a", "b", "c", "d"}) ||
		!again.Expires.Equal(o.Expires) {
		t.Fatalf("%+v, %v", again, err)
	}
	outcomes, err := other.Outcomes(within(t), again)
	if got, want := states(outcomes), "a succeeded, b running, c published, d unsent"; err != nil || got != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	if outcomes[0].ID != sent[0].ID || outcomes[0].Answer.Message != "done" || outcomes[2].At.IsZero() {
		t.Errorf("%+v", outcomes)
	}
	all, err := other.Orders(within(t), time.Time{})
	if err != nil || len(all) != 1 || all[0].ID != o.ID {
		t.Errorf("%+v, %v", all, err)
	}
	var audit []string
	want := []string{"a.command.reload.nginx", "a.event.ack.reload", "b.command.reload.nginx", "b.event.ack.reload", "c.command.reload.nginx"}
	eventually(t, "the audit has the order's commands and their answers", func() bool {
		audit = nil
		err = other.Audit(within(t), client.AuditOptions{Order: o.ID}, func(r client.Record) error {
			audit = append(audit, r.Message.Subject.String())
			return nil
		})
		slices.Sort(audit)
		return err == nil && slices.Equal(audit, want)
	})
}

func TestAnOrderIsWhatItsSenderSigned(t *testing.T) {
	s := open(t)
	s.nodes(nil, "a", "b")
	o := client.NewOrder([]string{"a"}, "", "reload", "nginx", 0)
	if err := s.client.Keep(within(t), o); err != nil {
		t.Fatal(err)
	}
	kind(t, s.client.Keep(within(t), o), fleet.Conflict)
	// Another document in its place: the first one counts.
	o.Nodes = []string{"b"}
	m, err := message.SignOrder(o, "bob", s.creds("bob", subjects.Admin))
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.conn("bob").First(within(t), subjects.Orders, subjects.OrderSubject(o.ID))
	if err != nil || first == nil {
		t.Fatal(err)
	}
	if _, err := s.conn("bob").Append(within(t), subjects.OrderSubject(o.ID), m, first.Sequence); err != nil {
		t.Fatal(err)
	}
	got, err := s.client.FindOrder(within(t), o.ID)
	if err != nil || got.By != "alice" || !slices.Equal(got.Nodes, []string{"a"}) {
		t.Errorf("%+v, %v", got, err)
	}
	// Nobody's, and one that says it is another.
	stranger := client.NewOrder([]string{"a"}, "", "reload", "nginx", 0)
	if m, err = message.SignOrder(stranger, "a", s.creds("a", subjects.Node)); err == nil {
		_, err = s.conn("alice").Append(within(t), subjects.OrderSubject(stranger.ID), m, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.client.FindOrder(within(t), stranger.ID)
	kind(t, err, fleet.Refused)
	if all, err := s.client.Orders(within(t), time.Time{}); err != nil || len(all) != 1 || all[0].By != "alice" {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = s.client.FindOrder(within(t), message.NewID())
	kind(t, err, fleet.Unknown)
	_, err = s.client.FindOrder(within(t), "nonsense")
	kind(t, err, fleet.Invalid)
}

func TestAnOrderHoldsThousandsOfNodes(t *testing.T) {
	s := open(t)
	var nodes []string
	for i := range 2_000 {
		nodes = append(nodes, fmt.Sprintf("a-rather-long-name-of-an-edge-node-in-a-large-fleet-%05d", i))
	}
	o := client.NewOrder(nodes, "--all", "reload", "nginx", 0)
	if err := s.client.Keep(within(t), o); err != nil {
		t.Fatal(err)
	}
	got, err := s.client.FindOrder(within(t), o.ID)
	if err != nil || !slices.Equal(got.Nodes, nodes) {
		t.Errorf("%d nodes, %v", len(got.Nodes), err)
	}
	outcomes, err := s.client.Outcomes(within(t), got)
	if err != nil || len(outcomes) != len(nodes) || outcomes[1_999].State != client.Unsent {
		t.Errorf("%d outcomes, %v", len(outcomes), err)
	}
}

// A ship that returns after a week must not find the command and no cancellation.
func TestACancellationWaitsLongerThanItsCommand(t *testing.T) {
	for _, left := range []time.Duration{time.Minute, 6 * 24 * time.Hour, 20 * 24 * time.Hour, 29 * 24 * time.Hour} {
		c, err := client.CallOff(station.Waiting{ID: "x", Subject: "ship1.command.reload.nginx", Expires: time.Now().Add(left)})
		if err != nil || c.Expires <= left || c.Expires > subjects.MaxCommandAge || c.Subject.String() != "ship1.command.cancel.reload" {
			t.Errorf("a command with %s left is called off by one with %s: %+v, %v", left, c.Expires, c, err)
		}
		var body handlers.CancelBody
		if json.Unmarshal(c.Body, &body) != nil || body.ID != "x" {
			t.Errorf("%s", c.Body)
		}
	}
}

func TestWaitingCommandsAreFoundByWhatTheyAre(t *testing.T) {
	s := open(t)
	s.nodes(nil, "a", "b")
	o := client.NewOrder([]string{"a", "b"}, "", "reload", "nginx", 0)
	if err := s.client.Keep(within(t), o); err != nil {
		t.Fatal(err)
	}
	ordered, err := s.client.Send(within(t), client.Commands(o, nil)...)
	if err != nil {
		t.Fatal(err)
	}
	health, err := s.client.Send(within(t), client.Command{Subject: subjects.Subject{Node: "b", Direction: subjects.Command, Method: "healthreport", Domain: "nginx"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		q    station.WaitingQuestion
		want []string
	}{
		{station.WaitingQuestion{}, []string{ordered[0].ID, ordered[1].ID, health[0].ID}},
		{station.WaitingQuestion{Names: []string{"b"}}, []string{ordered[1].ID, health[0].ID}},
		{station.WaitingQuestion{Method: "reload"}, []string{ordered[0].ID, ordered[1].ID}},
		{station.WaitingQuestion{Order: o.ID, Names: []string{"a"}}, []string{ordered[0].ID}},
		{station.WaitingQuestion{Older: time.Hour}, nil},
	} {
		found, now, err := s.client.CommandsWaiting(within(t), test.q)
		var ids []string
		for _, w := range found {
			ids = append(ids, w.ID)
		}
		if err != nil || now.IsZero() || !slices.Equal(ids, test.want) {
			t.Errorf("%+v: %v (%v), want %v", test.q, ids, err, test.want)
		}
	}
}
