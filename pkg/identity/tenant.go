package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
)

// CreateTenant makes the account of another tenant in a directory that is
// there: nothing of it is seen by the others, nor theirs by it. The error is
// Conflict where there is one of that name.
func CreateTenant(dir string, o Options, q Quota) (*Authority, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	tenants, err := Tenants(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case len(tenants) == 0:
		return nil, noDirectory(dir)
	case slices.Contains(tenants, o.Tenant):
		return nil, fleet.Errorf(fleet.Conflict, "there is a tenant %q: `fairlead tenant set %s` changes its quota", o.Tenant, o.Tenant)
	}
	o.quota = q
	return Open(dir, o)
}

// RemoveTenant removes a tenant's keys for good, and returns what has brokers
// forget the account: DeleteAccount of package bus hands it to them. Nobody of
// that tenant can connect any more; what its streams hold stays on the brokers'
// disks until somebody removes it there. The error is Conflict for the last one.
func (a *Authority) RemoveTenant() (deletion string, err error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	tenants, err := Tenants(a.dir)
	if err != nil {
		return "", err
	}
	if len(tenants) == 1 {
		return "", fleet.Errorf(fleet.Conflict, "%q is the only tenant of %s: remove the directory instead, if nothing of it is used any more", a.options.Tenant, a.dir)
	}
	if takers := a.importers(tenants); len(takers) > 0 {
		return "", fleet.Errorf(fleet.Conflict, "%v import from %q: `fairlead tenant import %s --from %s --remove …` first", takers, a.options.Tenant, takers[0], a.options.Tenant)
	}
	if deletion, err = a.deletion(); err != nil {
		return "", err
	}
	// Out of the way in one step; what is left of a kill lies aside.
	gone := filepath.Join(a.dir, "tenants", ".removed-"+a.options.Tenant)
	return deletion, errors.Join(os.RemoveAll(gone), os.Rename(a.in(), gone), os.RemoveAll(gone))
}

// importers are the tenants that import something from this one.
func (a *Authority) importers(tenants []string) (names []string) {
	for _, name := range tenants {
		claims, err := readAccount(filepath.Join(a.dir, "tenants", name, "account.jwt"))
		if err == nil && claims != nil && slices.ContainsFunc(claims.Imports, func(i *jwt.Import) bool { return i.Account == a.account.public }) {
			names = append(names, name)
		}
	}
	return names
}

// deletion asks brokers to forget the account, as nats-server wants to be
// asked: signed by a key of the operator, about itself.
func (a *Authority) deletion() (string, error) {
	pair, err := a.signing.open()
	if err != nil {
		return "", err
	}
	claims := jwt.NewGenericClaims(a.signing.public)
	claims.Data = map[string]any{"accounts": []string{a.account.public}}
	return claims.Encode(pair)
}

func noDirectory(dir string) error {
	return fleet.Errorf(fleet.Unknown, "%s is no identity directory: name one with --dir, or make one with `fairlead init`", dir)
}

// Account is the tenant's JWT, for PushAccount of package bus.
func (a *Authority) Account() (string, error) {
	text, err := readFile(a.in("account.jwt"))
	if err == nil && text == nil {
		err = fmt.Errorf("%s is missing", a.in("account.jwt"))
	}
	return string(text), err
}

// SystemAccountJWT is the system account's JWT, for PushAccount of package bus.
func (a *Authority) SystemAccountJWT() (string, error) {
	text, err := readFile(filepath.Join(a.dir, "system", "account.jwt"))
	return string(text), err
}
