package identity

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// New describes a user to make.
type New struct {
	Name string
	Role subjects.Role
	subjects.Limits
	Life time.Duration // of its JWT; PersonLife or NodeLife when zero
	// Out is the creds file to write, for its owner to take; the directory then
	// keeps the JWT alone. "" leaves the creds file in the directory.
	Out string
}

// mostLimits is how many pairs of node and method a limited user may have: each
// is a line of the account's JWT, which every broker reads and which one
// message of the broker carries.
const mostLimits = 200

// validate says what is wrong with a New; sent are the methods of its role.
func (n New) validate(sent []string, now time.Time) error {
	var faults fleet.Faults
	if err := fleet.CheckNode(n.Name); err != nil {
		faults.Addf("name", "%v", err)
	}
	if !slices.Contains(append(subjects.Senders(), subjects.Node, subjects.Leaf), n.Role) {
		faults.Addf("role", "%q: use admin, operator, viewer, station or node", n.Role)
	}
	if n.Life < 0 || n.Life > 0 && n.Life < minLife {
		faults.Addf("ttl", "%v: use at least %v", n.Life, minLife)
	}
	if now.Add(n.Life).Year() > 9999 {
		faults.Addf("ttl", "%v is too long", n.Life)
	}
	if !n.None() && n.Role != subjects.Operator && n.Role != subjects.Viewer {
		faults.Addf("role", "%s cannot be limited to nodes or methods: use operator or viewer", n.Role)
	}
	for _, node := range n.Nodes {
		if err := fleet.CheckNode(node); err != nil {
			faults.Addf("nodes", "%v", err)
		}
	}
	for _, method := range n.Methods {
		if !slices.Contains(sent, method) {
			faults.Addf("methods", "%s may not send %q: of %s", n.Role, method, strings.Join(sent, ", "))
		}
	}
	methods := len(n.Methods)
	if methods == 0 {
		methods = len(sent)
	}
	if pairs := len(n.Nodes) * methods; pairs > mostLimits {
		faults.Addf("nodes", "%d nodes and %d methods are %d pairs: at most %d fit; name fewer, or make a tenant of these nodes", len(n.Nodes), methods, pairs, mostLimits)
	}
	return faults.Err()
}

// minLife is the shortest life of a JWT, so that it can be renewed in time.
const minLife = time.Minute

// Create makes a user, whom the next trust set names. The error is Invalid for what New says, and Conflict
// where there is a user of that name.
func (a *Authority) Create(n New) (User, error) {
	if err := n.validate(a.options.Methods[n.Role], a.options.Now()); err != nil {
		return User{}, err
	}
	unlock, err := a.hold()
	if err != nil {
		return User{}, err
	}
	defer unlock()
	if u, err := a.find(n.Name); fleet.KindOf(err) != fleet.Unknown {
		if err != nil {
			return User{}, err
		}
		return User{}, fleet.Errorf(fleet.Conflict, "there is a user %q, %s: `fairlead user show %s`; revoke it first, or choose another name", u.Name, u.Role, u.Name)
	}
	if n.Out != "" && isThere(n.Out) {
		return User{}, fleet.Errorf(fleet.Conflict, "%s is there: move it away, or give another file", n.Out)
	}
	if n.Out == "" && a.vault.sealed() {
		return User{}, fleet.Errorf(fleet.Invalid, "the directory is encrypted and keeps no private keys of people: give the creds file another place")
	}
	u, err := a.make(n)
	if err == nil && slices.Contains(subjects.Senders(), n.Role) {
		err = a.updateTrust()
	}
	return u, err
}

// make makes a user; the directory is held.
func (a *Authority) make(n New) (User, error) {
	signer := a.roles[n.Role]
	if !n.None() || n.Role == subjects.Leaf {
		var err error
		if signer, err = a.limit(n); err != nil {
			return User{}, err
		}
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return User{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return User{}, err
	}
	life := n.Life
	if life == 0 {
		life = lifeOf(n.Role)
	}
	token, err := issueUser(n.Name, n.Role, public, a.account.public, signer, a.options.Now().Add(life))
	if err != nil {
		return User{}, err
	}
	u, err := userOf(token)
	if err != nil {
		return User{}, err
	}
	u.Methods, u.Nodes = n.Methods, n.Nodes
	if n.Out == "" {
		u.CredsFile = a.credsPath(n.Name)
		return u, a.write(u, pair)
	}
	file, err := credsText(token, pair)
	if err != nil {
		return User{}, err
	}
	// The creds file first: a user of whom only the JWT is there is lost.
	if err := writeFile(n.Out, file); err != nil {
		return User{}, err
	}
	err = a.write(u, nil)
	u.CredsFile = n.Out
	return u, err
}

// limit makes the signing key of a limited user, or of a leafnode, whose permissions stand in the
// account: in the user's own JWT they would not fit into the line by which a
// client connects (4 KiB), and who had the key that may sign any could sign all.
func (a *Authority) limit(n New) (key, error) {
	k, err := a.vault.makeKey(a.in("limited", n.Name+".seed"), nkeys.PrefixByteAccount)
	if err != nil {
		return key{}, err
	}
	scope := newScope(k.public, n.Role, scopeLimited+n.Name)
	grant := subjects.GrantLimited(n.Role, a.options.Methods[n.Role], n.Limits)
	scope.Template.Pub = permission(grant.Publish)
	return k, a.updateLocked(func(c *jwt.AccountClaims) error {
		dropLimited(c, n.Name)
		c.SigningKeys.AddScopedSigner(scope)
		return nil
	})
}

// dropLimited takes a user's own scope out of an account.
func dropLimited(c *jwt.AccountClaims, name string) {
	for public, scope := range c.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok && s.Description == scopeLimited+name {
			delete(c.SigningKeys, public)
		}
	}
}
