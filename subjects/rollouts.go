package subjects

import "strings"

// What the bucket Rollouts keeps of a rollout.
const (
	RolloutPlan  = "plan"  // as a person signed it
	RolloutDoc   = "doc"   // a resource as the same person signed it
	RolloutState = "state" // how far it has come, signed by a station
	RolloutOrder = "order" // what a person wants of it
)

// RolloutLease is the key under which stations agree who of them drives.
const RolloutLease = "lease"

// Rollout is the second token of the subjects that the signatures of rollouts' parts
// cover, "fleet.rollout.<what>.<id>"; nobody publishes on them.
const Rollout Direction = "rollout"

// RolloutSubject is what the signature of a part of a rollout covers.
func RolloutSubject(id, what string) Subject { return Subject{prefix, Rollout, what, id} }

// ParseRollout reads the subject of what people order of a rollout as the audit has
// it, that of the bucket.
func ParseRollout(subject string) (s Subject, ok bool) {
	key, ok := strings.CutPrefix(subject, KeySubject(Rollouts, ""))
	if !ok {
		return s, false
	}
	id, what, _, ok := ParseRolloutKey(key)
	return RolloutSubject(id, what), ok && (what == RolloutPlan || what == RolloutOrder)
}

// RolloutKey is the key of a rollout's plan, state or orders.
func RolloutKey(id, what string) string { return id + "." + what }

// RolloutDocKey is where a rollout keeps the resource of a key in the bucket Fleet.
func RolloutDocKey(id, resource string) string { return id + "." + RolloutDoc + "." + resource }

// ParseRolloutKey is the inverse of the two; ok is false for any other key.
func ParseRolloutKey(key string) (id, what, resource string, ok bool) {
	parts := strings.SplitN(key, ".", 3)
	switch {
	case len(parts) == 2 && (parts[1] == RolloutPlan || parts[1] == RolloutState || parts[1] == RolloutOrder):
		return parts[0], parts[1], "", true
	case len(parts) == 3 && parts[1] == RolloutDoc && strings.Count(parts[2], ".") == 1:
		return parts[0], parts[1], parts[2], true
	}
	return "", "", "", false
}
