package message_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func contains(text, words string) bool { return strings.Contains(text, words) }

func TestASignedMessageIsTakenAfterItHasTravelled(t *testing.T) {
	alice := newSigner(t)
	sent := signed(t, sample(), alice)
	got, err := message.Decode(sent.Subject.String(), sent.Headers(), sent.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sent) {
		t.Errorf("sent %+v\n got %+v", sent, got)
	}
	owner, err := message.VerifyCommand(&got, "ship1", trusting(alice.public, subjects.Operator), stored)
	if err != nil || owner.Name != "alice" || owner.Role != subjects.Operator {
		t.Errorf("verify: %+v, %v", owner, err)
	}
}

// What is signed must be all that anybody acts on. Each change below is made
// to the message as it travels.
func TestAChangeOfAnySignedPartIsRefused(t *testing.T) {
	alice, mallory := newSigner(t), newSigner(t)
	other := signed(t, sample(), mallory)
	const unfit = "the signature does not fit"
	type wire struct {
		subject string
		headers map[string][]string
		body    []byte
	}
	set := func(name, value string) func(*wire) {
		return func(w *wire) { w.headers[name] = []string{value} }
	}
	for name, test := range map[string]struct {
		change func(*wire)
		reason string
	}{
		"method":            {func(w *wire) { w.subject = "ship1.command.shellcommand.nginx" }, unfit},
		"domain":            {func(w *wire) { w.subject = "ship1.command.reload.edge" }, unfit},
		"direction":         {func(w *wire) { w.subject = "ship1.event.reload.nginx" }, unfit},
		"node":              {func(w *wire) { w.subject = "ship2.command.reload.nginx" }, "the command is for ship2 and reached ship1"},
		"id":                {set(message.HeaderID, "01KAM3S2Y1C6Q8Z5V7W9X0ABCE"), unfit},
		"from":              {set(message.HeaderFrom, "bob"), unfit},
		"from taken away":   {func(w *wire) { delete(w.headers, message.HeaderFrom) }, unfit},
		"longer life":       {set(message.HeaderExpires, "2027-01-01T00:00:00Z"), unfit},
		"expiry taken away": {func(w *wire) { delete(w.headers, message.HeaderExpires) }, unfit},
		"command added":     {set(message.HeaderCommand, sampleID), unfit},
		"state added":       {set(message.HeaderState, "succeeded"), unfit},
		"replays":           {set(message.HeaderReplays, sampleID), unfit},
		"replays taken":     {func(w *wire) { delete(w.headers, message.HeaderReplays) }, unfit},
		"operation added":   {set(message.HeaderOperation, "delete"), unfit},
		"unknown header":    {set("Fairlead-Priority", "high"), unfit},
		"empty one":         {set("Fairlead-Priority", ""), unfit},
		"body":              {func(w *wire) { w.body[0] = '[' }, unfit},
		"body taken away":   {func(w *wire) { w.body = nil }, unfit},
		"another's key":     {set(message.HeaderKey, mallory.public), unfit},
		"no key at all":     {set(message.HeaderKey, "alice"), `"alice" is not a user's public key`},
		"key taken away":    {func(w *wire) { delete(w.headers, message.HeaderKey) }, "the message is not signed"},
		"another's sig":     {set(message.HeaderSignature, other.Signature), unfit},
		"half a signature":  {func(w *wire) { w.headers[message.HeaderSignature][0] = w.headers[message.HeaderSignature][0][:40] }, unfit},
		"not base64":        {set(message.HeaderSignature, "!"), "the signature is not base64"},
		"unsigned":          {func(w *wire) { delete(w.headers, message.HeaderSignature) }, "the message is not signed"},
	} {
		t.Run(name, func(t *testing.T) {
			m := signed(t, sample(), alice)
			w := wire{m.Subject.String(), m.Headers(), slices.Clone(m.Body)}
			test.change(&w)
			changed, err := message.Decode(w.subject, w.headers, w.body)
			if err != nil {
				t.Fatal(err)
			}
			_, err = message.VerifyCommand(&changed, "ship1", trusting(alice.public, subjects.Admin), stored)
			refused(t, err, fleet.Refused, test.reason)
		})
	}
}

func TestTheTraceMayChangeOnTheWay(t *testing.T) {
	alice := newSigner(t)
	m := signed(t, sample(), alice)
	m.Trace = "00-00000000000000000000000000000001-0000000000000001-00"
	if err := m.CheckSignature(); err != nil {
		t.Error(err)
	}
}

func TestFurtherHeadersAreKeptAndSigned(t *testing.T) {
	alice := newSigner(t)
	plain := sample()
	headers := plain.Headers()
	headers["Fairlead-Ticket"] = []string{"OPS-7"}
	headers["X-Other"] = []string{"of no interest"}
	m, err := message.Decode(plain.Subject.String(), headers, plain.Body)
	if err != nil {
		t.Fatal(err)
	}
	m = signed(t, m, alice)
	travelled := m.Headers()
	if _, there := travelled["X-Other"]; there {
		t.Error("a stranger's header went along")
	}
	got, err := message.Decode(m.Subject.String(), travelled, m.Body)
	if err != nil || got.CheckSignature() != nil {
		t.Fatal(err, got.CheckSignature())
	}
	without := maps.Clone(travelled)
	delete(without, "Fairlead-Ticket")
	got, _ = message.Decode(m.Subject.String(), without, m.Body)
	refused(t, got.CheckSignature(), fleet.Refused, "the signature does not fit")
}

func TestAnEmptyListIsNoHeader(t *testing.T) {
	alice := newSigner(t)
	m := signed(t, sample(), alice)
	headers := m.Headers()
	headers["Fairlead-Ticket"], headers[message.HeaderState] = nil, []string{}
	got, err := message.Decode(m.Subject.String(), headers, m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, want %+v", got, m)
	}
}
