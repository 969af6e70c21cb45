package identity

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Issuer issues the users that stations may make: nodes, nodes that may only
// renew, and holders of a token that may only join. It holds those three
// scoped signing keys of one account and no other, so that who takes a
// station's keys makes no person and no station with them.
type Issuer struct {
	account string
	keys    map[subjects.Role]key
}

// IssuedByStations are the roles of an Issuer.
func IssuedByStations() []subjects.Role {
	return []subjects.Role{subjects.Node, subjects.Renew, subjects.Join}
}

// NewIssuer makes an Issuer of an account's public key and the seeds of its
// signing keys for IssuedByStations. The error is Invalid and shows no seed.
func NewIssuer(account string, seeds map[subjects.Role][]byte) (*Issuer, error) {
	if !nkeys.IsValidPublicAccountKey(account) {
		return nil, fleet.Errorf(fleet.Invalid, "%q is not an account's public key (A…)", account)
	}
	i := &Issuer{account, make(map[subjects.Role]key)}
	for _, role := range IssuedByStations() {
		pair, err := nkeys.FromSeed(seeds[role])
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "signing key for role %s: %w", role, err)
		}
		public, err := pair.PublicKey()
		if err != nil || nkeys.Prefix(public) != nkeys.PrefixByteAccount {
			return nil, fleet.Errorf(fleet.Invalid, "signing key for role %s is not an account's (SA…)", role)
		}
		i.keys[role] = key{pair: pair, public: public}
	}
	return i, nil
}

// Account is the public key of the account that the users belong to.
func (i *Issuer) Account() string { return i.account }

// Issue makes the JWT of a user, by its public key, that ends at a moment. Its
// permissions are those of the role, in which name stands. The error is Invalid
// for a role or a name that it may not issue.
func (i *Issuer) Issue(role subjects.Role, name, user string, until time.Time) (string, error) {
	signer, ok := i.keys[role]
	if !ok {
		return "", fleet.Errorf(fleet.Invalid, "stations issue no user of role %q", role)
	}
	if err := checkUser(role, name, user); err != nil {
		return "", err
	}
	return issueUser(name, role, user, i.account, signer, until)
}

// checkUser holds names to what the templates of the roles bear: a node's name,
// or for a token its id.
func checkUser(role subjects.Role, name, user string) error {
	if !nkeys.IsValidPublicUserKey(user) {
		return fleet.Errorf(fleet.Invalid, "%q is not a user's public key (U…)", user)
	}
	if role != subjects.Join {
		return fleet.CheckNode(name)
	}
	if name != subjects.TokenID(user) {
		return fleet.Errorf(fleet.Invalid, "%q is not the id of the token of that key", name)
	}
	return nil
}

// issueUser issues a user without permissions of its own: those of the scoped
// key that signs it apply.
func issueUser(name string, role subjects.Role, user, account string, signer key, until time.Time) (string, error) {
	claims := jwt.NewUserClaims(user)
	claims.Name, claims.IssuerAccount = name, account
	claims.SetScoped(true)
	claims.Tags.Add(roleTag + string(role))
	if !until.IsZero() {
		claims.Expires = until.Unix()
	}
	pair, err := signer.open()
	if err != nil {
		return "", fmt.Errorf("issue user %q: %w", name, err)
	}
	text, err := claims.Encode(pair)
	if err != nil {
		return "", fmt.Errorf("issue user %q: %w", name, err)
	}
	return text, nil
}

// Issuer is the tenant's, from the seeds in the directory.
func (a *Authority) Issuer() *Issuer {
	i := &Issuer{a.account.public, make(map[subjects.Role]key)}
	for _, role := range IssuedByStations() {
		i.keys[role] = a.roles[role]
	}
	return i
}

// Issued is what a JWT that a station issued says.
type Issued struct {
	Name    string
	Role    subjects.Role
	Key     string
	Account string
	Issuer  string // the signing key
	At      time.Time
	Until   time.Time // zero for never
}

// ReadIssued decodes a user's JWT and checks that its issuer signed it. Who that
// may be is for the caller to say. The error is Refused.
func ReadIssued(token string) (Issued, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return Issued{}, fleet.Errorf(fleet.Refused, "what was issued is no user's JWT: %w", err)
	}
	r := Issued{Name: claims.Name, Role: roleOf(claims), Key: claims.Subject, Account: claims.IssuerAccount,
		Issuer: claims.Issuer, At: time.Unix(claims.IssuedAt, 0)}
	if claims.Expires > 0 {
		r.Until = time.Unix(claims.Expires, 0)
	}
	return r, nil
}

// Node is a node whose identity lies in a directory of its own, as if its host
// had joined: made where there is none, and issued anew where the node could not
// renew it by itself any more. For fleets on one host, which holds all keys.
func (a *Authority) Node(dir, name string) (*Node, error) {
	n, err := OpenNode(dir)
	switch {
	case err == nil && n.current.Account == a.account.public && n.current.Name == name:
		if _, until := n.RenewJWT(); until.After(a.options.Now()) && slices.Contains(a.issuers(), n.current.issuer) {
			return n, nil
		}
	case err == nil, errors.Is(err, os.ErrNotExist):
		n = newNode(dir)
		n.current = &Credentials{Name: name, Account: a.account.public}
	default:
		return nil, err
	}
	key, err := n.Wanted(n.current.Key == "")
	if err != nil {
		return nil, err
	}
	issuer, now := a.Issuer(), a.options.Now()
	node, err := issuer.Issue(subjects.Node, name, key.PublicKey(), now.Add(NodeLife))
	if err != nil {
		return nil, err
	}
	renew, err := issuer.Issue(subjects.Renew, name, key.PublicKey(), now.Add(2*NodeLife))
	if err != nil {
		return nil, err
	}
	return n, n.Adopt(node, renew, a.issuers())
}
