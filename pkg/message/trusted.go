package message

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// every stands for all methods.
const every = "*"

// Trusted says who a key belongs to and what it may send.
type Trusted struct {
	Name    string // empty for a node whose key was taken back
	Role    subjects.Role
	Methods []string // "*" is every one
	Nodes   []string // HashNode of Account; empty is every one
	Account string
	// Ended is since when nothing that the key signs is believed, by the
	// broker's clock, and Why the reason; zero for a key that is good.
	Ended time.Time
	Why   string
}

// Trust finds the owner of a public key; ok is false for one that is not
// believed. The owner is known nevertheless where the key was once, and Why says
// what became of it.
type Trust func(key string) (owner Trusted, ok bool)

// May reports whether the owner may send a method.
func (t Trusted) May(method string) bool {
	return slices.Contains(t.Methods, every) || slices.Contains(t.Methods, method)
}

// On reports whether the owner may command a node.
func (t Trusted) On(node string) bool {
	return len(t.Nodes) == 0 || slices.Contains(t.Nodes, HashNode(t.Account, node))
}

// allows says why the owner may not send a command; the error is Refused.
func (t Trusted) allows(s subjects.Subject) error {
	switch {
	case len(t.Methods) == 0:
		return fleet.Errorf(fleet.Refused, "%s is %s and may send no commands", t.Name, t.Role)
	case !t.May(s.Method):
		return fleet.Errorf(fleet.Refused, "%s is %s and may not send %s, only %s", t.Name, t.Role, s.Method, few(t.Methods))
	case !t.On(s.Node):
		return fleet.Errorf(fleet.Refused, "%s may not command %s: only some nodes, and it is none of them", t.Name, s.Node)
	}
	return nil
}

// few is a list for people, which may be long.
func few(names []string) string {
	const most = 10
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// unbelieved says why a key's word does not count; the error is Refused. by
// names who does not believe it, "" for nobody in particular.
func (t Trusted) unbelieved(key, by string) error {
	switch {
	case t.Why != "":
		return fleet.Errorf(fleet.Refused, "%s", t.Why)
	case by != "":
		return fleet.Errorf(fleet.Refused, "key %s is not one that %s trusts", short(key), by)
	}
	return fleet.Errorf(fleet.Refused, "key %s is not a trusted one", short(key))
}

// stood reports whether a key that is believed no more still was when a
// document was stored.
func (t Trusted) stood(at time.Time) bool {
	return !t.Ended.IsZero() && !at.IsZero() && at.Before(t.Ended)
}

// Lookup is the set as a Trust, at the moments that now tells: the broker's
// clock, zero while it is not known.
func (s TrustSet) Lookup(now func() time.Time) Trust {
	byKey := make(map[string]Trusted, len(s.Keys)+len(s.Revoked))
	for _, k := range s.Keys {
		t := Trusted{Name: k.Name, Role: k.Role, Methods: k.Methods, Nodes: k.Nodes, Account: s.Account, Ended: k.Until}
		if !k.Until.IsZero() {
			t.Why = fmt.Sprintf("the key of %s was good until %s", k.Name, k.Until.UTC().Format(time.RFC3339))
		}
		byKey[k.Key] = t
	}
	revoked := make(map[string]bool, len(s.Revoked))
	for _, k := range s.Revoked {
		t := Trusted{Name: k.Name, Role: k.Role, Methods: k.Methods, Nodes: k.Nodes, Account: s.Account, Ended: k.At}
		t.Why = fmt.Sprintf("the key of %s was revoked on %s", cmp.Or(k.Name, "the "+string(k.Role)), k.At.UTC().Format(time.RFC3339))
		if k.Reason != "" {
			t.Why += ": " + k.Reason
		}
		byKey[k.Key], revoked[k.Key] = t, true
	}
	return func(key string) (Trusted, bool) {
		owner, known := byKey[key]
		if !known || revoked[key] || !owner.Ended.IsZero() && !now().Before(owner.Ended) {
			return owner, false
		}
		owner.Ended, owner.Why = time.Time{}, ""
		return owner, true
	}
}
