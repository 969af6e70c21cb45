package identity_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// signed reports whether the tenant's account, and the operator, would let a
// broker take a user's JWT.
func signed(t *testing.T, a *identity.Authority, token string) bool {
	t.Helper()
	user, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := jwt.DecodeOperatorClaims(a.OperatorJWT())
	if err != nil {
		t.Fatal(err)
	}
	c := account(t, a)
	return operator.DidSign(c) && c.DidSign(user) && !c.IsClaimRevoked(user)
}

func TestOldAndNewKeysOfRolesHoldUntilTheRotationIsFinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	before, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	ship, _ := a.User("ship1", subjects.Node)
	keys := load(t, a)
	if err := a.RotateRoles(subjects.Admin, subjects.Node); err != nil {
		t.Fatal(err)
	}
	after, err := a.Find("alice")
	if err != nil || after.Key != before.Key || after.JWT() == before.JWT() {
		t.Fatalf("alice has %+v, %v", after, err)
	}
	again := open(t, dir, identity.Options{})
	for what, token := range map[string]string{"old": before.JWT(), "new": after.JWT(), "a node's old": ship.JWT()} {
		if !signed(t, again, token) {
			t.Errorf("%s JWT is not taken", what)
		}
	}
	if got := len(a.ReplacedRoles()); got != 2 {
		t.Errorf("%d keys are being replaced", got)
	}
	if now := load(t, a); now.Curve.Public() != keys.Curve.Public() {
		t.Error("the curve key changed with the signing keys")
	} else if old, _ := keys.Issuer.Issue(subjects.Node, "ship2", after.Key, time.Now().Add(time.Hour)); !signed(t, a, old) {
		t.Error("a station with the old keys issues what is not taken")
	} else if young, _ := now.Issuer.Issue(subjects.Node, "ship2", after.Key, time.Now().Add(time.Hour)); !signed(t, a, young) {
		t.Error("a station with the new keys issues what is not taken")
	}

	if gone, err := a.FinishRoles(); err != nil || len(gone) != 2 {
		t.Fatal(gone, err)
	}
	if signed(t, a, before.JWT()) || !signed(t, a, after.JWT()) {
		t.Error("the old key holds still, or the new one does not")
	}
	if _, err := a.FinishRoles(); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("finished twice: %v", err)
	}
}

func load(t *testing.T, a *identity.Authority) identity.StationKeys {
	t.Helper()
	path, err := a.StationKeys()
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.LoadStationKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A kill leaves the seed that the account does not name yet, or the one that
// it names under the name of the next.
func TestARotationOfRolesGoesOnWhereAKillStoppedIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	u, _ := a.User("alice", subjects.Admin)
	old := tree(t, dir)
	if err := a.RotateRoles(subjects.Admin); err != nil {
		t.Fatal(err)
	}
	now := tree(t, dir)
	const seed, next, jwtFile = "tenants/main/admin.seed", "tenants/main/admin.next.seed", "tenants/main/account.jwt"

	restore := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			put(t, filepath.Join(dir, name), text)
		}
		return dir
	}
	unnamed := maps.Clone(old)
	unnamed[next] = now[seed]
	dir = restore(unnamed)
	if a := open(t, dir, identity.Options{}); !signed(t, a, u.JWT()) {
		t.Error("before the account was issued: alice is not taken")
	} else if after := tree(t, dir); after[seed] != old[seed] || after[next] != "" {
		t.Error("before the account was issued: a key that nobody knows stayed")
	}
	named := maps.Clone(old)
	named[next], named[jwtFile] = now[seed], now[jwtFile]
	dir = restore(named)
	a = open(t, dir, identity.Options{})
	if after := tree(t, dir); after[seed] != now[seed] || after[next] != "" {
		t.Error("after the account was issued: the new key is not the one in use")
	}
	if renewed, err := a.Renew("alice", 0); err != nil || !signed(t, a, renewed.JWT()) || !signed(t, a, u.JWT()) {
		t.Errorf("after the account was issued: %v", err)
	}
}

func TestTheSpareKeyOfTheOperatorTakesOverWithoutTheRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	open(t, dir, identity.Options{Tenant: "shop"})
	operator := a.OperatorJWT()
	root := filepath.Join(dir, "operator.seed")
	kept, err := os.ReadFile(root)
	if err == nil {
		err = os.Remove(root)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := account(t, a).Issuer
	if err := a.RotateSigning(); err != nil {
		t.Fatal(err)
	}
	if a.OperatorJWT() != operator {
		t.Error("the operator's JWT changed: brokers would have to be restarted")
	}
	claims, _ := jwt.DecodeOperatorClaims(operator)
	if len(a.AccountJWTs()) != 3 {
		t.Errorf("%d accounts", len(a.AccountJWTs()))
	}
	for key, text := range a.AccountJWTs() {
		c, err := jwt.DecodeAccountClaims(text)
		if err != nil || c.Issuer == before || !claims.DidSign(c) {
			t.Errorf("account %s is signed by %s: %v", key, c.Issuer, err)
		}
	}
	if err := a.RotateSigning(); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("rotated to a key that is not there: %v", err)
	}
	if err := a.FinishSigning(); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), root) {
		t.Errorf("finished without the root: %v", err)
	}
	put(t, root, string(kept))
	if err := a.FinishSigning(); err != nil {
		t.Fatal(err)
	}
	claims, _ = jwt.DecodeOperatorClaims(a.OperatorJWT())
	if len(claims.SigningKeys) != 2 || slices.Contains(claims.SigningKeys, before) {
		t.Errorf("the operator lists %v, the old key is %s", claims.SigningKeys, before)
	}
	if err := a.RotateSigning(); err != nil {
		t.Errorf("the new spare: %v", err)
	}
}

func TestAUsersOldKeyHoldsUntilItsRotationIsFinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	before, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	after, err := a.RotateUser("alice", "")
	if err != nil || after.Key == before.Key {
		t.Fatal(after, err)
	}
	if users, err := a.Users(); err != nil || len(users) != 1 || users[0].Key != after.Key {
		t.Errorf("the users are %v, %v", users, err)
	}
	if c, err := identity.LoadCreds(before.CredsFile); err != nil || c.Key != after.Key {
		t.Errorf("her creds file: %v, %v", c, err)
	}
	if !signed(t, a, before.JWT()) || !signed(t, a, after.JWT()) {
		t.Error("one of her keys is not taken")
	}
	if _, err := a.RotateUser("alice", ""); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("rotated again before it was finished: %v", err)
	}
	if _, err := a.FinishUser("alice"); err != nil {
		t.Fatal(err)
	}
	if signed(t, a, before.JWT()) || !signed(t, a, after.JWT()) {
		t.Error("the old key is taken still, or the new one is not")
	}
	if _, err := a.FinishUser("alice"); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("finished twice: %v", err)
	}
}

func TestARotationOfAUserIsFinishedAfterThatOfRoles(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(*identity.Authority) (identity.User, error){
		"finish": func(a *identity.Authority) (identity.User, error) { return a.FinishUser("alice") },
		"revoke": func(a *identity.Authority) (identity.User, error) { return a.Revoke("alice", "left") },
	} {
		a := open(t, t.TempDir(), identity.Options{})
		before, err := a.User("alice", subjects.Admin)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.RotateUser("alice", ""); err != nil {
			t.Fatal(err)
		}
		if err := a.RotateRoles(subjects.Admin); err != nil {
			t.Fatal(err)
		}
		if _, err := a.FinishRoles(); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(trusted(t, a).Keys, func(k message.TrustedKey) bool { return k.Key == before.Key }) {
			t.Errorf("%s: a key that no broker lets in is believed", what)
		}
		if _, err := end(a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if c := account(t, a); !c.IsClaimRevoked(claimsOf(t, before)) {
			t.Errorf("%s: the old key is not revoked", what)
		}
	}
}

func TestAUserWhoseKeyWasGivenAwayGetsANewOneElsewhere(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), identity.Options{})
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.creds"), filepath.Join(dir, "second.creds")
	if _, err := a.Create(identity.New{Name: "alice", Role: subjects.Viewer, Out: first}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RotateUser("alice", ""); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("nowhere: %v", err)
	}
	if _, err := a.RotateUser("alice", first); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("over the old one: %v", err)
	}
	u, err := a.RotateUser("alice", second)
	if err != nil || u.CredsFile != second {
		t.Fatal(u, err)
	}
	if c, err := identity.LoadCreds(second); err != nil || c.Key != u.Key {
		t.Errorf("%v, %v", c, err)
	}
}

func TestARevocationThatStoppedHalfWayIsFinishedByDoingItAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	olga, err := a.Create(identity.New{Name: "olga", Role: subjects.Operator, Limits: subjects.Limits{Nodes: []string{"ship1"}}})
	if err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(dir, "tenants/main/trust.seed")
	if err := os.Rename(seed, seed+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke("olga", "left"); err == nil {
		t.Fatal("revoked without the key that signs the trust set")
	}
	if users, err := a.Users(); err != nil || len(users) != 1 {
		t.Errorf("half way there are %v, %v", users, err)
	}
	if err := os.Rename(seed+".away", seed); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke("olga", "left"); err != nil {
		t.Fatal(err)
	}
	if c := account(t, a); !c.IsClaimRevoked(claimsOf(t, olga)) || c.SigningKeys.Contains(claimsOf(t, olga).Issuer) {
		t.Error("she is not revoked, or her scope stays")
	}
	if users, err := a.Users(); err != nil || len(users) != 0 {
		t.Errorf("there are %v, %v", users, err)
	}
}

func TestARevokedUserIsForgottenAndItsNameIsFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}}
	a := open(t, dir, o)
	first, err := a.Create(identity.New{Name: "olga", Role: subjects.Operator, Limits: subjects.Limits{Nodes: []string{"ship1"}}})
	if err != nil {
		t.Fatal(err)
	}
	former, err := a.RotateUser("olga", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke("olga", "left"); err != nil {
		t.Fatal(err)
	}
	for _, u := range []identity.User{first, former} {
		if c := account(t, a); !c.IsClaimRevoked(claimsOf(t, u)) {
			t.Errorf("key %s is not revoked", u.Key)
		} else if c.SigningKeys.Contains(claimsOf(t, u).Issuer) {
			t.Error("the scope of who is gone stays")
		}
	}
	if left := slices.DeleteFunc(slices.Collect(maps.Keys(tree(t, dir))), func(name string) bool { return !strings.Contains(name, "olga") }); len(left) > 0 {
		t.Errorf("left of her: %v", left)
	}
	_, err = a.Revoke("olga", "")
	if fleet.KindOf(err) != fleet.Unknown || errors.Is(err, os.ErrNotExist) {
		t.Errorf("revoked twice: %v", err)
	}
	again, err := a.User("olga", subjects.Viewer)
	if err != nil || again.Key == first.Key || len(again.Nodes) > 0 || !signed(t, a, again.JWT()) {
		t.Errorf("another olga: %+v, %v", again, err)
	}
}

func claimsOf(t *testing.T, u identity.User) *jwt.UserClaims {
	t.Helper()
	c, err := jwt.DecodeUserClaims(u.JWT())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
