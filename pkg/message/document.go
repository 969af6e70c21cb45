package message

import (
	"slices"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Documents in buckets are signed as messages are. The second token of their
// subject is neither command nor event, so none can be taken for a message.

// Of documents that may travel packed.
const (
	directionDesired  subjects.Direction = "desired"
	directionReported subjects.Direction = "reported"
	directionResource subjects.Direction = "resource"
	directionOrder    subjects.Direction = "order"
	directionQueue    subjects.Direction = "queue"
)

// DesiredSubject is what the signature of a desired document covers.
func DesiredSubject(node, method, domain string) subjects.Subject {
	return subjects.Subject{Node: node, Direction: directionDesired, Method: method, Domain: domain}
}

// ReportedSubject is what the signature of a reported document covers.
func ReportedSubject(node, method, domain string) subjects.Subject {
	return subjects.Subject{Node: node, Direction: directionReported, Method: method, Domain: domain}
}

// ResourceSubject is what the signature of a resource covers.
func ResourceSubject(kind, name string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: directionResource, Method: kind, Domain: name}
}

// RegisterSubject is what the signature of a node's entry in the register covers.
func RegisterSubject(node string) subjects.Subject {
	return subjects.Subject{Node: node, Direction: "register", Method: "node", Domain: "node"}
}

// VerifyDocument decides whether a document was written by a trusted key of
// one of the roles, and unpacks it then. The error is Refused; it is Invalid for
// what cannot be unpacked.
func VerifyDocument(m *Message, trust Trust, roles ...subjects.Role) error {
	_, err := VerifyStored(m, time.Time{}, trust, roles...)
	return err
}

// VerifyStored is VerifyDocument for what was stored at a moment of the
// broker's clock: what somebody wrote while their key was believed stands. It
// returns who wrote it.
func VerifyStored(m *Message, at time.Time, trust Trust, roles ...subjects.Role) (Trusted, error) {
	if err := m.CheckSignature(); err != nil {
		return Trusted{}, err
	}
	owner, err := Stands(m.Key, at, trust, roles...)
	if err != nil {
		return owner, err
	}
	return owner, m.Unpack()
}

// Stands is the part of VerifyStored that another trust set can change: whose
// key it is, and what that one may write.
func Stands(key string, at time.Time, trust Trust, roles ...subjects.Role) (Trusted, error) {
	owner, ok := trust(key)
	if !ok && !owner.stood(at) {
		return owner, owner.unbelieved(key, "")
	}
	if !slices.Contains(roles, owner.Role) {
		return owner, fleet.Errorf(fleet.Refused, "%s is %s and may not write this", owner.Name, owner.Role)
	}
	return owner, nil
}
