package message

import (
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// VerifyCommand decides whether a node may take a command: it is for this
// node, whole, signed by a trusted key whose owner may send it there, and its
// time has not run out by the broker's clock. Only then it is unpacked. Each refusal has its own reason;
// the kind is Invalid, Refused or Expired.
func VerifyCommand(m *Message, node string, trust Trust, brokerNow time.Time) (Trusted, error) {
	if m.Subject.Node != node {
		return Trusted{}, fleet.Errorf(fleet.Refused, "the command is for %s and reached %s", m.Subject.Node, node)
	}
	if err := m.CheckSignature(); err != nil {
		return Trusted{}, err
	}
	owner, err := MaySend(*m, trust)
	if err != nil {
		return owner, err
	}
	if _, ok := CreatedAt(m.ID); !ok {
		return owner, fleet.Errorf(fleet.Invalid, "message id %q is not a ULID", m.ID)
	}
	if len(m.Wire()) > MaxBody {
		return owner, fleet.Errorf(fleet.Invalid, "the body has %d bytes: at most %d", len(m.Wire()), MaxBody)
	}
	if m.Expires.IsZero() {
		return owner, fleet.Errorf(fleet.Invalid, "the command has no %s header", HeaderExpires)
	}
	if !brokerNow.Before(m.Expires) {
		return owner, fleet.Errorf(fleet.Expired, "the command was good until %s", m.Expires.UTC().Format(time.RFC3339))
	}
	return owner, m.Unpack()
}

// MaySend is the part of VerifyCommand that another trust set can change: whose
// key it is, and what that one may send. The error is Refused.
func MaySend(m Message, trust Trust) (Trusted, error) {
	owner, ok := trust(m.Key)
	if !ok {
		return owner, owner.unbelieved(m.Key, m.Subject.Node)
	}
	if m.From != owner.Name {
		return owner, fleet.Errorf(fleet.Refused, "the message says it is from %q and is signed by %q", m.From, owner.Name)
	}
	return owner, owner.allows(m.Subject)
}

// VerifyEvent decides whether an event comes from the node that it is about,
// or from a station. nodeKey is the node's public key by the register, ""
// where the node is not in it; at is when the event was stored, since what
// somebody said while they were believed stands. What is believed is unpacked.
func VerifyEvent(m *Message, at time.Time, nodeKey string, trust Trust) error {
	if err := m.CheckSignature(); err != nil {
		return err
	}
	owner, ok := trust(m.Key)
	if ok = ok || owner.stood(at); !ok && owner.Why != "" {
		return owner.unbelieved(m.Key, "")
	}
	if m.Key == nodeKey || ok && owner.Role == subjects.Station {
		return m.Unpack()
	}
	return fleet.Errorf(fleet.Refused, "the event on %s is signed by key %s, which is neither the node's nor a station's", m.Subject, short(m.Key))
}
