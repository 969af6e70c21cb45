package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// fill publishes commands to ship1, ship2, ship1, … and returns their ids.
func fill(t *testing.T, s *site, n int) (ids []string) {
	t.Helper()
	c := s.admin()
	ms := make([]message.Message, n)
	for i := range ms {
		ms[i] = s.command(fmt.Sprintf("ship%d", 1+i%2), "reload")
		ids = append(ids, ms[i].ID)
	}
	if err := errors.Join(c.PublishAll(within(t), ms)...); err != nil {
		t.Fatal(err)
	}
	return ids
}

func idsOf(items []bus.Item) (ids []string) {
	for _, i := range items {
		ids = append(ids, message.Receive(i.Stored).Message.ID)
	}
	return ids
}

func TestTheWholeStreamOrAPartIsReadInOrder(t *testing.T) {
	s := open(t)
	ids := fill(t, s, 2500) // more than one request brings
	c := s.admin()
	items := all(t, c, subjects.Commands, bus.ReadOptions{})
	if !slices.Equal(idsOf(items), ids) {
		t.Fatalf("%d of %d were read, or in another order", len(items), len(ids))
	}
	for i, item := range items {
		if item.Sequence != uint64(i+1) || item.At.IsZero() || message.Receive(item.Stored).Message.CheckSignature() != nil {
			t.Fatalf("number %d is %+v", i, item)
		}
	}
	if got := idsOf(all(t, c, subjects.Commands, bus.ReadOptions{After: 2490})); !slices.Equal(got, ids[2490:]) {
		t.Errorf("after 2490 come %d", len(got))
	}
	if got := idsOf(all(t, c, subjects.Commands, bus.ReadOptions{Since: items[2000].At})); !slices.Equal(got, ids[2000:]) {
		t.Errorf("since the 2,001st come %d", len(got))
	}
	if got := all(t, c, subjects.Commands, bus.ReadOptions{Filter: subjects.MailboxOf("ship2")}); len(got) != 1250 {
		t.Errorf("for ship2 come %d", len(got))
	}
	for _, o := range []bus.ReadOptions{{After: 2500}, {After: 9999}, {Since: time.Now().Add(time.Hour)}, {Filter: subjects.MailboxOf("ship3")},
		{Latest: true, Filter: subjects.MailboxOf("ship3")}} {
		if got := all(t, c, subjects.Commands, o); len(got) != 0 {
			t.Errorf("%+v reads %d", o, len(got))
		}
	}
}

func TestReadingAnEmptyStreamEndsOrFollows(t *testing.T) {
	s := open(t)
	c := s.admin()
	caught := 0
	if err := c.Read(within(t), subjects.Commands, bus.ReadOptions{CaughtUp: func() { caught++ }}, nil); err != nil || caught != 1 {
		t.Errorf("caught up %d times, %v", caught, err)
	}
	ids := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	caughtUp, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Read(ctx, subjects.Commands, bus.ReadOptions{Follow: true, Latest: true, CaughtUp: func() { close(caughtUp) }}, func(i bus.Item) error {
			ids <- message.Receive(i.Stored).Message.ID
			return nil
		})
	}()
	next(t, caughtUp)
	for _, id := range fill(t, s, 5) {
		if got := next(t, ids); got != id {
			t.Errorf("followed by %s, want %s", got, id)
		}
	}
	cancel()
	if err := next(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestTheLatestOfEachSubjectThenEveryChange(t *testing.T) {
	s := open(t)
	ship1, ship2 := s.node("ship1"), s.node("ship2")
	for range 3 {
		publish(t, ship1, s.event("ship1", subjects.MethodHealth, "nginx"))
		publish(t, ship2, s.event("ship2", subjects.MethodHealth, "nginx"))
	}
	seen, caughtUp := make(chan uint64, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	c := s.admin()
	go func() {
		ended <- c.Read(ctx, subjects.Health, bus.ReadOptions{Latest: true, Follow: true, CaughtUp: func() { close(caughtUp) }}, func(i bus.Item) error {
			seen <- i.Sequence
			return nil
		})
	}()
	next(t, caughtUp)
	for range 2 {
		publish(t, ship1, s.event("ship1", subjects.MethodHealth, "nginx"))
	}
	for _, want := range []uint64{5, 6, 7, 8} {
		if got := next(t, seen); got != want {
			t.Errorf("saw %d, want %d", got, want)
		}
	}
	cancel()
	next(t, ended)
}

func TestAHandlersErrorEndsTheRead(t *testing.T) {
	s := open(t)
	fill(t, s, 10)
	n := 0
	err := s.admin().Read(within(t), subjects.Commands, bus.ReadOptions{Follow: true}, func(bus.Item) error {
		if n++; n == 3 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || n != 3 {
		t.Errorf("ended after %d with %v", n, err)
	}
}

func TestReadingWhatIsNotThereIsToldAtOnce(t *testing.T) {
	s := bare(t)
	err := s.admin().Read(within(t), subjects.Commands, bus.ReadOptions{Follow: true}, nil)
	if fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("kind %s: %v", fleet.KindOf(err), err)
	}
}

// What is cleared while it is read will not come: the end must be seen.
func TestAReadEndsThoughTheRestWasCleared(t *testing.T) {
	s := open(t)
	fill(t, s, 2500)
	station := s.station()
	n := 0
	err := s.admin().Read(within(t), subjects.Commands, bus.ReadOptions{}, func(bus.Item) error {
		if n++; n == 1 {
			return station.Clear(within(t), 2501, nil)
		}
		return nil
	})
	if err != nil || n == 0 || n == 2500 {
		t.Errorf("ended after %d with %v", n, err)
	}
}

// A message that looks like a word of the broker's must not blind its readers.
func TestAMessageWithAStatusHeaderIsReadLikeAnyOther(t *testing.T) {
	s := open(t)
	nc := s.foreign("alice", subjects.Admin)
	statuses := []string{"100", "404", "408", "409", "503", "999"}
	for _, status := range statuses {
		msg := nats.NewMsg("ship1.command.reload.nginx")
		msg.Header = nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}, "Nats-Last-Consumer": {"77"}}
		if _, err := nc.RequestMsgWithContext(within(t), msg); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, s.admin(), subjects.Commands, bus.ReadOptions{}); len(got) != len(statuses) {
		t.Errorf("%d of %d were read", len(got), len(statuses))
	}
	got, _, err := s.node("ship1").Mailbox(within(t), "ship1", subjects.MailboxOf("ship1"), 0, 100)
	if err != nil || len(got) != len(statuses) {
		t.Errorf("%d of %d are in the mailbox, %v", len(got), len(statuses), err)
	}
}

func TestTheAuditIsCopiedUpToASequence(t *testing.T) {
	s := open(t)
	c := s.admin()
	if upTo, err := c.CopiedUpTo(within(t), subjects.Audit, subjects.CopiedCommands); upTo != 0 || err != nil {
		t.Errorf("an empty audit has copied up to %d, %v", upTo, err)
	}
	ids := fill(t, s, 20)
	items := copied(t, c, 20)
	if !slices.Equal(idsOfCopies(items), ids) {
		t.Error("the audit holds others")
	}
	if upTo, err := c.CopiedUpTo(within(t), subjects.Audit, subjects.CopiedCommands); upTo != 20 || err != nil {
		t.Errorf("copied up to %d, %v", upTo, err)
	}
	for after, want := range map[uint64]bool{0: true, 19: true, 20: false, 99: false} {
		if has, err := c.HasAfter(within(t), subjects.Commands, after); has != want || err != nil {
			t.Errorf("there is something after %d: %v, %v", after, has, err)
		}
	}
}

func idsOfCopies(items []bus.Item) (ids []string) {
	for _, i := range items {
		ids = append(ids, message.ReceiveCopied(i.Stored, i.Origin).Message.ID)
	}
	return ids
}

func TestTheNewestOfManySubjectsIsReadAtOnce(t *testing.T) {
	s := open(t)
	fill(t, s, 600)
	c := s.admin()
	var from, want []string
	for _, item := range all(t, c, subjects.Commands, bus.ReadOptions{}) {
		from, want = append(from, item.Subject, item.Subject+"-nobody-stored-this"), append(want, item.Subject)
	}
	var got []string
	err := c.LastOf(within(t), subjects.Commands, from, func(s message.Stored) { got = append(got, s.Subject) })
	if slices.Sort(got); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%d of %d were read: %v", len(got), len(want), err)
	}
	if err := c.LastOf(within(t), subjects.Commands, []string{"nobody"}, func(message.Stored) { t.Error("something was read") }); err != nil {
		t.Error(err)
	}
	if err := c.LastOf(within(t), "NOSUCH", []string{"nobody"}, func(message.Stored) {}); err == nil {
		t.Error("a stream that is not there was read")
	}
}
