package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// flawless asserts that the JWT library itself, as nsc and nats-server use it,
// finds nothing wrong with a JWT, not even a warning.
func flawless(t *testing.T, what, text string) jwt.Claims {
	t.Helper()
	claims, err := jwt.Decode(text)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var found jwt.ValidationResults
	claims.Validate(&found)
	for _, issue := range found.Issues {
		t.Errorf("%s: %s", what, issue.Description)
	}
	return claims
}

func TestWhatIsIssuedIsFlawlessAndSignedByWhomItMayBe(t *testing.T) {
	dir := t.TempDir()
	o := identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}, subjects.Viewer: {"healthreport"}}}
	open(t, dir, identity.Options{Tenant: "shop", Methods: o.Methods})
	a := open(t, dir, o)
	operator := flawless(t, "operator", a.OperatorJWT()).(*jwt.OperatorClaims)
	if !operator.StrictSigningKeyUsage || len(operator.SigningKeys) != 2 || operator.SystemAccount != a.SystemAccount() {
		t.Errorf("the operator: %+v", operator.Operator)
	}
	if len(a.AccountJWTs()) != 3 {
		t.Errorf("%d accounts", len(a.AccountJWTs()))
	}
	for key, text := range a.AccountJWTs() {
		claims := flawless(t, "account "+key, text)
		if !operator.DidSign(claims) || claims.Claims().Issuer != operator.SigningKeys[0] {
			t.Errorf("account %s is signed by %s", key, claims.Claims().Issuer)
		}
	}
	users := map[string]string{"system": system(t, a).UserJWT()}
	for _, role := range append(subjects.Senders(), subjects.Node) {
		u, err := a.User("u-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		users[u.Name] = u.JWT()
	}
	limited, err := a.Create(identity.New{Name: "olga", Role: subjects.Operator, Limits: subjects.Limits{Nodes: []string{"ship1"}}})
	if err != nil {
		t.Fatal(err)
	}
	users["olga"] = limited.JWT()
	for name, text := range users {
		claims := flawless(t, "user "+name, text).(*jwt.UserClaims)
		issuer, err := jwt.DecodeAccountClaims(a.AccountJWTs()[claims.IssuerAccount])
		if err != nil {
			t.Fatalf("user %s: account %q: %v", name, claims.IssuerAccount, err)
		}
		if !issuer.DidSign(claims) || claims.Issuer == issuer.Subject || claims.Expires == 0 {
			t.Errorf("user %s is signed by %s, and expires at %d", name, claims.Issuer, claims.Expires)
		}
		if len(text) > 1500 {
			t.Errorf("user %s: a JWT of %d bytes: with a signature it must fit into a line of 4096", name, len(text))
		}
	}
}

func system(t *testing.T, a *identity.Authority) *identity.Credentials {
	t.Helper()
	c, err := a.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Nothing that a broker is given, and no public file, holds a seed.
func TestNoSeedLiesWhereItDoesNotBelong(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	if _, err := a.User("alice", subjects.Admin); err != nil {
		t.Fatal(err)
	}
	for name, text := range tree(t, dir) {
		secret := strings.HasSuffix(name, ".seed") || strings.HasSuffix(name, ".creds") || strings.HasSuffix(name, "station.keys") || strings.HasSuffix(name, ".key")
		if holds := seedLike(text, "SO") || seedLike(text, "SA") || seedLike(text, "SU") || seedLike(text, "SX"); holds && !secret {
			t.Errorf("%s holds a seed", name)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// seedLike reports whether a text holds a word of 58 letters that begins as
// seeds of a kind do.
func seedLike(text, prefix string) bool {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !(r >= 'A' && r <= 'Z' || r >= '2' && r <= '7') }) {
		if len(word) == 58 && strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}
