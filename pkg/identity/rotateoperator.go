package identity

import (
	"errors"
	"path/filepath"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// RotateSigning has the operator's spare key take the place of the one that
// signs accounts, and signs all accounts anew. Brokers believe the spare
// already: none has to be restarted. What the old key signed holds until
// FinishSigning. The error is Conflict where there is no spare.
func (a *Authority) RotateSigning() error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	if err = a.updateLocked(nil); err == nil {
		err = a.takeSpare()
	}
	unlock()
	if err != nil {
		return err
	}
	return a.reissueAccounts()
}

func (a *Authority) takeSpare() error {
	if !a.spare.there() || a.spare.public == a.signing.public {
		return fleet.Errorf(fleet.Conflict, "there is no spare key to rotate to in %s: `fairlead rotate operator-signing --finish` makes one, with the root's seed", a.dir)
	}
	if !a.operator.SigningKeys.Contains(a.spare.public) {
		return fleet.Errorf(fleet.Conflict, "the operator's JWT does not name the key in %s", a.spare.path)
	}
	_, err := a.moveKey(a.spare, a.signing.path)
	return err
}

// reissueAccounts brings all accounts of the directory up to date.
func (a *Authority) reissueAccounts() error {
	tenants, err := Tenants(a.dir)
	if err != nil {
		return err
	}
	faults := []error{a.update(nil)}
	for _, tenant := range tenants {
		if tenant == a.options.Tenant {
			continue
		}
		o := a.options
		o.Tenant = tenant
		other := &Authority{dir: a.dir, options: o, vault: a.vault}
		faults = append(faults, other.update(nil))
	}
	faults = append(faults, a.update(nil)) // which has the others' JWTs too
	return errors.Join(faults...)
}

// FinishSigning drops the key that was replaced from the operator's JWT and
// makes a new spare: the root signs, so its seed has to be here. Brokers read
// that JWT at their start.
func (a *Authority) FinishSigning() error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	if a.spare.there() && a.spare.public != a.signing.public {
		return fleet.Errorf(fleet.Conflict, "the operator's signing key is not being replaced: `fairlead rotate operator-signing` begins")
	}
	if !a.root.there() {
		_, err := a.root.open() // says what is missing
		return err
	}
	path := filepath.Join(a.dir, "operator-signing.next.seed")
	spare, err := a.vault.makeKey(path, nkeys.PrefixByteOperator)
	if err != nil {
		return err
	}
	claims := *a.operator
	claims.SigningKeys = nil
	claims.SigningKeys.Add(a.signing.public, spare.public)
	if err := a.writeOperator(filepath.Join(a.dir, "operator.jwt"), &claims); err != nil {
		return errors.Join(err, spare.remove())
	}
	return a.updateLocked(nil)
}
