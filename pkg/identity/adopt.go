package identity

import (
	"errors"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// AdoptTrust takes over what a stored trust set says and the directory does not
// know, as one that was restored from a backup finds it at the brokers: keys that
// were taken back, in the account too, and a version that what follows must
// exceed. Users whom the directory does not know are taken back: nobody could
// renew them. It reports whether anything was new; the account has to be told to
// the brokers then. lists are those of revoked nodes that the set names. The error
// is Refused for a set that this directory's key did not sign, and Unknown where a
// list is needed that is neither given nor in the directory.
func (a *Authority) AdoptTrust(m message.Message, lists ...[]byte) (bool, error) {
	unlock, err := a.hold()
	if err != nil {
		return false, err
	}
	defer unlock()
	keys, own, err := a.openTrust()
	if err != nil {
		return false, err
	}
	set, err := message.OpenTrust(m)
	if err != nil {
		return false, err
	}
	if set.Account != a.account.public || !slices.Contains(append(keys.public(), own.Signers...), m.Key) {
		return false, fleet.Errorf(fleet.Refused, "trust set %d is not one that %s signed", set.Version, a.dir)
	}
	if err := a.keepLists(lists); err != nil {
		return false, err
	}
	ours, err := a.revokedLists(own)
	if err != nil {
		return false, err
	}
	theirs, err := a.revokedLists(set)
	if err != nil {
		return false, err
	}
	known := slices.Concat(own.Revoked, slices.Concat(ours...))
	news := newlyRevoked(slices.Concat(set.Revoked, slices.Concat(theirs...)), known)
	newer := set.Version > own.Version || set.Version == own.Version && !set.SameContent(own)
	if !newer && len(news) == 0 {
		return false, nil
	}
	if newer {
		data, err := message.EncodeTrust(m)
		if err != nil {
			return false, err
		}
		if err := writeFile(a.TrustFile(), data); err != nil {
			return false, err
		}
	}
	return true, a.takeBack(slices.Concat(known, news))
}

// newlyRevoked are the keys of a list that another one lacks, or has as of a
// later moment.
func newlyRevoked(theirs, ours []message.RevokedKey) []message.RevokedKey {
	since := make(map[string]time.Time)
	for _, o := range ours {
		since[o.Key] = o.At
	}
	return slices.DeleteFunc(slices.Clone(theirs), func(r message.RevokedKey) bool {
		at, known := since[r.Key]
		return known && !r.At.Before(at)
	})
}

// takeBack has trust set and account say that keys are revoked, and forgets
// users who hold one; the directory is held.
func (a *Authority) takeBack(revoked []message.RevokedKey) error {
	if err := a.updateTrust(revoked...); err != nil {
		return err
	}
	last, err := a.lastRevoked() // with those whom the directory does not know
	if err != nil {
		return err
	}
	err = a.updateLocked(func(c *jwt.AccountClaims) error {
		for _, r := range last {
			if _, known := c.Revocations[r.Key]; !known {
				c.RevokeAt(r.Key, forGood)
			}
		}
		a.pruneRevoked(c, last)
		return nil
	})
	users, uerr := a.Users()
	faults := []error{err, uerr}
	for _, u := range users {
		if slices.ContainsFunc(last, func(r message.RevokedKey) bool { return r.Key == u.Key }) {
			faults = append(faults, a.forget(u.Name, credsSuffix), a.forget(u.Name, jwtSuffix))
		}
	}
	return errors.Join(faults...)
}
