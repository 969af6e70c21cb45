package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Nodes come and go by the thousand, and no node needs to know whose key was
// taken back among them. So a trust set has them in lists that lie beside it,
// each named by its hash: who judges nodes reads those too. What a list says
// needs no signature of its own.

// revokedNode is a RevokedKey of a node, in a list.
type revokedNode struct {
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires,omitzero"`
	Reason  string    `json:"reason,omitempty"`
}

// EncodeRevoked is a list of nodes' keys that were taken back.
func EncodeRevoked(keys []RevokedKey) []byte {
	list := make([]revokedNode, 0, len(keys))
	for _, k := range keys {
		list = append(list, revokedNode{k.Key, k.At, k.Expires, k.Reason})
	}
	body, _ := json.Marshal(list) // of plain fields: cannot fail
	return body
}

// DecodeRevoked is its inverse. The error is Invalid.
func DecodeRevoked(body []byte) (keys []RevokedKey, err error) {
	var list []revokedNode
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "the list of revoked nodes cannot be read: %w", err)
	}
	var faults fleet.Faults
	seen := make(map[string]bool, len(list))
	for _, n := range list {
		checkKey("revoked", n.Key, seen, &faults)
		keys = append(keys, RevokedKey{Key: n.Key, Role: subjects.Node, At: n.At, Expires: n.Expires, Reason: n.Reason})
	}
	return keys, faults.Err()
}

// HashRevoked is what a trust set names a list by.
func HashRevoked(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Missing are the hashes of the lists of revoked nodes that the set names which
// is believed, and that AddRevoked was not given.
func (k *TrustKeeper) Missing() (hashes []string) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, hash := range k.set.RevokedNodes {
		if _, have := k.lists[hash]; !have {
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

// AddRevoked takes a list of revoked nodes that the set names. Until all of
// them are there, those of the set before it count as well. The error is Refused
// for a list that the set does not name, and Invalid.
func (k *TrustKeeper) AddRevoked(body []byte) error {
	hash := HashRevoked(body)
	keys, err := DecodeRevoked(body)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.set.RevokedNodes, hash) {
		return fleet.Errorf(fleet.Refused, "trust set %d names no list of revoked nodes %s", k.set.Version, hash[:8])
	}
	k.lists[hash] = revokedList{body, keys}
	k.build()
	return nil
}

// Revoked are the lists that the set names which is believed, as AddRevoked was
// given them.
func (k *TrustKeeper) Revoked() (bodies [][]byte) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, hash := range k.set.RevokedNodes {
		if list, have := k.lists[hash]; have {
			bodies = append(bodies, list.body)
		}
	}
	return bodies
}

// revokedList is one list, as it was read and what it says.
type revokedList struct {
	body []byte
	keys []RevokedKey
}

// build makes what Find looks in, and forgets lists that the set does not name
// once it has all that it names. The lock is held.
func (k *TrustKeeper) build() {
	complete := true
	for _, hash := range k.set.RevokedNodes {
		_, have := k.lists[hash]
		complete = complete && have
	}
	set := k.set
	set.Revoked = slices.Clone(set.Revoked)
	for hash, list := range k.lists {
		if complete && !slices.Contains(k.set.RevokedNodes, hash) {
			delete(k.lists, hash)
			continue
		}
		set.Revoked = append(set.Revoked, list.keys...)
	}
	k.find = set.Lookup(k.now)
}
