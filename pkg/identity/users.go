package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// User is somebody who may connect: a person, a station or a node.
type User struct {
	Name      string        `json:"name"`
	Role      subjects.Role `json:"role"` // "" for the system user
	Key       string        `json:"key"`  // public nkey; the key of its signatures too
	CredsFile string        `json:"credsFile"`
}

// roleTag marks a user's JWT with its role, so that its holder need not know
// the account's signing keys.
const roleTag = "role:"

// User makes or loads a user of the tenant. The name follows the node
// grammar, since it becomes a token of the user's permissions. The error is
// Invalid for a bad name or role, and Conflict where the name belongs to
// another role, tenant or authority.
func (a *Authority) User(name string, role subjects.Role) (User, error) {
	if err := fleet.CheckNode(name); err != nil {
		return User{}, err
	}
	signer, ok := a.roles[role]
	if !ok {
		return User{}, fleet.Errorf(fleet.Invalid, "%q is not a role: use one of %v", role, subjects.Roles())
	}
	unlock, err := lock(a.dir)
	if err != nil {
		return User{}, err
	}
	defer unlock()

	path := a.credsPath(name)
	u, err := a.loadUser(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return makeUser(path, name, role, a.account.public, signer)
	case err != nil:
		return User{}, err
	case u.Name != name:
		return User{}, fleet.Errorf(fleet.Conflict, "%s holds user %q", path, u.Name)
	case u.Role != role:
		return User{}, fleet.Errorf(fleet.Conflict, "user %q is %s already: choose another name for %s, or remove %s", name, u.Role, role, path)
	}
	return u, nil
}

// Users are the tenant's users, by name. Those that could be read are returned
// beside an error about the others.
func (a *Authority) Users() ([]User, error) {
	paths, err := filepath.Glob(a.credsPath("*"))
	if err != nil {
		return nil, err
	}
	var users []User
	var faults []error
	for _, path := range paths {
		u, err := a.loadUser(path)
		if errors.Is(err, errForeign) || errors.Is(err, os.ErrNotExist) {
			continue // another tenant's, or removed since
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		users = append(users, u)
	}
	slices.SortFunc(users, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
	return users, errors.Join(faults...)
}

// SystemUser makes or loads the user of the system account, who may ask
// servers about themselves. It has no role and no part in any tenant.
func (a *Authority) SystemUser() (User, error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return User{}, err
	}
	defer unlock()
	path := filepath.Join(a.dir, "system", "monitor.creds")
	c, err := LoadCreds(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeUser(path, "monitor", "", a.system.public, a.system)
	}
	if err != nil {
		return User{}, err
	}
	return c.user(), nil
}

func (a *Authority) credsPath(name string) string {
	return filepath.Join(a.dir, "users", name+".creds")
}

var errForeign = errors.New("issued by another tenant or authority")

func (a *Authority) loadUser(path string) (User, error) {
	c, err := LoadCreds(path)
	if err != nil {
		return User{}, err
	}
	if c.Account != a.account.public || c.issuer != a.roles[c.Role].public {
		return User{}, fleet.Errorf(fleet.Conflict, "%s: user %q was %w", path, c.Name, errForeign)
	}
	return c.user(), nil
}

// makeUser issues a user without permissions of its own: those of the scoped
// key that signs it apply.
func makeUser(path, name string, role subjects.Role, account string, signer key) (User, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return User{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return User{}, err
	}
	claims := jwt.NewUserClaims(public)
	claims.Name = name
	if signer.public != account {
		claims.SetScoped(true)
		claims.IssuerAccount = account
		claims.Tags.Add(roleTag + string(role))
	}
	text, err := claims.Encode(signer.pair)
	if err != nil {
		return User{}, fmt.Errorf("issue user %q: %w", name, err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return User{}, err
	}
	file, err := jwt.FormatUserConfig(text, seed)
	if err != nil {
		return User{}, fmt.Errorf("issue user %q: %w", name, err)
	}
	return User{name, role, public, path}, writeFile(path, file)
}
