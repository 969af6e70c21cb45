package message_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// recorder signs nothing and keeps what it was asked to sign.
type recorder struct {
	key  string
	data string
}

func (r *recorder) PublicKey() string { return r.key }

func (r *recorder) Sign(data []byte) ([]byte, error) {
	r.data = string(data)
	return make([]byte, 64), nil
}

// bytesOf are the signed bytes of a message; "" where it cannot be signed.
func bytesOf(m message.Message) string {
	r := recorder{key: m.Key}
	_ = m.Sign(&r)
	return r.data
}

// Without this, {From: "alice\nFairlead-Operation: delete"} would be signed
// like {From: "alice", Operation: "delete"}: stations hand messages on as
// JSON, where a value may hold a line break.
func TestNoPartCanPassForAnother(t *testing.T) {
	alice := newSigner(t)
	for name, change := range map[string]func(*message.Message){
		"line break in from":     func(m *message.Message) { m.From = "alice\nFairlead-Operation: delete" },
		"carriage return":        func(m *message.Message) { m.From = "alice\r" },
		"trimmed on the way":     func(m *message.Message) { m.From = "alice " },
		"line break in id":       func(m *message.Message) { m.ID = sampleID + "\nFairlead-Command: x" },
		"line break in subject":  func(m *message.Message) { m.Subject.Domain = "nginx\nx" },
		"dot in a token":         func(m *message.Message) { m.Subject.Node = "ship1.command" },
		"line break in command":  func(m *message.Message) { m.Command = "x\nFairlead-Expires: 2027-01-01T00:00:00Z" },
		"control character":      func(m *message.Message) { m.Replays = "x\x00" },
		"broken UTF-8":           func(m *message.Message) { m.From = "al\xffice" },
		"line separator C1":      func(m *message.Message) { m.From = "alice\u0085" },
		"line break in the note": func(m *message.Message) { m.Note = "why\nFairlead-Operation: delete" },
		"line break in change":   func(m *message.Message) { m.Change = "\n" },
		"line break in replays":  func(m *message.Message) { m.Replays = "\n" },
		"line break in the oper": func(m *message.Message) { m.Operation = "delete\n" },
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			change(&m)
			refused(t, m.Sign(alice), fleet.Invalid, "sign message")

			forged := signed(t, sample(), alice)
			change(&forged)
			refused(t, forged.CheckSignature(), fleet.Refused, "the message cannot have been signed")
		})
	}
}

func TestTheNameOfAHeaderCannotPassForItsValue(t *testing.T) {
	alice := newSigner(t)
	m := signed(t, sample(), alice)
	for _, name := range []string{"Fairlead-A: b", "Fairlead-A\nFairlead-B", "Fairlead-A ", "Fairlead-\xff"} {
		headers := m.Headers()
		headers[name] = []string{"c"}
		got, err := message.Decode(m.Subject.String(), headers, m.Body)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, got.CheckSignature(), fleet.Refused, "is not the name of a header")
	}
}

// Half a second more would not be seen in the signed form, and would not be
// the same message any more.
func TestExpiryIsReadInTheFormThatIsSigned(t *testing.T) {
	for _, text := range []string{"2026-03-04T06:06:07.9Z", "2026-03-04T07:06:07+01:00", "9999-12-31T23:59:59-01:00", "tomorrow", ""} {
		m, err := message.Decode("ship1.command.reload.nginx", map[string][]string{message.HeaderExpires: {text}}, nil)
		refused(t, err, fleet.Invalid, "is not a time such as 2026-01-02T15:04:05Z")
		if !m.Expires.IsZero() {
			t.Errorf("%q is read as %s", text, m.Expires)
		}
	}
}

// The claim is that the signed bytes are an injective function of the message.
// The fuzzer looks for two messages that differ and share them.
func FuzzTwoMessagesNeverShareTheirSignedBytes(f *testing.F) {
	f.Add("ship1", "nginx", "01A", "alice", "", "", "Fairlead-X", "v", []byte("b"), "ship1", "nginx", "01A", "alice\nFairlead-Operation: delete", "", "", "Fairlead-X", "v", []byte("b"))
	f.Add("a", "b", "", "x", "c", "d", "Fairlead-A", "b: c", []byte{}, "a", "b", "", "x", "c", "d", "Fairlead-A: b", "c", []byte{})
	f.Add("a.b", "c", "", "", "", "", "", "", []byte{}, "a", "b.c", "", "", "", "", "", "", []byte{})
	f.Add("a", "b", "", "", "", "", message.HeaderEncoding, "zstd", []byte("b"), "a", "b", "", "", "", "", "", "", []byte("b"))
	f.Add("a", "b", "", "", "", "", message.HeaderEncoding, "zstd", []byte("b"), "a", "b", "", "", "", "", message.HeaderEncoding, "br", []byte("b"))
	make := func(node, domain, id, from, command, operation, name, value string, body []byte) message.Message {
		m, _ := message.DecodeAs(subjects.Subject{Node: node, Direction: subjects.Command, Method: "m", Domain: domain},
			map[string][]string{message.HeaderID: {id}, message.HeaderFrom: {from}, message.HeaderCommand: {command},
				message.HeaderOperation: {operation}, name: {value}}, body)
		m.Signature, m.Trace, m.Expires = "", "", m.Expires.Truncate(time.Second)
		if len(m.Body) == 0 {
			m.Body = nil
		}
		return m
	}
	f.Fuzz(func(t *testing.T, n1, d1, i1, f1, c1, o1, h1, v1 string, b1 []byte, n2, d2, i2, f2, c2, o2, h2, v2 string, b2 []byte) {
		x, y := make(n1, d1, i1, f1, c1, o1, h1, v1, b1), make(n2, d2, i2, f2, c2, o2, h2, v2, b2)
		same, err := message.SignedBytes(x)
		other, _ := message.SignedBytes(y)
		if err == nil && string(same) == string(other) && !reflect.DeepEqual(x, y) {
			t.Errorf("both are signed as %q:\n%+v\n%+v", same, x, y)
		}
	})
}

// A client signs a server's nonce, which is a JSON string, with the same key.
func TestWhatIsSignedIsNoTextThatAServerCouldAskToHaveSigned(t *testing.T) {
	data := bytesOf(sample())
	nonce, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	if err := json.Unmarshal(nonce, &asked); err != nil || asked == data {
		t.Errorf("a server can ask for %q (%v)", data, err)
	}
}
