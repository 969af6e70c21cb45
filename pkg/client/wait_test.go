package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func (s *site) listen(node string) *client.Waiter {
	s.t.Helper()
	w, err := s.client.Listen(within(s.t), node)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(w.Close)
	return w
}

func TestWaitHearsEveryAnswerAndReturnsAtTheLastEnd(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	w := s.listen("*")
	sent := append(s.send("ship1", 20), s.send("ship2", 20)...)
	moved := make(chan client.Outcome, 1000)
	done := make(chan []client.Outcome, 1)
	go func() { done <- w.Wait(within(t), sent, func(o client.Outcome) { moved <- o }) }()
	s.answer(sent[0], message.Running, "ship1", nil)
	if o := <-moved; o.ID != sent[0].ID || o.State != message.Running || o.From != "ship1" || o.At.IsZero() {
		t.Errorf("%+v", o)
	}
	for i, one := range sent {
		state := message.Succeeded
		if i%2 == 1 {
			state = message.FailedEnd
		}
		s.answer(one, state, one.Node, nil)
	}
	for i, o := range <-done {
		want := message.Succeeded
		if i%2 == 1 {
			want = message.FailedEnd
		}
		if o.ID != sent[i].ID || o.State != want || o.Answer.Message != "done" {
			t.Errorf("%d: %+v", i, o)
		}
	}
}

func TestAnswersThatCameBeforeTheWaitCount(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	w := s.listen("ship1")
	first, second := s.send("ship1", 1), s.send("ship1", 1)
	s.answer(second[0], message.Succeeded, "ship1", nil)
	s.answer(first[0], message.Succeeded, "ship1", nil)
	for _, sent := range [][]client.Sent{first, second} {
		if got := w.Wait(within(t), sent, nil); got[0].State != message.Succeeded {
			t.Errorf("%+v", got)
		}
	}
}

func TestWaitReturnsWhatIsKnownWhenItsTimeIsOver(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	w := s.listen("*")
	sent := s.send("ship1", 3)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	done := make(chan []client.Outcome, 1)
	go func() {
		done <- w.Wait(ctx, sent, func(o client.Outcome) {
			if o.State == message.Running {
				cancel()
			}
		})
	}()
	s.answer(sent[0], message.Succeeded, "ship1", nil)
	s.answer(sent[1], message.Running, "ship1", nil)
	got := <-done
	if got[1].State != message.Running || got[2].State != message.Published {
		t.Errorf("%+v", got)
	}
}

func TestWaitIgnoresAnswersThatProveNothing(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	w := s.listen("*")
	sent := s.send("ship1", 5)
	heard := make(chan client.Outcome, 10)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	done := make(chan []client.Outcome, 1)
	go func() { done <- w.Wait(ctx, sent, func(o client.Outcome) { heard <- o }) }()
	s.answer(sent[0], message.Succeeded, "ship2", nil)                                                                   // another node's key
	s.answer(sent[1], message.Succeeded, "ship1", func(m *message.Message) { m.Body = []byte(`{"message":"changed"}`) }) // a broken signature
	s.answer(sent[2], message.Succeeded, "ship1", func(m *message.Message) { m.Signature, m.Key = "", "" })
	s.answer(sent[3], message.Succeeded, "ship2", func(m *message.Message) { // under a name that is no node's
		m.From = "station-x"
		if err := m.Sign(s.users["ship2"]); err != nil {
			t.Error(err)
		}
	})
	s.answer(sent[4], message.Succeeded, "ship1", nil)
	if o := <-heard; o.ID != sent[4].ID {
		t.Errorf("believed %+v", o)
	}
	cancel()
	<-done

	// The store has the false ones too. From here on nothing is heard, so all
	// that comes comes from looks into it.
	w.Close()
	missed := s.send("ship1", 1)
	s.answer(missed[0], message.Succeeded, "ship1", nil)
	lctx, enough := context.WithCancel(within(t))
	defer enough()
	looked := 0
	for i, o := range w.Wait(lctx, append(sent[:4:4], missed...), func(o client.Outcome) {
		if looked++; o.ID == missed[0].ID {
			enough()
		}
	}) {
		if want := []message.State{message.Published, message.Succeeded}[i/4]; o.State != want {
			t.Errorf("command %d is %s: %+v", i, o.State, o)
		}
	}
	if looked != 1 {
		t.Errorf("%d outcomes moved", looked)
	}
}

func TestAnExpiryIsAStationsWord(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	w := s.listen("*")
	c := command("ship1")
	c.Expires = time.Second
	sent, err := s.client.Send(within(t), c)
	if err != nil {
		t.Fatal(err)
	}
	got := w.Wait(within(t), sent, nil)
	if got[0].State != message.Expired || got[0].From != "station-a" || got[0].Answer.Kind != fleet.Expired {
		t.Errorf("%+v", got)
	}
}

// Who waits is told, and an order knows it afterwards.
func TestWhatANodeThatWasRemovedHadWaitingIsCancelledByAStationsWord(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	o := client.NewOrder([]string{"ship1"}, "--all", "reload", "nginx", time.Hour)
	if err := s.client.Keep(within(t), o); err != nil {
		t.Fatal(err)
	}
	w := s.listen("*")
	sent, err := s.client.Send(within(t), client.Commands(o, nil)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.EndWaiting(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	afterwards, err := s.client.Outcomes(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range append(w.Wait(within(t), sent, nil), afterwards...) {
		if got.State != message.Cancelled || got.From != "station-a" {
			t.Errorf("%+v", got)
		}
	}
}

func TestANodeThatIsRegisteredLaterIsBelieved(t *testing.T) {
	s := open(t)
	s.creds("ship1", subjects.Node)
	w := s.listen("*")
	sent := s.send("ship1", 2)
	s.answer(sent[0], message.Running, "ship1", nil) // asks for the key, in vain
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got := w.Wait(ctx, sent[:1], nil); got[0].State != message.Published {
		t.Errorf("%+v", got)
	}
	s.nodes(nil, "ship1")
	s.answer(sent[1], message.Succeeded, "ship1", nil)
	if got := w.Wait(within(t), sent[1:], nil); got[0].State != message.Succeeded {
		t.Errorf("%+v", got)
	}
}

func TestEndsThatWereMissedWithoutALinkAreLookedUp(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	w := s.listen("*")
	sent := s.send("ship1", 30)
	s.answer(sent[0], message.Succeeded, "ship1", nil)
	done := make(chan []client.Outcome, 1)
	heard := make(chan client.Outcome, 100)
	// Not within the patience of all else: it is over the link again when the pause
	// between two attempts is, which grows while the broker is away.
	go func() { done <- w.Wait(t.Context(), sent, func(o client.Outcome) { heard <- o }) }()
	<-heard
	s.stop()
	s.start()
	delete(s.conns, "ship1") // the node's does not wait for that
	for _, one := range sent[1:] {
		m := s.signedAnswer(one, message.Succeeded, "ship1")
		eventually(t, "the node is back and answers", func() bool {
			_, err := s.conn("ship1").Publish(within(t), m)
			return err == nil || errors.Is(err, bus.ErrExists)
		})
	}
	for i, o := range <-done {
		if o.State != message.Succeeded {
			t.Errorf("%d: %+v", i, o)
		}
	}
}
