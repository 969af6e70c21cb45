package message

import (
	"slices"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// RenewedSubject is what the signature of a user's renewed JWT covers.
func RenewedSubject(user string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "trust", Method: "jwt", Domain: user}
}

// SignRenewed makes the document by which a user, named by its public key, gets
// its renewed JWT. A key that signs trust sets signs it, so that nobody who may
// write to the bucket can lock a user out with a JWT that no broker takes.
func SignRenewed(user, token string, signer Signer) (Message, error) {
	m := Message{Subject: RenewedSubject(user), ID: NewID(), From: trustFrom, Body: []byte(token)}
	return m, m.Sign(signer)
}

// OpenRenewed is the JWT in a document for a user that one of the signers of the
// trust set signed. The error is Refused.
func OpenRenewed(m Message, user string, signers []string) (token string, err error) {
	if m.Subject != RenewedSubject(user) {
		return "", fleet.Errorf(fleet.Refused, "%s is not the renewed JWT of %s", m.Subject, short(user))
	}
	if err := m.CheckSignature(); err != nil {
		return "", err
	}
	if !slices.Contains(signers, m.Key) {
		return "", fleet.Errorf(fleet.Refused, "the renewed JWT of %s is signed by key %s, which signs no trust set", short(user), short(m.Key))
	}
	return string(m.Body), nil
}
