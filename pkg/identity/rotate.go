package identity

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// nextSuffix is of a seed that is about to take another one's place.
const nextSuffix = ".next.seed"

// loadRole loads or makes the signing key of a role, and ends a rotation that
// was cut off: the account's JWT decides which of two seeds it is.
func (a *Authority) loadRole(role subjects.Role, have *jwt.AccountClaims) (key, error) {
	path, named := a.in(string(role)+".seed"), a.in("account.jwt")
	known := scopeOf(have, role)
	next, err := a.vault.findKey(a.in(string(role)+nextSuffix), nkeys.PrefixByteAccount)
	if err != nil {
		return key{}, err
	}
	if next.public != "" && !a.vault.reading {
		if next.public != known {
			return a.loadAfter(next.remove(), path, known, named)
		}
		return a.moveKey(next, path)
	}
	return a.vault.loadKey(path, nkeys.PrefixByteAccount, known, named, a.vault.reading)
}

func (a *Authority) loadAfter(err error, path, known, named string) (key, error) {
	if err != nil {
		return key{}, err
	}
	return a.vault.loadKey(path, nkeys.PrefixByteAccount, known, named, false)
}

// moveKey puts a key in another one's place.
func (a *Authority) moveKey(k key, path string) (key, error) {
	pair, err := k.open()
	if err != nil {
		return key{}, err
	}
	moved, err := a.vault.keepKey(path, pair)
	if err != nil {
		return key{}, err
	}
	return moved, k.remove()
}

// RotateRoles makes new keys that sign the users of roles, and signs everybody
// in the directory anew with them. What the old ones signed holds until
// FinishRoles. Stations need the new station.keys.
func (a *Authority) RotateRoles(roles ...subjects.Role) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	made := make(map[subjects.Role]key)
	for _, role := range roles {
		if made[role], err = a.vault.makeKey(a.in(string(role)+nextSuffix), nkeys.PrefixByteAccount); err != nil {
			return err
		}
	}
	old := a.roles
	a.roles = withKeys(old, made)
	if err := a.issueTenant(a.in("account.jwt"), a.tenant, nil); err != nil {
		return err
	}
	if err := a.updateLocked(nil); err != nil { // gives the seeds their names
		return err
	}
	if _, err := a.stationKeys(a.in("station.keys")); err != nil {
		return err
	}
	return errors.Join(a.reissueAll(roles), a.updateTrust())
}

func withKeys(old, made map[subjects.Role]key) map[subjects.Role]key {
	all := make(map[subjects.Role]key, len(old))
	for role, k := range old {
		all[role] = k
	}
	for role, k := range made {
		all[role] = k
	}
	return all
}

// reissueAll renews the JWTs of the users of some roles.
func (a *Authority) reissueAll(roles []subjects.Role) error {
	users, err := a.Users()
	faults := []error{err}
	for _, u := range users {
		if !slices.Contains(roles, u.Role) {
			continue
		}
		_, err := a.reissue(u, 0)
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// reissueBy renews the JWTs of the users whom one of the keys signed.
func (a *Authority) reissueBy(keys []Replaced) error {
	users, err := a.Users()
	faults := []error{err}
	for _, u := range users {
		if slices.ContainsFunc(keys, func(r Replaced) bool { return r.Key == u.issuer }) {
			_, err := a.reissue(u, 0)
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Replaced is a signing key that is not used any more and still holds.
type Replaced struct {
	Role subjects.Role `json:"role"`
	Key  string        `json:"key"`
	At   time.Time     `json:"at"`
}

// ReplacedRoles are the keys that FinishRoles would drop.
func (a *Authority) ReplacedRoles() (all []Replaced) {
	for public, scope := range a.tenant.SigningKeys {
		s, ok := scope.(*jwt.UserScope)
		if !ok {
			continue
		}
		role := subjects.Role(s.Role)
		now := scopeOf(a.tenant, role)
		if _, whole := since(s); !whole || public == now {
			continue
		}
		at, _ := since(a.tenant.SigningKeys[now].(*jwt.UserScope)) // scopeOf looks at no others
		all = append(all, Replaced{role, public, at})
	}
	slices.SortFunc(all, func(x, y Replaced) int { return strings.Compare(string(x.Role)+x.Key, string(y.Role)+y.Key) })
	return all
}

// FinishRoles drops the signing keys that were replaced: who has no JWT by the
// new ones is locked out. The error is Conflict where nothing was replaced.
func (a *Authority) FinishRoles() ([]Replaced, error) {
	unlock, err := a.hold()
	if err != nil {
		return nil, err
	}
	defer unlock()
	gone := a.ReplacedRoles()
	if len(gone) == 0 {
		return nil, fleet.Errorf(fleet.Conflict, "no signing key of tenant %q is being replaced", a.options.Tenant)
	}
	if err := a.reissueBy(gone); err != nil { // a kill may have left them
		return nil, err
	}
	err = a.updateLocked(func(c *jwt.AccountClaims) error {
		for _, r := range gone {
			delete(c.SigningKeys, r.Key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, a.updateTrust()
}

// issuers are the keys whose JWTs prove a node: the ones in use and those that
// are being replaced.
func (a *Authority) issuers() []string {
	var all []string
	for public, scope := range a.tenant.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok && slices.Contains([]subjects.Role{subjects.Node, subjects.Renew}, subjects.Role(s.Role)) {
			all = append(all, public)
		}
	}
	slices.Sort(all)
	return all
}
