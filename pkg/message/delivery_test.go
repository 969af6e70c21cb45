package message_test

import (
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestAMessageIsKnownByTheIDThatItIsStoredUnder(t *testing.T) {
	m := signed(t, sample(), newSigner(t))
	d := message.Receive(message.Stored{Subject: m.StoredSubject(), Sequence: 7, At: stored, Headers: m.Headers(), Body: m.Body})
	if d.Fault != nil || d.Message.ID != sampleID || d.Sequence != 7 || !d.StoredAt.Equal(stored) {
		t.Errorf("received %+v", d)
	}
	if err := d.Message.CheckSignature(); err != nil {
		t.Error(err)
	}
	if !message.Named(d.Message.ID) {
		t.Errorf("%s is its own", d.Message.ID)
	}
}

// Each must be told from every other, so that each can be answered.
func TestAForeignMessageIsNamedByItsSequence(t *testing.T) {
	m := signed(t, sample(), newSigner(t))
	other := m
	other.ID = "01KAM3S2Y1C6Q8Z5V7W9X0ABCE"
	id := map[string][]string{message.HeaderID: {sampleID}}
	for name, test := range map[string]struct {
		subject string
		headers map[string][]string
		fault   string
	}{
		"a command without an id":           {"fleet.ship1.command.reload.nginx._", nil, ""},
		"an event without an id":            {"fleet.ship1.event.healthreport.nginx._", nil, ""},
		"published on the four tokens":      {"fleet.ship1.command.reload.nginx._", id, "the message calls itself " + sampleID + " and is stored as _"},
		"stored as another":                 {other.StoredSubject(), m.Headers(), "the message calls itself " + sampleID + " and is stored as " + other.ID},
		"an id that no subject could hold":  {m.StoredSubject(), map[string][]string{message.HeaderID: {"a b"}}, `"a b" is not a message id`},
		"a name made up to look like these": {"fleet.ship1.command.reload.nginx._", map[string][]string{message.HeaderID: {"seq-1"}}, "calls itself seq-1"},
		"stored to look like these":         {"fleet.ship1.command.reload.nginx.seq-1", map[string][]string{message.HeaderID: {"seq-1"}}, "calls itself seq-1"},
		"not a stored subject":              {"ship1.command.reload.nginx", nil, "is not a stored subject"},
		"a reserved node":                   {"fleet.all.command.reload.nginx._", id, "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			d := message.Receive(message.Stored{Subject: test.subject, Sequence: 42, Headers: test.headers})
			if d.Message.ID != "seq-42" || message.Named(d.Message.ID) {
				t.Errorf("it is called %q", d.Message.ID)
			}
			if test.fault == "" && d.Fault != nil {
				t.Error(d.Fault)
			}
			if test.fault != "" {
				refused(t, d.Fault, fleet.KindOf(d.Fault), test.fault)
			}
			if test.fault != "" && d.Fault == nil {
				t.Error("nothing is wrong with it")
			}
		})
	}
}

func TestASignedMessageUnderAnotherIDIsNotTaken(t *testing.T) {
	alice := newSigner(t)
	m := signed(t, sample(), alice)
	headers := m.Headers()
	d := message.Receive(message.Stored{Subject: subjects.Stored(m.Subject, "01KAM3S2Y1C6Q8Z5V7W9X0ABCE"), Sequence: 3, Headers: headers, Body: m.Body})
	refused(t, d.Fault, fleet.Refused, "the message calls itself")
	_, err := message.VerifyCommand(&d.Message, "ship1", trusting(alice.public, subjects.Admin), stored)
	refused(t, err, fleet.Refused, "the signature does not fit")
}

func TestACopyInTheAuditIsNamedByItsOrigin(t *testing.T) {
	m := signed(t, sample(), newSigner(t))
	d := message.ReceiveCopied(message.Stored{Subject: m.Subject.String(), Sequence: 9, Headers: m.Headers(), Body: m.Body}, 4)
	if d.Fault != nil || d.Message.ID != sampleID || d.Sequence != 9 || d.Message.CheckSignature() != nil {
		t.Errorf("received %+v", d)
	}
	d = message.ReceiveCopied(message.Stored{Subject: m.Subject.String(), Sequence: 10}, 5)
	if d.Message.ID != "seq-5" || d.Sequence != 10 {
		t.Errorf("received %+v", d)
	}
	d = message.ReceiveCopied(message.Stored{Subject: "x", Sequence: 11}, 6)
	refused(t, d.Fault, fleet.Invalid, "has 1 tokens")
}
