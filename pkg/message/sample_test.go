package message_test

import (
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// signer is a user with a key of its own.
type signer struct {
	nkeys.KeyPair
	public string
}

func (s signer) PublicKey() string { return s.public }

func newSigner(t testing.TB) signer {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return signer{pair, public}
}

// stored is a moment of the broker's clock at which the sample is still good.
var stored = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const sampleID = "01KAM3S2Y1C6Q8Z5V7W9X0ABCD"

// sample is a command from alice to ship1, unsigned, with every part filled.
func sample() message.Message {
	return message.Message{
		Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"},
		ID:      sampleID, From: "alice", Expires: stored.Add(time.Hour), Replays: "01KAM3S2Y1C6Q8Z5V7W9X00000",
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Body: []byte(`{"why":"test"}`),
	}
}

func signed(t testing.TB, m message.Message, by message.Signer) message.Message {
	t.Helper()
	if err := m.Sign(by); err != nil {
		t.Fatal(err)
	}
	return m
}

// trusting knows one key, as alice's.
func trusting(key string, role subjects.Role) message.Trust {
	return func(k string) (message.Trusted, bool) {
		if k != key {
			return message.Trusted{}, false
		}
		return message.Trusted{Name: "alice", Role: role, Methods: []string{"*"}}, true
	}
}

// refused fails the test unless an error has the kind and says the words.
func refused(t *testing.T, err error, kind fleet.Kind, words string) {
	t.Helper()
	if fleet.KindOf(err) != kind {
		t.Errorf("the kind is %q, want %q: %v", fleet.KindOf(err), kind, err)
	}
	if err != nil && !contains(err.Error(), words) {
		t.Errorf("the reason is %q, want one with %q", err, words)
	}
}
