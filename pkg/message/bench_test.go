package message_test

import (
	"testing"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// 55 µs on one of two cores, nearly all of it Ed25519 and nkeys deriving the
// key anew; Credentials of package identity hold it ready.
func BenchmarkSign(b *testing.B) {
	alice, m := newSigner(b), sample()
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Sign(alice); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	alice := newSigner(b)
	m := signed(b, sample(), alice)
	trust := trusting(alice.public, subjects.Operator)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.VerifyCommand(&m, "ship1", trust, stored); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	m := signed(b, sample(), newSigner(b))
	s := message.Stored{Subject: m.StoredSubject(), Sequence: 7, At: stored, Headers: m.Headers(), Body: m.Body}
	b.ReportAllocs()
	for b.Loop() {
		if d := message.Receive(s); d.Fault != nil {
			b.Fatal(d.Fault)
		}
	}
}

// Stations seal each certificate's key once for each node that it goes to.
func BenchmarkSeal(b *testing.B) {
	c, _, err := message.NewCurve()
	if err != nil {
		b.Fatal(err)
	}
	key := make([]byte, 1700) // what PEM of RSA 2048 has
	for b.Loop() {
		if _, err := message.Seal(key, c.Public()); err != nil {
			b.Fatal(err)
		}
	}
}
