package identity

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// formerSuffix is of the JWT of a user's key that was replaced and still holds.
const formerSuffix = ".former.jwt"

// former is what a user was before its key was replaced. Where the key that
// signed its JWT was dropped meanwhile nothing is known of its limits.
func (a *Authority) former(name string) (User, error) {
	path := a.in("users", name+formerSuffix)
	data, err := readFile(path)
	if err != nil {
		return User{}, err
	}
	if data == nil {
		return User{}, fleet.Errorf(fleet.Unknown, "the key of %q is not being replaced", name)
	}
	if u, err := userOf(strings.TrimSpace(string(data))); err == nil && u.account == a.account.public && !a.tenant.SigningKeys.Contains(u.issuer) {
		return u, nil
	}
	return a.parseUser(path, data, false)
}

// trusted are the tenant's users, and beside them those whose key was replaced
// and is believed still: not where brokers let it in no more, since the key
// that signed it was dropped.
func (a *Authority) trusted() ([]User, error) {
	users, err := a.Users()
	faults := []error{err}
	all := users
	for _, u := range users {
		switch old, err := a.former(u.Name); {
		case err == nil:
			if a.tenant.SigningKeys.Contains(old.issuer) {
				all = append(all, old)
			}
		case fleet.KindOf(err) != fleet.Unknown:
			faults = append(faults, err)
		}
	}
	return all, errors.Join(faults...)
}

// RotateUser gives a user another key, in a creds file at out, or where the old
// one lies in the directory. The old key is believed until FinishUser. The error
// is Conflict where an older one is believed still.
func (a *Authority) RotateUser(name, out string) (User, error) {
	unlock, err := a.hold()
	if err != nil {
		return User{}, err
	}
	defer unlock()
	u, err := a.Find(name)
	if err != nil {
		return User{}, err
	}
	switch {
	case isThere(a.in("users", name+formerSuffix)):
		return User{}, fleet.Errorf(fleet.Conflict, "an older key of %q is believed still: `fairlead rotate user %s --finish` first", name, name)
	case u.CredsFile == "" && out == "":
		return User{}, fleet.Errorf(fleet.Invalid, "the creds file of %q was given away: say where to write the new one", name)
	case out != "" && isThere(out):
		return User{}, fleet.Errorf(fleet.Conflict, "%s is there: move it away, or give another file", out)
	}
	signer, err := a.signerOf(u)
	if err != nil {
		return User{}, err
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return User{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return User{}, err
	}
	life := u.Expires.Sub(u.Issued)
	token, err := issueUser(name, u.Role, public, a.account.public, signer, a.options.Now().Add(life))
	if err != nil {
		return User{}, err
	}
	n, err := userOf(token)
	if err != nil {
		return User{}, err
	}
	n.Methods, n.Nodes, n.CredsFile = u.Methods, u.Nodes, u.CredsFile
	if err := a.keepFormer(u, n, pair, out); err != nil {
		return User{}, err
	}
	if out != "" {
		n.CredsFile = out
	}
	return n, a.updateTrust()
}

// keepFormer writes the new creds before the old JWT goes aside, so that no
// kill leaves a user without either.
func (a *Authority) keepFormer(old, n User, pair nkeys.KeyPair, out string) error {
	if out != "" {
		file, err := credsText(n.token, pair)
		if err != nil {
			return err
		}
		if err := writeFile(out, file); err != nil {
			return err
		}
		n.CredsFile = ""
	}
	if err := writeFile(a.in("users", old.Name+formerSuffix), []byte(old.token+"\n")); err != nil {
		return err
	}
	if err := a.write(n, pair); err != nil {
		return err
	}
	if out != "" {
		return a.forget(old.Name, credsSuffix)
	}
	return nil
}

// FinishUser revokes the key that was replaced.
func (a *Authority) FinishUser(name string) (User, error) {
	unlock, err := a.hold()
	if err != nil {
		return User{}, err
	}
	defer unlock()
	old, err := a.former(name)
	if err != nil {
		return User{}, err
	}
	if err := a.revokeKeys([]User{old}, "replaced by another key", time.Time{}); err != nil {
		return User{}, err
	}
	return old, a.forget(name, formerSuffix)
}

// isFormer reports whether the name of a file is that of a former JWT's.
func isFormer(path string) bool { return strings.HasSuffix(path, formerSuffix) }
