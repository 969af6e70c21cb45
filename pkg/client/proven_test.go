package client_test

import (
	"testing"
	"time"

	"fairlead/pkg/message"
)

func TestANameIsBelievedOnlyWithItsKey(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	me := s.client.Me()
	m := message.Message{Subject: command("ship1").Subject, ID: message.NewID(), From: me, Expires: time.Now().Add(time.Hour)}
	for signer, want := range map[string]bool{me: true, "ship2": false} {
		if err := m.Sign(s.users[signer]); err != nil {
			t.Fatal(err)
		}
		if got := s.client.Proven(within(t), message.Delivery{Message: m, StoredAt: time.Now()}); got != want {
			t.Errorf("a command that says it is from %s, signed by %s, is proven: %v", me, signer, got)
		}
	}
}

func TestAnAnswerToAnotherDomainUnderABorrowedIDEndsNothing(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	w, err := s.client.Listen(within(t), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sent := s.send("ship1", 1)
	borrowed := sent[0]
	borrowed.Subject = "ship1.command.reload.other"
	s.answer(borrowed, message.Rejected, "ship1", nil)
	s.answer(sent[0], message.Succeeded, "ship1", nil) // stored beside it: they share no subject
	if got := w.Wait(within(t), sent, nil); got[0].State != message.Succeeded {
		t.Errorf("the command ended %s", got[0].State)
	}
}
