package message

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// TrustSet is whom nodes and stations of a tenant believe. It is signed by a
// key of its own, which no broker, station or node has, and every version names
// the keys that may sign the next one.
type TrustSet struct {
	Version  uint64    `json:"version"`
	Account  string    `json:"account"`  // the tenant's, "A…"
	IssuedAt time.Time `json:"issuedAt"` // by the signer's clock, for people
	// Signers may sign the next version: public nkeys, "U…".
	Signers []string `json:"signers"`
	// Issuers sign the JWTs of nodes: public nkeys, "A…".
	Issuers []string `json:"issuers,omitempty"`
	// Curve is the stations' public curve key, which people seal secrets to.
	Curve string `json:"curve,omitempty"`
	// MaxNodes is how many nodes the tenant may register; 0 is any number.
	MaxNodes int `json:"maxNodes,omitempty"`
	// Authorities are the certificates, as PEM, that brokers' may be signed by,
	// and Dropped those that were among them once, by the SHA-256 of each in
	// hex: whoever hears the set keeps a file of authorities by it.
	Authorities string       `json:"authorities,omitempty"`
	Dropped     []string     `json:"dropped,omitempty"`
	Keys        []TrustedKey `json:"keys"`
	Revoked     []RevokedKey `json:"revoked,omitempty"`
	// RevokedNodes are the hashes of the lists of nodes' keys that were taken
	// back, as HashRevoked has them.
	RevokedNodes []string `json:"revokedNodes,omitempty"`
}

// TrustedKey is one sender and what it may send.
type TrustedKey struct {
	Key     string        `json:"key"` // public nkey, "U…"
	Name    string        `json:"name"`
	Role    subjects.Role `json:"role"`
	Methods []string      `json:"methods"`         // "*" is every one
	Nodes   []string      `json:"nodes,omitempty"` // as HashNode has them; empty is every one
	Until   time.Time     `json:"until,omitzero"`  // by the broker's clock; zero is without end
}

// RevokedKey is a key that is believed no more, a person's, a station's or a
// node's. Nodes take nothing that it signed. What it wrote to a bucket before
// At, by the broker's clock, stands as far as its limits went: who leaves does
// not take the sites along.
type RevokedKey struct {
	Key     string        `json:"key"`
	Name    string        `json:"name,omitempty"` // empty for a node, which others are not to know
	Role    subjects.Role `json:"role"`
	Methods []string      `json:"methods,omitempty"`
	Nodes   []string      `json:"nodes,omitempty"`
	At      time.Time     `json:"at"`
	// Expires is when the last JWT of the key ends: whoever signs the next set
	// may then know that no broker lets it in. Zero where that is unknown.
	Expires time.Time `json:"expires,omitzero"`
	Reason  string    `json:"reason,omitempty"`
}

// TrustSubject is what the signature of a trust set covers.
func TrustSubject() subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "trust", Method: "set", Domain: "set"}
}

// trustFrom is the name of who signs trust sets.
const trustFrom = "trust"

// SignTrust makes the signed document of a trust set. The error is Invalid and
// names all faults.
func SignTrust(set TrustSet, signer Signer) (Message, error) {
	if err := set.validate(); err != nil {
		return Message{}, err
	}
	body, err := json.Marshal(set)
	if err != nil {
		return Message{}, err
	}
	if len(body) > MaxBody {
		return Message{}, fleet.Errorf(fleet.Invalid, "the trust set has %d bytes: at most %d", len(body), MaxBody)
	}
	m := Message{Subject: TrustSubject(), ID: NewID(), From: trustFrom, Body: body}
	return m, m.Sign(signer)
}

// OpenTrust reads a trust set strictly and checks that its signature fits. It
// says nothing about whether the signer may sign one: that is Accept's. The
// error is Refused or Invalid.
func OpenTrust(m Message) (set TrustSet, err error) {
	if m.Subject != TrustSubject() {
		return set, fleet.Errorf(fleet.Invalid, "%s is not a trust set", m.Subject)
	}
	if err := m.CheckSignature(); err != nil {
		return set, err
	}
	if len(m.Body) > MaxBody {
		return set, fleet.Errorf(fleet.Invalid, "the trust set has %d bytes: at most %d", len(m.Body), MaxBody)
	}
	// A limit that this program does not know must not be passed over.
	d := json.NewDecoder(bytes.NewReader(m.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&set); err != nil {
		return TrustSet{}, fleet.Errorf(fleet.Invalid, "the trust set cannot be read: %w", err)
	}
	if err := set.validate(); err != nil {
		return TrustSet{}, err
	}
	return set, nil
}

// Accept decides whether a document takes the place of the current set, and
// returns what it holds. The error is Conflict where it is not newer, and
// Refused where it is of another account or signed by none of the current
// set's signers.
func (s TrustSet) Accept(m Message) (TrustSet, error) {
	set, err := OpenTrust(m)
	if err != nil {
		return TrustSet{}, err
	}
	switch {
	case set.Account != s.Account:
		return TrustSet{}, fleet.Errorf(fleet.Refused, "the trust set is of account %s and not of %s", short(set.Account), short(s.Account))
	case set.Version <= s.Version:
		return TrustSet{}, fleet.Errorf(fleet.Conflict, "trust set %d is not newer than trust set %d", set.Version, s.Version)
	case !slices.Contains(s.Signers, m.Key):
		return TrustSet{}, fleet.Errorf(fleet.Refused, "trust set %d is signed by key %s, which trust set %d does not name as a signer", set.Version, short(m.Key), s.Version)
	}
	return set, nil
}

// SameContent reports whether two sets say the same: all but version and time.
func (s TrustSet) SameContent(other TrustSet) bool {
	s.Version, s.IssuedAt = other.Version, other.IssuedAt
	a, errA := json.Marshal(s)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func (s TrustSet) validate() error {
	var faults fleet.Faults
	if s.Version == 0 {
		faults.Addf("version", "is missing")
	}
	if !nkeys.IsValidPublicAccountKey(s.Account) {
		faults.Addf("account", "%q is not the public key of an account (A…)", s.Account)
	}
	if len(s.Signers) == 0 {
		faults.Addf("signers", "are missing: nobody could sign the next version")
	}
	for i, key := range s.Signers {
		if !nkeys.IsValidPublicUserKey(key) {
			faults.Addf(fmt.Sprintf("signers[%d]", i), "%q is not a user's public key (U…)", key)
		}
	}
	for i, key := range s.Issuers {
		if !nkeys.IsValidPublicAccountKey(key) {
			faults.Addf(fmt.Sprintf("issuers[%d]", i), "%q is not the public key of an account (A…)", key)
		}
	}
	if s.Curve != "" && !ValidCurve(s.Curve) {
		faults.Addf("curve", "%q is not a public curve key (X…)", s.Curve)
	}
	if s.MaxNodes < 0 {
		faults.Addf("maxNodes", "%d is less than 0", s.MaxNodes)
	}
	checkAuthorities(s.Authorities, s.Dropped, &faults)
	checkHashes("revokedNodes", s.RevokedNodes, &faults)
	seen := make(map[string]bool)
	for i, k := range s.Keys {
		k.check(fmt.Sprintf("keys[%d]", i), seen, &faults)
	}
	for i, k := range s.Revoked {
		at := fmt.Sprintf("revoked[%d]", i)
		checkKey(at, k.Key, seen, &faults)
		if k.Name != "" || k.Role != subjects.Node {
			checkName(at, k.Name, &faults)
		}
		if !slices.Contains(subjects.Roles(), k.Role) {
			faults.Addf(at+".role", "%q is not a role: use one of %v", k.Role, subjects.Roles())
		}
		if k.At.IsZero() {
			faults.Addf(at+".at", "is missing")
		}
	}
	return faults.Err()
}

func checkAuthorities(text string, dropped []string, faults *fleet.Faults) {
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			faults.Addf("authorities", "hold something else than certificates as PEM")
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
			faults.Addf("authorities", "hold a certificate that is not an authority's")
		}
		rest = after
	}
	checkHashes("dropped", dropped, faults)
}

func checkHashes(at string, hashes []string, faults *fleet.Faults) {
	for i, hash := range hashes {
		if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size {
			faults.Addf(fmt.Sprintf("%s[%d]", at, i), "%q is not a SHA-256", hash)
		}
	}
}

func (k TrustedKey) check(at string, seen map[string]bool, faults *fleet.Faults) {
	checkKey(at, k.Key, seen, faults)
	checkName(at, k.Name, faults)
	if !slices.Contains(subjects.Senders(), k.Role) {
		faults.Addf(at+".role", "%q may not command nodes: use one of %v", k.Role, subjects.Senders())
	}
	for _, method := range k.Methods {
		if err := fleet.CheckName("method", method); err != nil && method != every {
			faults.Addf(at+".methods", "%v", err)
		}
	}
	for _, node := range k.Nodes {
		if raw, err := hex.DecodeString(node); err != nil || len(raw) != nodeHash {
			faults.Addf(at+".nodes", "%q is not the hash of a node's name", node)
		}
	}
}

// nodeHash is how many bytes of its hash stand for a node's name.
const nodeHash = 16

// HashNode is what a trust set has in the place of a node's name, since every
// node reads the set and is not to learn the names of others. Who guesses a name
// can see that it is right.
func HashNode(account, name string) string {
	sum := sha256.Sum256([]byte("fairlead node\n" + account + "\n" + name))
	return hex.EncodeToString(sum[:nodeHash])
}

func checkKey(at, key string, seen map[string]bool, faults *fleet.Faults) {
	if !nkeys.IsValidPublicUserKey(key) {
		faults.Addf(at+".key", "%q is not a user's public key (U…)", key)
	}
	if seen[key] {
		faults.Addf(at+".key", "%s stands twice", key)
	}
	seen[key] = true
}

func checkName(at, name string, faults *fleet.Faults) {
	if err := fleet.CheckNode(name); err != nil {
		faults.Addf(at+".name", "%v", err)
	}
}
