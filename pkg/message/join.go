package message

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// JoinRequest is what a host says that wants to become a node. It travels
// signed by the key of the token that it joins with; Proof says that the host
// holds the key by which the node is to be known.
type JoinRequest struct {
	Name string `json:"name"`
	Key  string `json:"key"` // public nkey, "U…"
	// Labels that the host gives itself; the token says which it may.
	Labels map[string]string `json:"labels,omitempty"`
	Facts  fleet.Facts       `json:"facts"`
	Proof  string            `json:"proof"`
}

// JoinReply is a station's answer, signed by it.
type JoinReply struct {
	// Waiting says that a person has to approve the node first: ask again.
	Waiting bool              `json:"waiting,omitempty"`
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Node and Renew are the node's JWTs: to be a node with, and to ask for
	// new ones with when that one has ended.
	Node  string `json:"node,omitempty"`
	Renew string `json:"renew,omitempty"`
	// Trust is the signed trust set as it is stored.
	Trust Enclosed  `json:"trust,omitzero"`
	Now   time.Time `json:"now"` // the broker's clock
}

// RenewRequest is what a node says that wants new JWTs. It travels signed by
// the node's key. Where Key is another than that, the node wants to be known
// by it from now on, and Proof says that it holds it.
type RenewRequest struct {
	Key   string `json:"key"`
	Proof string `json:"proof,omitempty"`
	// Rename has the node become another, which is known by Key.
	Rename *Rename `json:"rename,omitempty"`
}

// Rename is what lets a node become another: an administrator's command, which
// no other node can use, since the request is signed by the node that it is for.
type Rename struct {
	To      string   `json:"to"`
	Command Enclosed `json:"command"` // as its sender signed it
}

// RenewReply is a station's answer. It bears no signature of its own: those of
// the JWTs say all.
type RenewReply struct {
	Node  string    `json:"node"`
	Renew string    `json:"renew"`
	Trust Enclosed  `json:"trust,omitzero"` // the signed trust set: who issues JWTs now
	Now   time.Time `json:"now"`
}

// JoinRequestSubject is what the signature of a request to join covers.
func JoinRequestSubject(token string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "join", Method: "request", Domain: token}
}

// JoinReplySubject is what the signature of its answer covers.
func JoinReplySubject(token string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "join", Method: "reply", Domain: token}
}

// RenewSubject is what the signature of a node's request for new JWTs covers.
func RenewSubject(node string) subjects.Subject {
	return subjects.Subject{Node: node, Direction: "renew", Method: "request", Domain: "node"}
}

// TokenSubject, TokenUseSubject, TokenWaitingSubject and TokenApprovedSubject
// are what the signatures of a token's documents cover.
func TokenSubject(id string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "token", Method: "token", Domain: id}
}

// TokenUseSubject is that of one use.
func TokenUseSubject(id string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "token", Method: subjects.TokenUse, Domain: id}
}

// TokenWaitingSubject is that of a node that waits for its approval.
func TokenWaitingSubject(id string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "token", Method: subjects.TokenWaiting, Domain: id}
}

// TokenApprovedSubject is that of an approval.
func TokenApprovedSubject(id string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "token", Method: subjects.TokenApproved, Domain: id}
}

// held is what the holder of a key signs to show that it holds it: for which
// purpose, with which token or node, and the key itself.
func held(purpose, of, name, key string) []byte {
	return []byte("\xfffairlead key 1\n" + purpose + "\n" + of + "\n" + name + "\n" + key + "\n")
}

// ProveHeld signs that s holds its key, for joining with a token under a name,
// for renewing as a node, or for becoming one of another name.
func ProveHeld(purpose, of, name string, s Signer) (string, error) {
	signature, err := s.Sign(held(purpose, of, name, s.PublicKey()))
	return base64.RawURLEncoding.EncodeToString(signature), err
}

// Purposes of ProveHeld.
const (
	ToJoin   = "join"
	ToRenew  = "renew"
	ToRename = "rename"
)

// CheckHeld is the inverse of ProveHeld. The error is Refused.
func CheckHeld(purpose, of, name, key, proof string) error {
	public, err := publicKey(key)
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(proof)
	if err != nil || !ed25519.Verify(public, held(purpose, of, name, key), signature) {
		return fleet.Errorf(fleet.Refused, "who asks does not prove to hold key %s", short(key))
	}
	return nil
}

// Enclosed is a signed message in the body of another. Its subject is not in
// it: who reads it knows which it must be.
type Enclosed struct {
	Headers map[string][]string `json:"headers"`
	Body    []byte              `json:"body"`
}

// Enclose is the inverse of Enclosed.Message.
func Enclose(m Message) Enclosed { return Enclosed{m.Headers(), m.Wire()} }

// Message decodes what is enclosed as a message on a subject. The signature
// is not checked.
func (e Enclosed) Message(as subjects.Subject) (Message, error) {
	m, faults := DecodeAs(as, e.Headers, e.Body)
	return m, faults.Err()
}

// IsZero reports whether nothing is enclosed.
func (e Enclosed) IsZero() bool { return len(e.Headers) == 0 && len(e.Body) == 0 }

// SignBody makes a signed message with a value as its body. answers is the id
// of the message that it answers, "" for one that answers none.
func SignBody(as subjects.Subject, from, answers string, value any, s Signer) (Message, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return Message{}, err
	}
	m := Message{Subject: as, ID: NewID(), From: from, Command: answers, Body: body}
	return m, m.Sign(s)
}
