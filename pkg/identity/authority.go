package identity

import (
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Options say which tenant an Authority issues users of.
type Options struct {
	// Tenant is the account's name; "main" when empty.
	Tenant string
	// Methods are those that each role may send. Admin and station may send
	// every one and need no entry.
	Methods map[subjects.Role][]string
}

func (o Options) validate() error {
	var faults fleet.Faults
	if err := fleet.CheckName("tenant", o.Tenant); err != nil {
		faults.Addf("tenant", "%v", err)
	}
	for _, role := range slices.Sorted(maps.Keys(o.Methods)) {
		if !slices.Contains(subjects.Roles(), role) {
			faults.Addf("methods", "%q is not a role: use one of %v", role, subjects.Roles())
		}
		for _, method := range o.Methods[role] {
			if err := fleet.CheckName("method", method); err != nil {
				faults.Addf("methods."+string(role), "%v", err)
			}
		}
	}
	return faults.Err()
}

// Authority holds an operator's keys and issues the users of one tenant.
type Authority struct {
	dir      string
	options  Options
	operator key
	system   key
	account  key
	roles    map[subjects.Role]key

	operatorJWT string
	accountJWTs map[string]string
	cluster     *tls.Config
}

// Open loads what dir holds and makes what is missing. The error says which
// file is wrong, or is Invalid for wrong options.
func Open(dir string, o Options) (*Authority, error) {
	if o.Tenant == "" {
		o.Tenant = "main"
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()

	a := &Authority{dir: dir, options: o}
	for _, step := range []func() error{a.openOperator, a.openTenant, a.readAccounts, a.openCluster} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("open identity %s: %w", dir, err)
		}
	}
	return a, nil
}

// OperatorJWT is what a server needs to trust the accounts.
func (a *Authority) OperatorJWT() string { return a.operatorJWT }

// SystemAccount is the public key of the account that monitors servers.
func (a *Authority) SystemAccount() string { return a.system.public }

// TenantAccount is the public key of the tenant's account.
func (a *Authority) TenantAccount() string { return a.account.public }

// AccountJWTs are the JWTs of all accounts in the directory, other tenants'
// included, by public key, as they were at Open.
func (a *Authority) AccountJWTs() map[string]string { return maps.Clone(a.accountJWTs) }

// openOperator loads or makes the operator, and the system account that its
// JWT names.
func (a *Authority) openOperator() (err error) {
	path := func(name string) string { return filepath.Join(a.dir, name) }
	have, err := readFile(path("operator.jwt"))
	if err != nil {
		return err
	}
	taken := ""
	if have != nil {
		taken = path("operator.jwt") + " names it"
	}
	if a.operator, err = loadKey(path("operator.seed"), nkeys.PrefixByteOperator, taken); err != nil {
		return err
	}
	if a.system, err = loadKey(path("system/account.seed"), nkeys.PrefixByteAccount, taken); err != nil {
		return err
	}
	if a.operatorJWT, err = a.issueOperator(path("operator.jwt"), have); err != nil {
		return err
	}
	return a.issueSystem(path("system/account.jwt"))
}

// openTenant loads or makes the tenant's account and a signing key per role,
// and issues the account anew where its JWT is not what the code says.
func (a *Authority) openTenant() error {
	dir := filepath.Join(a.dir, "tenants", a.options.Tenant)
	have, err := readAccount(filepath.Join(dir, "account.jwt"))
	if err != nil {
		return err
	}
	taken := ""
	if have != nil {
		taken = filepath.Join(dir, "account.jwt") + " names it"
	}
	if a.account, err = loadKey(filepath.Join(dir, "account.seed"), nkeys.PrefixByteAccount, taken); err != nil {
		return err
	}
	a.roles = make(map[subjects.Role]key)
	for _, role := range subjects.Roles() {
		path := filepath.Join(dir, string(role)+".seed")
		if a.roles[role], err = loadKey(path, nkeys.PrefixByteAccount, scopeOf(have, role)); err != nil {
			return err
		}
	}
	return a.issueTenant(filepath.Join(dir, "account.jwt"), have)
}
