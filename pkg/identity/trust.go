package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Trust is the set of keys that a node pins: whose commands it takes. The
// broker has no part in it, so a broker that was broken into forges nothing.
type Trust struct {
	Keys []TrustedKey `json:"keys"`
	// Curve is the stations' public curve key, which people seal secrets to.
	Curve string `json:"curve,omitempty"`
}

// TrustedKey is one sender and what it may send.
type TrustedKey struct {
	Key     string        `json:"key"` // public user nkey
	Name    string        `json:"name"`
	Role    subjects.Role `json:"role"`
	Methods []string      `json:"methods"` // "*" is every one
}

// May reports whether the key's owner may send a method.
func (k TrustedKey) May(method string) bool {
	return slices.Contains(k.Methods, "*") || slices.Contains(k.Methods, method)
}

// Find is the owner of a key; ok is false for one that is not trusted.
func (t Trust) Find(key string) (owner TrustedKey, ok bool) {
	for _, k := range t.Keys {
		if k.Key == key {
			return k, true
		}
	}
	return TrustedKey{}, false
}

// TrustFile is where the tenant's trust file lies.
func (a *Authority) TrustFile() string { return a.in("trust.json") }

// updateTrust brings the tenant's trust file up to date. The keys that are
// revoked are in it no more.
func (a *Authority) updateTrust(revoked ...message.RevokedKey) error {
	t := a.Trust()
	t.Keys = slices.DeleteFunc(t.Keys, func(k TrustedKey) bool {
		return slices.ContainsFunc(revoked, func(r message.RevokedKey) bool { return r.Key == k.Key })
	})
	return WriteTrust(a.TrustFile(), t)
}

// Trust are the keys of all users of the tenant but nodes. A creds file that
// cannot be read is left out: nobody is trusted by a mistake.
func (a *Authority) Trust() Trust {
	users, _ := a.trusted()
	t := Trust{Keys: []TrustedKey{}}
	t.Curve, _ = a.curve()
	for _, u := range users {
		if !slices.Contains(subjects.Senders(), u.Role) {
			continue
		}
		t.Keys = append(t.Keys, TrustedKey{u.Key, u.Name, u.Role, a.sentBy(u)})
	}
	return t
}

// LoadTrust reads a trust file strictly: an unknown field, an unknown role or
// a key that stands twice is Invalid.
func LoadTrust(path string) (Trust, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Trust{}, fleet.Errorf(fleet.Invalid, "read trusted keys: %w", err)
	}
	var t Trust
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Trust{}, fleet.Errorf(fleet.Invalid, "trusted keys %s: %w", path, err)
	}
	if err := t.validate(); err != nil {
		return Trust{}, fmt.Errorf("trusted keys %s: %w", path, err)
	}
	return t, nil
}

// WriteTrust puts a trust file in place in one step.
func WriteTrust(path string, t Trust) error {
	if err := t.validate(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}

func (t Trust) validate() error {
	var faults fleet.Faults
	if t.Curve != "" && !message.ValidCurve(t.Curve) {
		faults.Addf("curve", "%q is not a public curve key (X…)", t.Curve)
	}
	seen := make(map[string]bool)
	for i, k := range t.Keys {
		at := fmt.Sprintf("keys[%d]", i)
		if !nkeys.IsValidPublicUserKey(k.Key) {
			faults.Addf(at+".key", "%q is not a user's public key (U…)", k.Key)
		}
		if seen[k.Key] {
			faults.Addf(at+".key", "%s stands twice", k.Key)
		}
		seen[k.Key] = true
		if err := fleet.CheckNode(k.Name); err != nil {
			faults.Addf(at+".name", "%v", err)
		}
		if !slices.Contains(subjects.Senders(), k.Role) {
			faults.Addf(at+".role", "%q may not command nodes: use one of %v", k.Role, subjects.Senders())
		}
	}
	return faults.Err()
}
