package message_test

import (
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestEachRefusalOfACommandHasItsOwnReason(t *testing.T) {
	alice := newSigner(t)
	for name, test := range map[string]struct {
		change func(*message.Message)
		node   string
		now    time.Time
		kind   fleet.Kind
		reason string
	}{
		"replayed to another node": {node: "ship2", kind: fleet.Refused, reason: "the command is for ship1 and reached ship2"},
		"from is not the key's owner": {change: func(m *message.Message) { m.From = "bob" },
			kind: fleet.Refused, reason: `the message says it is from "bob" and is signed by "alice"`},
		"expired to the second": {now: stored.Add(time.Hour), kind: fleet.Expired, reason: "the command was good until 2026-03-04T06:06:07Z"},
		"no expiry": {change: func(m *message.Message) { m.Expires = time.Time{} },
			kind: fleet.Invalid, reason: "the command has no Fairlead-Expires header"},
		"oversize": {change: func(m *message.Message) { m.Body = make([]byte, message.MaxBody+1) },
			kind: fleet.Invalid, reason: "the body has 524289 bytes: at most 524288"},
		"not a ULID": {change: func(m *message.Message) { m.ID = "reload-1" },
			kind: fleet.Invalid, reason: `message id "reload-1" is not a ULID`},
		"no id": {change: func(m *message.Message) { m.ID = "" },
			kind: fleet.Invalid, reason: `message id "" is not a ULID`},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			if test.change != nil {
				test.change(&m)
			}
			m = signed(t, m, alice)
			node, now := "ship1", stored
			if test.node != "" {
				node = test.node
			}
			if !test.now.IsZero() {
				now = test.now
			}
			_, err := message.VerifyCommand(&m, node, trusting(alice.public, subjects.Admin), now)
			refused(t, err, test.kind, test.reason)
		})
	}
}

func TestACommandIsGoodUntilItsLastSecond(t *testing.T) {
	alice := newSigner(t)
	m := sample()
	m.Body = make([]byte, message.MaxBody)
	m = signed(t, m, alice)
	if _, err := message.VerifyCommand(&m, "ship1", trusting(alice.public, subjects.Admin), m.Expires.Add(-1)); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownKeyIsRefusedAndNamed(t *testing.T) {
	alice, mallory := newSigner(t), newSigner(t)
	m := signed(t, sample(), mallory)
	_, err := message.VerifyCommand(&m, "ship1", trusting(alice.public, subjects.Admin), stored)
	refused(t, err, fleet.Refused, "key "+mallory.public[:12]+"… is not one that ship1 trusts")
}

func TestAnUnsignedCommandIsRefusedAndSaysWhatToDo(t *testing.T) {
	_, err := message.VerifyCommand(new(sample()), "ship1", trusting("", subjects.Admin), stored)
	refused(t, err, fleet.Refused, "send it with fairlead, or sign it with a trusted key")
}

func TestAKeyOfAnotherKindIsRefused(t *testing.T) {
	m := signed(t, sample(), newSigner(t))
	m.Key = "A" + m.Key[1:]
	_, err := message.VerifyCommand(&m, "ship1", trusting(m.Key, subjects.Admin), stored)
	refused(t, err, fleet.Refused, "is not a user's public key")
}

func TestAnEventIsTheNodesOwnOrAStations(t *testing.T) {
	ship1, ship2, alice := newSigner(t), newSigner(t), newSigner(t)
	event := message.NewAnswer(sample(), "ship1", message.Succeeded, message.Answer{})
	for name, test := range map[string]struct {
		by     signer
		role   subjects.Role
		reason string
	}{
		"the node":     {ship1, subjects.Viewer, ""},
		"a station":    {alice, subjects.Station, ""},
		"another node": {ship2, subjects.Station, "neither the node's nor a station's"},
		"an admin":     {alice, subjects.Admin, "neither the node's nor a station's"},
	} {
		t.Run(name, func(t *testing.T) {
			err := message.VerifyEvent(new(signed(t, event, test.by)), stored, ship1.public, trusting(alice.public, test.role))
			if test.reason == "" && err != nil {
				t.Error(err)
			}
			if test.reason != "" {
				refused(t, err, fleet.Refused, test.reason)
			}
		})
	}
	// A node that is not in the register has no key, and nor has an unsigned event.
	refused(t, message.VerifyEvent(&event, stored, "", trusting(alice.public, subjects.Station)), fleet.Refused, "is not signed")
	refused(t, message.VerifyEvent(new(signed(t, event, ship1)), stored, "", trusting(alice.public, subjects.Station)), fleet.Refused, "neither")
}

func TestADocumentIsWrittenByOneOfTheRoles(t *testing.T) {
	alice, mallory := newSigner(t), newSigner(t)
	m := message.Message{Subject: message.DesiredSubject("ship1", "nginxconfig", "nginx"), ID: sampleID, From: "alice", Body: []byte("{}")}
	m = signed(t, m, alice)
	if err := message.VerifyDocument(&m, trusting(alice.public, subjects.Station), subjects.Admin, subjects.Station); err != nil {
		t.Error(err)
	}
	refused(t, message.VerifyDocument(&m, trusting(alice.public, subjects.Viewer), subjects.Station), fleet.Refused, "alice is viewer and may not write this")
	refused(t, message.VerifyDocument(&m, trusting(mallory.public, subjects.Station), subjects.Station), fleet.Refused, "is not a trusted one")
	for _, as := range []subjects.Subject{
		message.ReportedSubject("ship1", "nginxconfig", "nginx"), message.DesiredSubject("ship2", "nginxconfig", "nginx"),
		message.ResourceSubject("nginxconfig", "nginx"), message.RegisterSubject("ship1"),
	} {
		moved := m
		moved.Subject = as
		refused(t, moved.CheckSignature(), fleet.Refused, "does not fit")
	}
}

func TestNoDocumentCanBeTakenForAMessage(t *testing.T) {
	for _, s := range []subjects.Subject{
		message.DesiredSubject("ship1", "reload", "nginx"), message.ReportedSubject("ship1", "reload", "nginx"),
		message.ResourceSubject("VirtualHost", "shop"), message.RegisterSubject("ship1"), message.TrustSubject(),
	} {
		if _, err := subjects.Parse(s.String()); err == nil || !strings.Contains(err.Error(), "command or event") && !strings.Contains(err.Error(), "reserved") {
			t.Errorf("%s is a message's subject: %v", s, err)
		}
	}
}
