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

// due reports whether two thirds of a JWT's life are over.
func due(issued, expires, now time.Time) bool {
	return !expires.IsZero() && now.After(issued.Add(expires.Sub(issued)*2/3))
}

func (u User) due(now time.Time) bool { return due(u.Issued, u.Expires, now) }

// Renew issues a user's JWT anew, for the same key, and as long as it held
// unless a life is given. The creds file has the new one where it lies in the
// directory; whoever has taken his away gets it from the broker.
func (a *Authority) Renew(name string, life time.Duration) (User, error) {
	if life < 0 || life > 0 && life < minLife {
		return User{}, fleet.Errorf(fleet.Invalid, "ttl: %v: use at least %v", life, minLife)
	}
	unlock, err := a.hold()
	if err != nil {
		return User{}, err
	}
	defer unlock()
	u, err := a.Find(name)
	if err != nil {
		return User{}, err
	}
	if u, err = a.reissue(u, life); err != nil {
		return User{}, err
	}
	return u, a.updateTrust()
}

// RenewedJWT is the signed document by which the holder of a key gets a renewed
// JWT: the key that signs trust sets says that it is the one.
func (a *Authority) RenewedJWT(u User) (message.Message, error) {
	return message.SignRenewed(u.Key, u.token, keySigner{a.trustKey})
}

// RenewDue issues the JWTs of all people and stations anew of which two thirds
// of their life are over. Nodes ask for theirs by themselves, and a leafnode gets a
// new directory.
func (a *Authority) RenewDue() ([]User, error) {
	users, err := a.Users()
	faults := []error{err}
	var renewed []User
	for _, u := range users {
		if u.Role == subjects.Node || u.Role == subjects.Leaf || !u.due(a.options.Now()) {
			continue
		}
		u, err := a.Renew(u.Name, 0)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		renewed = append(renewed, u)
	}
	return renewed, errors.Join(faults...)
}

// reissue renews a user; the directory is held. life 0 is as long as before.
func (a *Authority) reissue(u User, life time.Duration) (User, error) {
	if life == 0 {
		life = u.Expires.Sub(u.Issued)
		if u.Expires.IsZero() {
			life = lifeOf(u.Role)
		}
	}
	signer, err := a.signerOf(u)
	if err != nil {
		return User{}, err
	}
	var pair nkeys.KeyPair
	if u.CredsFile != "" {
		data, err := readFile(u.CredsFile)
		if err != nil {
			return User{}, err
		}
		if pair, err = jwt.ParseDecoratedUserNKey(data); err != nil {
			return User{}, fleet.Errorf(fleet.Invalid, "credentials file %s: %w", u.CredsFile, err)
		}
	}
	token, err := issueUser(u.Name, u.Role, u.Key, a.account.public, signer, a.options.Now().Add(life))
	if err != nil {
		return User{}, err
	}
	n, err := userOf(token)
	if err != nil {
		return User{}, err
	}
	n.Methods, n.Nodes, n.CredsFile = u.Methods, u.Nodes, u.CredsFile
	return n, a.write(n, pair)
}

// signerOf is the key that signs a user's JWT.
func (a *Authority) signerOf(u User) (key, error) {
	if u.Role != subjects.Leaf && len(u.Methods) == 0 && len(u.Nodes) == 0 {
		return a.roles[u.Role], nil
	}
	return a.vault.findKey(a.in("limited", u.Name+".seed"), nkeys.PrefixByteAccount)
}
