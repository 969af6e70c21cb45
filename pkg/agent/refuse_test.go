package agent_test

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// signed is a command as a user signs it, all in order.
func (n *node) signed(t *testing.T, user, method string, change func(*message.Message)) message.Message {
	t.Helper()
	m := message.Message{Subject: n.subject(method, "refused"), ID: message.NewID(), From: user, Expires: time.Now().Add(time.Hour)}
	if change != nil {
		change(&m)
	}
	if err := m.Sign(n.creds(t, user)); err != nil {
		t.Fatal(err)
	}
	return m
}

func encoded(m message.Message) *nats.Msg {
	return &nats.Msg{Subject: m.StoredSubject(), Header: m.Headers(), Data: m.Wire()}
}

// named is the id by which answers name a message that has no good one.
func named(sequence uint64) string { return "seq-" + strconv.FormatUint(sequence, 10) }

// Each refusal with the message that causes it. The id is "" where the answer
// names the message by its sequence.
func refusals(t *testing.T, n, other *node) map[string]struct {
	m     *nats.Msg
	id    string
	state message.State
	kind  fleet.Kind
	text  string
} {
	type refusal = struct {
		m     *nats.Msg
		id    string
		state message.State
		kind  fleet.Kind
		text  string
	}
	all := make(map[string]refusal)
	good := func(change func(*message.Message)) message.Message { return n.signed(t, "admin", work, change) }
	rejected := func(name string, m *nats.Msg, id string, kind fleet.Kind, text string) {
		all[name] = refusal{m, id, message.Rejected, kind, text}
	}

	rejected("unsigned, on the four tokens", &nats.Msg{Subject: n.subject(work, "refused").String()}, "", fleet.Refused, "not signed")
	rejected("unsigned, with a body that is no JSON", &nats.Msg{Subject: n.subject(work, "refused").String(), Data: []byte("\x00\xff{")}, "", fleet.Refused, "not signed")
	m := good(nil)
	rejected("signed, on the four tokens", &nats.Msg{Subject: m.Subject.String(), Header: m.Headers()}, "", fleet.Invalid, "is stored as _")
	n.misnamed = map[string]bool{m.ID: true}

	m = good(func(m *message.Message) { m.Body = []byte(`{"gate":""}`) })
	m.Body = []byte(`{"gate":"x"}`)
	rejected("tampered body", encoded(m), m.ID, fleet.Refused, "signature does not fit")
	m = good(nil)
	m.Expires = m.Expires.Add(time.Hour)
	rejected("tampered expiry", encoded(m), m.ID, fleet.Refused, "signature does not fit")
	m = good(nil)
	extra := encoded(m)
	extra.Header["Fairlead-Extra"] = []string{"x"}
	rejected("added header", extra, m.ID, fleet.Refused, "signature does not fit")
	m = good(nil)
	twice := encoded(m)
	twice.Header[message.HeaderFrom] = []string{"admin", "root"}
	rejected("doubled header", twice, m.ID, fleet.Invalid, "given 2 times")
	m = good(nil)
	m.Subject.Domain = "other"
	rejected("another domain", encoded(m), m.ID, fleet.Refused, "signature does not fit")
	m = good(nil)
	m.Subject.Method = durable
	rejected("another method", encoded(m), m.ID, fleet.Refused, "signature does not fit")

	m = n.signed(t, "mallory", work, nil)
	rejected("key without trust", encoded(m), m.ID, fleet.Refused, "is not one that "+n.name+" trusts")
	m = n.signed(t, "olga", work, func(m *message.Message) { m.From = "admin" })
	rejected("from another than the key's", encoded(m), m.ID, fleet.Refused, `from "admin" and is signed by "olga"`)
	for _, user := range []string{"olga", "vera"} {
		m = n.signed(t, user, shell, nil)
		rejected("role of "+user, encoded(m), m.ID, fleet.Refused, user+" is ")
	}
	m = other.signed(t, "admin", work, nil)
	replay := encoded(m)
	replay.Subject = strings.Replace(replay.Subject, other.name, n.name, 1)
	rejected("another node's command", replay, m.ID, fleet.Refused, "signature does not fit")

	m = good(func(m *message.Message) { m.Expires = time.Now().Add(-2 * time.Second) })
	all["expired"] = refusal{encoded(m), m.ID, message.Expired, fleet.Expired, "was good until"}
	m = good(func(m *message.Message) { m.Expires = time.Time{} })
	rejected("without expiry", encoded(m), m.ID, fleet.Invalid, "no "+message.HeaderExpires)
	m = good(func(m *message.Message) { m.ID = "last-tuesday-" + n.name })
	rejected("id that is no ULID", encoded(m), m.ID, fleet.Invalid, "is not a ULID")
	m = good(nil)
	moved := encoded(m)
	n.misnamed[m.ID] = true
	moved.Subject = subjects.Stored(m.Subject, message.NewID())
	rejected("stored under another id", moved, "", fleet.Invalid, "is stored as")

	m = good(func(m *message.Message) { m.Body = bytes.Repeat([]byte(" "), message.MaxBody+1) })
	rejected("oversize body", encoded(m), m.ID, fleet.Invalid, "the body has 524289 bytes")
	m = good(func(m *message.Message) { m.Body = bytes.Repeat([]byte("x"), 1_000_000) })
	rejected("body near the broker's limit", encoded(m), m.ID, fleet.Invalid, "the body has 1000000 bytes")
	for name, body := range map[string]string{
		"malformed JSON": "{", "JSON of another type": "[1]", "more behind the JSON": "{} {}", "binary body": "\x00\x01\xff", "unknown field": `{"gaet":"x"}`,
	} {
		m = good(func(m *message.Message) { m.Body = []byte(body) })
		rejected(name, encoded(m), m.ID, fleet.Invalid, "body of work: ")
	}
	m = good(func(m *message.Message) {
		headers := m.Headers()
		headers[message.HeaderEncoding] = []string{"br"}
		*m, _ = message.DecodeAs(m.Subject, headers, []byte("{}")) // keeps the header, for the signature
	})
	rejected("unknown encoding", encoded(m), m.ID, fleet.Invalid, `"br" is not known here`)
	m = good(func(m *message.Message) { m.Body = []byte(`{"gate":"x"` + strings.Repeat(" ", 2000) + "}") })
	cut := encoded(m)
	cut.Data = cut.Data[:len(cut.Data)-1]
	rejected("packed, and cut short", cut, m.ID, fleet.Refused, "signature does not fit")
	m = good(func(m *message.Message) { m.Body = []byte(`{"gaet":"x"` + strings.Repeat(" ", 2000) + "}") })
	rejected("packed, and no body of the method", encoded(m), m.ID, fleet.Invalid, "body of work: ")
	m = n.signed(t, "admin", "flywheel", nil)
	rejected("unknown method", encoded(m), m.ID, fleet.Unknown, `no method "flywheel" here: there are cancel, `)
	m = n.signed(t, "admin", handlers.MethodFilePush, nil)
	rejected("domain that the method lacks", encoded(m), m.ID, fleet.Unknown, `filepush has no domain "refused": it is filepush.files`)

	m = good(nil)
	garbage := encoded(m)
	garbage.Header[message.HeaderExpires] = []string{"tomorrow"}
	rejected("garbage expiry", garbage, m.ID, fleet.Invalid, "is not a time such as")
	m = good(nil)
	garbage = encoded(m)
	garbage.Header[message.HeaderSignature] = []string{"%%%"}
	rejected("garbage signature", garbage, m.ID, fleet.Refused, "is not base64")
	m = good(nil)
	garbage = encoded(m)
	garbage.Header[message.HeaderKey] = []string{"UAAA"}
	rejected("garbage key", garbage, m.ID, fleet.Refused, "is not a user's public key")
	garbage = &nats.Msg{Subject: subjects.Stored(n.subject(work, "refused"), message.NewID()), Header: nats.Header{
		message.HeaderID: {"not an id of " + n.name, "\x01"}, message.HeaderFrom: {"\xff\xfe"}, message.HeaderState: {"done"}, "Fairlead-": {""},
		message.HeaderTrace: {strings.Repeat("0", 60_000)}}, Data: bytes.Repeat([]byte{0xff}, 600<<10)}
	rejected("garbage throughout", garbage, "", fleet.Refused, "not signed")
	garbage = &nats.Msg{Subject: subjects.Stored(n.subject(work, "refused"), message.NewID()), Header: nats.Header{
		message.HeaderTrace: {strings.Repeat("0", 65_000)}}}
	rejected("trace as large as headers may be", garbage, "", fleet.Refused, "not signed")
	garbage = &nats.Msg{Subject: subjects.Stored(n.subject(work, "refused"), message.NewID()), Header: nats.Header{
		message.HeaderID: {n.name + strings.Repeat("\x02", 64_000)}}}
	rejected("id as large as headers may be", garbage, "", fleet.Refused, "not signed")
	// Subjects that the broker takes and that are none.
	for name, change := range map[string]func(string) string{
		"method": func(s string) string { return strings.Replace(s, "."+work+".", ".wo$rk.", 1) },
		"domain": func(s string) string { return strings.Replace(s, ".refused", ".überall", 1) },
	} {
		bare := &nats.Msg{Subject: change(n.subject(work, "refused").String())}
		rejected("no "+name, bare, "", fleet.Invalid, name+" ")
		m = good(nil)
		n.misnamed[m.ID] = true
		signed := encoded(m)
		signed.Subject = change(signed.Subject)
		rejected("signed, and no "+name, signed, "", fleet.Invalid, name+" ")
	}
	m = good(nil)
	n.misnamed[m.ID] = true
	odd := encoded(m)
	odd.Subject = strings.TrimSuffix(odd.Subject, m.ID) + "i$d"
	rejected("no id", odd, "", fleet.Invalid, "is not a message id")
	// The marks that a stream adds to what it shows, from somebody else.
	forged := &nats.Msg{Subject: subjects.Stored(n.subject(work, "refused"), message.NewID()), Header: nats.Header{
		"Nats-Stream": {"COMMANDS"}, "Nats-Subject": {subjects.Stored(other.subject(work, "refused"), "x")},
		"Nats-Sequence": {"1"}, "Nats-Time-Stamp": {"2999-01-01T00:00:00Z"}}}
	rejected("forged marks of a stream", forged, "", fleet.Refused, "not signed")
	return all
}

// checkRefusals sees that each refusal is told with its reason, and that the node works
// on. How the messages reach the agent is the caller's affair.
func checkRefusals(t *testing.T, deliver func(n *node, send func())) {
	n := sharedSystem(t).newNode(t)
	all := refusals(t, n, n.newNode(t))
	ids := make(map[string]string)
	deliver(n, func() {
		for name, r := range all {
			sequence := n.publish(t, r.m)
			if ids[name] = r.id; r.id == "" {
				ids[name] = named(sequence)
			}
		}
	})
	at := ""
	defer func() {
		if t.Failed() {
			t.Log("the last one was:", at)
		}
	}()
	for name, r := range all {
		at = name + ", " + ids[name]
		end := n.end(t, ids[name])
		if end.State != r.state || end.Kind != r.kind || !strings.Contains(end.Message, r.text) {
			t.Errorf("%s: %s (%s): %.200s", name, end.State, end.Kind, end.Message)
		}
		if end.From != n.name {
			t.Errorf("%s: answered by %q", name, end.From)
		}
	}
	if runs := n.runs(t); len(runs) > 0 {
		t.Errorf("these ran: %q", runs)
	}
	n.wellAfter(t)
}

func TestWhatIsRefusedIsRejectedWithItsReasonAndTheAgentLives(t *testing.T) {
	t.Parallel()
	t.Run("live", func(t *testing.T) {
		t.Parallel()
		checkRefusals(t, func(n *node, send func()) {
			n.start(t, nil)
			send()
		})
	})
	t.Run("from the mailbox", func(t *testing.T) {
		t.Parallel()
		checkRefusals(t, func(n *node, send func()) {
			send()
			n.start(t, nil)
		})
	})
}

func TestAnEndedCommandThatIsPublishedAgainRunsNothing(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	m := n.signed(t, "admin", work, nil)
	n.publish(t, encoded(m))
	if end := n.end(t, m.ID); end.State != message.Succeeded {
		t.Fatal(end)
	}
	n.publish(t, encoded(m)) // mostly before the mailbox is cleared
	n.cleared(t, m)
	n.publish(t, encoded(m))
	n.wellAfter(t)
	if runs := n.count(t, m.ID); runs != 1 {
		t.Errorf("ran %d times", runs)
	}
	n.cleared(t, m)
}

// A broker that sets its clock ahead has the journal forget nothing that it
// could then bring again, once the agent was started anew.
func TestAClockThatWasSetAheadHasNoCommandRunTwice(t *testing.T) {
	t.Parallel()
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	stopStation := s.stationHere(t, t.Cleanup, nil)
	s.connect(t, t.Cleanup)
	n := s.newNode(t)
	stopAgent := n.start(t, nil)
	m := n.signed(t, "admin", work, nil)
	n.publish(t, encoded(m))
	if end := n.end(t, m.ID); end.State != message.Succeeded {
		t.Fatal(end)
	}
	n.cleared(t, m)
	stopStation()

	ctx, cancel := patient(t)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: s.url, Credentials: s.creds(t, "station")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := make(chan struct{})
	stopLying, err := conn.Service(ctx, "fairlead", "1.0.0", "a clock that was set ahead", bus.Endpoint{Name: "sync", Subject: subjects.SyncAll,
		Handle: func(context.Context, string, []byte) (any, error) {
			asked <- struct{}{}
			return message.SyncReply{Now: time.Now().Add(2 * subjects.MaxCommandAge)}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it asks again when it has done with the first answer
		if err := conn.Tell(subjects.Nudge(n.name), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-asked:
		case <-ctx.Done():
			t.Fatal("the agent did not ask")
		}
	}
	stopLying()
	stopAgent()

	s.stationHere(t, t.Cleanup, nil)
	n.start(t, nil)
	n.publish(t, encoded(m))
	n.wellAfter(t)
	if runs := n.count(t, m.ID); runs != 1 {
		t.Errorf("ran %d times", runs)
	}
}
