package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// User is somebody who may connect: a person, a station or a node.
type User struct {
	Name    string        `json:"name"`
	Role    subjects.Role `json:"role"` // "" for the system user
	Key     string        `json:"key"`  // public nkey; the key of its signatures too
	Methods []string      `json:"methods,omitempty"`
	Nodes   []string      `json:"nodes,omitempty"`
	Issued  time.Time     `json:"issued"`
	Expires time.Time     `json:"expires,omitzero"` // zero for never, which nothing here issues
	// CredsFile holds the JWT and the private key; "" where it was given away
	// and the directory has the JWT alone.
	CredsFile string `json:"credsFile,omitempty"`

	token, issuer, account string
}

// JWT is the user's; it is no secret without the key.
func (u User) JWT() string { return u.token }

// roleTag marks a user's JWT with its role, so that its holder need not know
// the account's signing keys.
const roleTag = "role:"

// How long JWTs hold unless something else is asked for. Nodes renew theirs by
// themselves.
const (
	PersonLife = 365 * 24 * time.Hour
	NodeLife   = subjects.MaxNodeLife
)

func lifeOf(role subjects.Role) time.Duration {
	if role == subjects.Node {
		return NodeLife
	}
	return PersonLife
}

// User makes or loads a user of the tenant, and renews its JWT where two thirds
// of its life are over. The name follows the node grammar, since it becomes a
// token of the user's permissions. The error is Invalid for a bad name or role,
// and Conflict where the name belongs to another role.
func (a *Authority) User(name string, role subjects.Role) (User, error) {
	if err := fleet.CheckNode(name); err != nil {
		return User{}, err
	}
	if _, ok := a.roles[role]; !ok {
		return User{}, fleet.Errorf(fleet.Invalid, "%q is not a role: use one of %v", role, subjects.Roles())
	}
	unlock, err := lock(a.dir)
	if err != nil {
		return User{}, err
	}
	defer unlock()
	u, err := a.find(name)
	switch {
	case fleet.KindOf(err) == fleet.Unknown:
		return a.make(New{Name: name, Role: role})
	case err != nil:
		return User{}, err
	case u.Role != role:
		return User{}, fleet.Errorf(fleet.Conflict, "user %q is %s already: choose another name for %s, or `fairlead user revoke` that one", name, u.Role, role)
	case u.due(a.options.Now()):
		return a.reissue(u, lifeOf(role))
	}
	return u, nil
}

// Find is a user by name; the error is Unknown and names those there are.
func (a *Authority) Find(name string) (User, error) {
	u, err := a.find(name)
	if fleet.KindOf(err) == fleet.Unknown {
		users, _ := a.Users()
		var names []string
		for _, u := range users {
			names = append(names, u.Name)
		}
		return u, fleet.Errorf(fleet.Unknown, "no user %q in tenant %q: there are %s", name, a.options.Tenant, strings.Join(names, ", "))
	}
	return u, err
}

// Users are the tenant's users, by name. Those that could be read are returned
// beside an error about the others.
func (a *Authority) Users() ([]User, error) {
	names := make(map[string]bool)
	for _, suffix := range []string{credsSuffix, jwtSuffix} {
		paths, err := filepath.Glob(a.in("users", "*"+suffix))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if isFormer(path) {
				continue
			}
			names[strings.TrimSuffix(filepath.Base(path), suffix)] = true
		}
	}
	var users []User
	var faults []error
	for name := range names {
		u, err := a.find(name)
		switch {
		case fleet.KindOf(err) == fleet.Unknown: // removed since
		case err != nil:
			faults = append(faults, err)
		default:
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
	return users, errors.Join(faults...)
}

// SystemUser makes or loads the user of the system account, who may ask servers
// about themselves and give them accounts that the operator signed. It has no
// role and no part in any tenant.
func (a *Authority) SystemUser() (*Credentials, error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := filepath.Join(a.dir, "system", "system.creds")
	data, err := a.vault.read(path)
	if err != nil {
		return nil, err
	}
	if data != nil {
		c, err := parseCreds(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !due(c.Issued, c.Expires, a.options.Now()) {
			return c, nil
		}
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	claims := jwt.NewUserClaims(public)
	claims.Name, claims.IssuerAccount, claims.Expires = "system", a.system.public, a.options.Now().Add(PersonLife).Unix()
	signer, err := a.systemSigner.open()
	if err != nil {
		return nil, err
	}
	text, err := claims.Encode(signer)
	if err != nil {
		return nil, fmt.Errorf("issue the system user: %w", err)
	}
	file, err := credsText(text, pair)
	if err != nil {
		return nil, err
	}
	if err := a.vault.write(path, file); err != nil {
		return nil, err
	}
	return parseCreds(file)
}

const (
	credsSuffix = ".creds"
	jwtSuffix   = ".jwt"
)

func (a *Authority) credsPath(name string) string { return a.in("users", name+credsSuffix) }

// find reads a user's JWT, from its creds file or, where that was given away,
// as it is kept here.
func (a *Authority) find(name string) (User, error) {
	for _, suffix := range []string{credsSuffix, jwtSuffix} {
		path := a.in("users", name+suffix)
		data, err := readFile(path)
		if err != nil {
			return User{}, err
		}
		if data == nil {
			continue
		}
		u, err := a.parseUser(path, data, suffix == credsSuffix)
		if err == nil && u.Name != name {
			err = fleet.Errorf(fleet.Conflict, "%s holds user %q", path, u.Name)
		}
		return u, err
	}
	return User{}, fleet.Errorf(fleet.Unknown, "no user %q in tenant %q", name, a.options.Tenant)
}

func (a *Authority) parseUser(path string, data []byte, whole bool) (User, error) {
	text := strings.TrimSpace(string(data))
	file := ""
	if whole {
		c, err := parseCreds(data)
		if err != nil {
			return User{}, fleet.Errorf(fleet.Invalid, "credentials file %s: %w", path, err)
		}
		text, file = c.token, path
	}
	u, err := userOf(text)
	if err != nil {
		return User{}, fleet.Errorf(fleet.Invalid, "%s: %w", path, err)
	}
	u.CredsFile = file
	scope, known := a.tenant.SigningKeys.GetScope(u.issuer)
	s, scoped := scope.(*jwt.UserScope)
	if u.account != a.account.public || !known || !scoped || s.Role != string(u.Role) {
		return User{}, fleet.Errorf(fleet.Conflict, "%s: user %q was issued by another tenant or authority", path, u.Name)
	}
	if strings.HasPrefix(s.Description, scopeLimited) {
		l := limitsOf(s)
		u.Methods, u.Nodes = l.Methods, l.Nodes
	}
	return u, nil
}

// userOf is what a user's JWT says.
func userOf(token string) (User, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return User{}, err
	}
	u := User{Name: claims.Name, Role: roleOf(claims), Key: claims.Subject, Issued: time.Unix(claims.IssuedAt, 0).UTC(),
		token: token, issuer: claims.Issuer, account: claims.IssuerAccount}
	if claims.Expires > 0 {
		u.Expires = time.Unix(claims.Expires, 0).UTC()
	}
	return u, nil
}

func credsText(token string, pair nkeys.KeyPair) ([]byte, error) {
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	return jwt.FormatUserConfig(token, seed)
}

// write puts a user's JWT into the directory: with its key as a creds file, or
// alone.
func (a *Authority) write(u User, pair nkeys.KeyPair) error {
	if u.CredsFile == "" {
		return writeFile(a.in("users", u.Name+jwtSuffix), []byte(u.token+"\n"))
	}
	file, err := credsText(u.token, pair)
	if err != nil {
		return err
	}
	return writeFile(u.CredsFile, file)
}

// sentBy is what a user may send, by its role where it is not limited.
func (a *Authority) sentBy(u User) []string {
	switch {
	case len(u.Methods) > 0:
		return u.Methods
	case u.Role == subjects.Admin || u.Role == subjects.Station:
		return []string{"*"}
	}
	return append([]string{}, a.options.Methods[u.Role]...)
}

// isThere reports whether a file is.
func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Permissions are what brokers let a user do, by the account as it is issued.
func (a *Authority) Permissions(u User) subjects.Permissions {
	scope, _ := a.tenant.SigningKeys.GetScope(u.issuer)
	s, ok := scope.(*jwt.UserScope)
	if !ok {
		return subjects.Permissions{}
	}
	return subjects.Permissions{Publish: s.Template.Pub.Allow, Subscribe: s.Template.Sub.Allow}
}
