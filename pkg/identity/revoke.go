package identity

import (
	"errors"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Revoke takes a user's key out of everything: the account's JWT says that
// brokers let it in no more, the trust set that nobody believes it. The name is
// free again. What was stopped half way is finished by doing it again. Brokers
// and nodes have to be told: package announce does.
func (a *Authority) Revoke(name, reason string) (User, error) {
	return a.RevokeSince(name, reason, time.Time{})
}

// RevokeSince is Revoke after a theft: what the key wrote to a bucket since a
// moment is not believed either. Zero is now.
func (a *Authority) RevokeSince(name, reason string, since time.Time) (User, error) {
	unlock, err := a.hold()
	if err != nil {
		return User{}, err
	}
	defer unlock()
	u, err := a.Find(name)
	if err != nil {
		return User{}, err
	}
	keys := []User{u}
	if old, err := a.former(name); err == nil {
		keys = append(keys, old)
	} else if fleet.KindOf(err) != fleet.Unknown {
		return User{}, err
	}
	if err := a.revokeKeys(keys, reason, since); err != nil {
		return User{}, err
	}
	// Last: without its scope a limited user cannot be read any more.
	if err := errors.Join(a.forget(name, credsSuffix), a.forget(name, jwtSuffix), a.forget(name, formerSuffix)); err != nil {
		return User{}, err
	}
	err = a.updateLocked(func(c *jwt.AccountClaims) error { dropLimited(c, name); return nil })
	if err != nil {
		return User{}, err
	}
	limited, err := a.vault.findKey(a.in("limited", name+".seed"), nkeys.PrefixByteAccount)
	if err != nil {
		return User{}, err
	}
	return u, limited.remove()
}

// RevokeKeys is Revoke for keys that are not of users in the directory, such as
// those of nodes which joined.
func (a *Authority) RevokeKeys(reason string, users ...User) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	return a.revokeKeys(users, reason, time.Time{})
}

// EndKeys has brokers let in keys no more that nodes had before they took other
// ones. What such a key signed counts until its At, which may be to come.
func (a *Authority) EndKeys(keys ...message.RevokedKey) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	var barred []string
	for _, k := range keys {
		barred = append(barred, k.Key)
	}
	return a.takeBackKeys(barred, keys)
}

// revokeKeys revokes keys; the directory is held.
func (a *Authority) revokeKeys(users []User, reason string, since time.Time) error {
	var barred []string
	var revoked []message.RevokedKey
	for _, u := range users {
		barred = append(barred, u.Key)
		if u.Role == subjects.Leaf { // nobody believed it anything
			continue
		}
		revoked = append(revoked, message.RevokedKey{Key: u.Key, Name: u.Name, Role: u.Role, At: since, Reason: reason, Expires: u.Expires})
	}
	return a.takeBackKeys(barred, revoked)
}

// takeBackKeys has the account bar keys, and the trust set take them back. What
// cannot be, because either would grow too long, is refused before one is another.
func (a *Authority) takeBackKeys(barred []string, revoked []message.RevokedKey) error {
	if _, err := a.nextTrust(revoked...); err != nil {
		return err
	}
	last, err := a.lastRevoked()
	if err != nil {
		return err
	}
	err = a.updateLocked(func(c *jwt.AccountClaims) error {
		a.pruneRevoked(c, last)
		for _, key := range barred {
			c.RevokeAt(key, forGood)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.updateTrust(revoked...)
}

// forGood is as of when brokers take no JWT of a revoked key. A key that was
// revoked comes never back, and stations issue JWTs with clocks of their own,
// until they have heard of it also to a key that was revoked this moment.
var forGood = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// pruneRevoked drops from an account whose JWTs have ended by themselves, by
// what the trust set has of them. A day is for clocks that are wrong.
func (a *Authority) pruneRevoked(c *jwt.AccountClaims, revoked []message.RevokedKey) {
	for _, k := range revoked {
		if !k.Expires.IsZero() && a.options.Now().After(k.Expires.Add(24*time.Hour)) {
			delete(c.Revocations, k.Key)
		}
	}
}

func (a *Authority) forget(name, suffix string) error { return removeFile(a.in("users", name+suffix)) }
