package identity

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
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
	// Passphrase is asked for once where seeds are encrypted; nil says that
	// nobody can be asked.
	Passphrase func() ([]byte, error)
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	quota Quota // of a tenant that is made
}

func (o Options) complete() (Options, error) {
	if o.Tenant == "" {
		o.Tenant = "main"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, o.validate()
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
	dir     string
	options Options
	vault   *vault

	root, signing, spare key // the operator's
	system, systemSigner key
	account              key
	roles                map[subjects.Role]key
	trustKey             key

	operator    *jwt.OperatorClaims
	operatorJWT string
	tenant      *jwt.AccountClaims // as it is issued
	accountJWTs map[string]string

	brokers, clients *authorityCA // whose certificates
}

// Open loads what dir holds and makes what is missing. The error says which
// file is wrong, or is Invalid for wrong options.
func Open(dir string, o Options) (*Authority, error) {
	a, err := unopened(dir, o)
	if err != nil {
		return nil, err
	}
	if err := a.update(nil); err != nil {
		return nil, fmt.Errorf("open identity %s: %w", dir, err)
	}
	return a, nil
}

// Load is Open for a directory and a tenant that must be there, and writes
// nothing before it is told to change something. The error is Unknown where one
// is not there, and names the tenants there are.
func Load(dir string, o Options) (*Authority, error) {
	a, err := unopened(dir, o)
	if err != nil {
		return nil, err
	}
	have, err := readFile(filepath.Join(dir, "operator.jwt"))
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, noDirectory(dir)
	}
	tenants, err := Tenants(dir)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(tenants, a.options.Tenant) {
		return nil, fleet.Errorf(fleet.Unknown, "no tenant %q in %s: there are %s", a.options.Tenant, dir, strings.Join(tenants, ", "))
	}
	a.vault.reading = true
	if err := a.update(nil); err != nil {
		return nil, fmt.Errorf("open identity %s: %w", dir, err)
	}
	a.vault.reading = false
	return a, nil
}

func unopened(dir string, o Options) (*Authority, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return &Authority{dir: dir, options: o, vault: &vault{dir: dir, ask: o.Passphrase}}, nil
}

// Tenants are the names of the tenants in a directory, sorted.
func Tenants(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "tenants", "*", "account.jwt"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	slices.Sort(names)
	return names, nil
}

// update holds the directory, reads it anew, since another process may have
// changed it, lets change say what the account should be, and issues it.
func (a *Authority) update(change func(*jwt.AccountClaims) error) error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	return a.updateLocked(change)
}

// hold locks the directory and brings what was read of it up to date: how all
// begin that change it. unlock is to be called when that is done.
func (a *Authority) hold() (unlock func(), err error) {
	if unlock, err = lock(a.dir); err != nil {
		return nil, err
	}
	if err = a.updateLocked(nil); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (a *Authority) updateLocked(change func(*jwt.AccountClaims) error) error {
	if err := a.openOperator(); err != nil {
		return err
	}
	if err := a.openTenant(change); err != nil {
		return err
	}
	if path := a.in("station.keys"); !a.vault.reading && !(a.vault.has(path) && isThere(a.in("curve.pub"))) {
		if _, err := a.stationKeys(path); err != nil {
			return err
		}
	}
	if err := a.readAccounts(); err != nil {
		return err
	}
	return a.openBroker()
}

// Dir is the identity directory, and Tenant the tenant's name.
func (a *Authority) Dir() string { return a.dir }

// Tenant is the tenant's name.
func (a *Authority) Tenant() string { return a.options.Tenant }

// OperatorJWT is what a server needs to trust the accounts.
func (a *Authority) OperatorJWT() string { return a.operatorJWT }

// SystemAccount is the public key of the account that monitors servers.
func (a *Authority) SystemAccount() string { return a.system.public }

// TenantAccount is the public key of the tenant's account.
func (a *Authority) TenantAccount() string { return a.account.public }

// AccountJWTs are the JWTs of all accounts in the directory, other tenants'
// included, by public key, as they were when it was last read.
func (a *Authority) AccountJWTs() map[string]string { return maps.Clone(a.accountJWTs) }

// in is a path in the tenant's directory.
func (a *Authority) in(parts ...string) string {
	return filepath.Join(append([]string{a.dir, "tenants", a.options.Tenant}, parts...)...)
}

// openOperator loads or makes the operator's keys, and the system account that
// its JWT names. The root signs the operator's own JWT, which lists two signing
// keys: one that signs accounts, and a spare. So the root and the spare can
// be kept elsewhere, and brokers believe the spare from the start.
func (a *Authority) openOperator() (err error) {
	path := func(name string) string { return filepath.Join(a.dir, name) }
	have, err := readOperator(path("operator.jwt"))
	if err != nil {
		return err
	}
	var known struct{ root, system string }
	if have != nil {
		known.root, known.system = have.Subject, have.SystemAccount
	}
	named := path("operator.jwt")
	if a.root, err = a.vault.loadKey(path("operator.seed"), nkeys.PrefixByteOperator, known.root, named, have != nil); err != nil {
		return err
	}
	if a.signing, err = a.openSigning(path("operator-signing.seed"), have); err != nil {
		return err
	}
	if a.spare, err = a.openSigning(path("operator-signing.next.seed"), have); err != nil {
		return err
	}
	if a.system, err = a.vault.loadKey(path("system/account.seed"), nkeys.PrefixByteAccount, known.system, named, have != nil); err != nil {
		return err
	}
	if err = a.issueOperator(named, have); err != nil {
		return err
	}
	return a.openSystem(path("system"))
}

// openSigning loads or makes a signing key of the operator. One that is not
// here and that a JWT may name is taken to be kept elsewhere.
func (a *Authority) openSigning(path string, operator *jwt.OperatorClaims) (key, error) {
	k, err := a.vault.findKey(path, nkeys.PrefixByteOperator)
	switch {
	case err != nil:
		return key{}, err
	case k.public == "" && (operator == nil || len(operator.SigningKeys) == 0):
		return a.vault.makeKey(path, nkeys.PrefixByteOperator)
	case k.public != "" && operator != nil && len(operator.SigningKeys) > 0 && !operator.SigningKeys.Contains(k.public):
		return key{}, fmt.Errorf("%s does not belong to operator.jwt beside it: restore all of them from one backup", path)
	}
	return k, nil
}

// openSystem loads or makes the system account's signing key, and issues the
// account: nobody but its user is in it. It exports what brokers tell of connections,
// to each account its own.
func (a *Authority) openSystem(dir string) (err error) {
	path := filepath.Join(dir, "account.jwt")
	have, err := readAccount(path)
	if err != nil {
		return err
	}
	known := ""
	if have != nil && len(have.SigningKeys) == 1 {
		known = have.SigningKeys.Keys()[0]
	}
	if a.systemSigner, err = a.vault.loadKey(filepath.Join(dir, "signing.seed"), nkeys.PrefixByteAccount, known, path, false); err != nil {
		return err
	}
	claims := jwt.NewAccountClaims(a.system.public)
	claims.Name = "system"
	claims.SigningKeys.Add(a.systemSigner.public)
	for _, l := range links {
		claims.Exports.Add(&jwt.Export{Name: l.name, Subject: jwt.Subject(l.exported), Type: jwt.Stream, AccountTokenPosition: subjects.AccountToken})
	}
	return a.issueAccount(path, claims, have)
}

// openTenant loads or makes the tenant's keys, a signing key per role among
// them, and issues its account anew where the JWT is not what the code, or
// change, says.
func (a *Authority) openTenant(change func(*jwt.AccountClaims) error) error {
	path := a.in("account.jwt")
	have, err := readAccount(path)
	if err != nil {
		return err
	}
	known := ""
	if have != nil {
		known = have.Subject
	}
	if a.account, err = a.vault.loadKey(a.in("account.seed"), nkeys.PrefixByteAccount, known, path, have != nil); err != nil {
		return err
	}
	a.roles = make(map[subjects.Role]key)
	for _, role := range subjects.Roles() {
		if a.roles[role], err = a.loadRole(role, have); err != nil {
			return err
		}
	}
	if a.trustKey, err = a.openTrustKey(); err != nil {
		return err
	}
	return a.issueTenant(path, have, change)
}

// openTrustKey loads or makes the key that says whom the tenant's nodes,
// stations and people trust.
func (a *Authority) openTrustKey() (key, error) {
	k, err := a.vault.findKey(a.in("trust.seed"), nkeys.PrefixByteUser)
	if err != nil || k.public != "" {
		return k, err
	}
	if isThere(a.TrustFile()) {
		return k, nil // kept elsewhere
	}
	return a.vault.makeKey(a.in("trust.seed"), nkeys.PrefixByteUser)
}
