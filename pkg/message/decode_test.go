package message_test

import (
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestAllFaultsOfAMessageAreToldAtOnceAndInOrder(t *testing.T) {
	m, err := message.Decode("ship1.reload", map[string][]string{
		message.HeaderID:      {"not an id"},
		message.HeaderFrom:    {"alice", "bob"},
		message.HeaderExpires: {"tomorrow"},
		message.HeaderState:   {"done"},
		message.HeaderCommand: {sampleID},
		"Fairlead-Ticket":     {"1", "2", "3"},
		"X-Other":             {"a", "b"},
	}, []byte("body"))
	want := []string{
		`subject: subject "ship1.reload" has 2 tokens: use <node>.<command|event>.<method>.<domain>`,
		`header Fairlead-Expires: "tomorrow" is not a time such as 2026-01-02T15:04:05Z`,
		`header Fairlead-From: given 2 times`,
		`header Fairlead-State: "done" is not a state`,
		`header Fairlead-Ticket: given 3 times`,
		`header Nats-Msg-Id: "not an id" is not a message id`,
	}
	if fleet.KindOf(err) != fleet.Invalid || err.Error() != strings.Join(want, "\n") {
		t.Errorf("kind %s:\n%v", fleet.KindOf(err), err)
	}
	if m.ID != "" || m.Command != sampleID || m.From != "alice" || string(m.Body) != "body" {
		t.Errorf("what could be read is %+v", m)
	}
}

func TestAHeaderThatIsGivenTwiceIsAFault(t *testing.T) {
	m := signed(t, sample(), newSigner(t))
	for _, name := range []string{message.HeaderFrom, message.HeaderKey, message.HeaderExpires, message.HeaderSignature, message.HeaderReplays} {
		headers := m.Headers()
		headers[name] = append(headers[name], headers[name][0])
		_, err := message.Decode(m.Subject.String(), headers, m.Body)
		refused(t, err, fleet.Invalid, "header "+name+": given 2 times")
	}
}

func TestANoteIsOneShortLine(t *testing.T) {
	for text, why := range map[string]string{
		strings.Repeat("é", message.MaxNote+1): "501 characters: at most 500", "two\nlines": "one line", " padded": "one line", "bell\a": "one line", "\xff": "one line",
	} {
		refused(t, message.CheckNote(text), fleet.Invalid, why)
		if strings.ContainsAny(text, "\n\a") || text == " padded" {
			continue // no header can carry it
		}
		m := sample()
		_, err := message.Decode(m.Subject.String(), map[string][]string{message.HeaderNote: {text}}, nil)
		refused(t, err, fleet.Invalid, "header Fairlead-Note: a message")
	}
	m := sample()
	m.Note, m.Change = strings.Repeat("é", message.MaxNote), message.NewID()
	if err := message.CheckNote(m.Note); err != nil {
		t.Error(err)
	}
	m = signed(t, m, newSigner(t))
	got, err := message.Decode(m.Subject.String(), m.Headers(), m.Body)
	if err != nil || !reflect.DeepEqual(got, m) || got.CheckSignature() != nil {
		t.Errorf("%v\nsent %+v\n got %+v", err, m, got)
	}
}

func TestEveryStateTravels(t *testing.T) {
	for _, s := range append(message.Finals(), message.Accepted, message.Running, message.Late) {
		answer := message.NewAnswer(sample(), "ship1", s, message.Answer{Message: "x"})
		got, err := message.Decode(answer.Subject.String(), answer.Headers(), answer.Body)
		if err != nil || !reflect.DeepEqual(got, answer) {
			t.Errorf("%s: %v\nsent %+v\n got %+v", s, err, answer, got)
		}
	}
	_, err := message.Decode("ship1.event.ack.reload", map[string][]string{message.HeaderState: {string(message.Published)}}, nil)
	refused(t, err, fleet.Invalid, `"published" is not a state`) // no answer can say it
}

// Whatever comes, Decode ends, and what it took without a fault is what it
// would send.
func FuzzDecode(f *testing.F) {
	m := signed(f, sample(), newSigner(f))
	f.Add(m.Subject.String(), m.ID, m.From, m.Key, "2026-03-04T06:06:07Z", m.Command, "succeeded", m.Signature, "Fairlead-X", "y", m.Body)
	f.Add(m.Subject.String(), m.ID, m.From, m.Key, "", "", "", m.Signature, message.HeaderEncoding, "zstd", frame(f, lengthy(20)))
	f.Add(m.Subject.String(), m.ID, m.From, m.Key, "", "", "", m.Signature, message.HeaderEncoding, "br", lengthy(20))
	f.Add("a.b", "", "\n", "U", "9999-12-31T23:59:59-01:00", "", "late", "=", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, id, from, key, expires, command, state, signature, name, value string, body []byte) {
		headers := map[string][]string{
			message.HeaderID: {id}, message.HeaderFrom: {from}, message.HeaderKey: {key}, message.HeaderExpires: {expires},
			message.HeaderCommand: {command}, message.HeaderState: {state}, message.HeaderSignature: {signature}, name: {value},
		}
		m, err := message.Decode(subject, headers, body)
		_ = m.CheckSignature()
		_, _ = m.ReadAnswer()
		if err != nil {
			if fleet.KindOf(err) != fleet.Invalid {
				t.Errorf("the kind is %s: %v", fleet.KindOf(err), err)
			}
			return
		}
		again, err := message.Decode(m.Subject.String(), m.Headers(), m.Wire())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%v\nread %+v\nthen %+v", err, m, again)
		}
	})
}

func FuzzReceive(f *testing.F) {
	f.Add("fleet.ship1.command.reload.nginx."+sampleID, sampleID, "alice", "zstd", []byte("packed"), uint64(7))
	f.Add("fleet.ship1.event.ack.reload._", "", "", "", []byte("{}"), uint64(1)<<63)
	f.Add("ship1.command.reload.nginx", "x", "", "br", []byte(nil), uint64(0))
	f.Fuzz(func(t *testing.T, subject, id, from, encoding string, body []byte, sequence uint64) {
		headers := map[string][]string{message.HeaderID: {id}, message.HeaderFrom: {from}}
		if encoding != "" {
			headers[message.HeaderEncoding] = []string{encoding}
		}
		d := message.Receive(message.Stored{Subject: subject, Sequence: sequence, Headers: headers, Body: body})
		if encoding != "" && encoding != "zstd" && d.Fault == nil {
			t.Errorf("a body in %q is taken", encoding)
		}
		if string(d.Message.Wire()) != string(body) || d.Fault == nil && encoding == "zstd" && d.Message.Body != nil {
			t.Errorf("%q as %q came as %q, %q", body, encoding, d.Message.Wire(), d.Message.Body)
		}
		if d.Message.ID == "" || d.Sequence != sequence {
			t.Errorf("%q with id %q is %+v", subject, id, d)
		}
		if message.Named(d.Message.ID) && d.Message.ID != id {
			t.Errorf("%q with id %q is called %q", subject, id, d.Message.ID)
		}
	})
}
