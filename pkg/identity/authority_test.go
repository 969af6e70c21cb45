package identity_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// inOrder are the files of a fresh directory as Open makes them.
var inOrder = []string{
	"operator.seed", "operator-signing.seed", "operator-signing.next.seed", "system/account.seed", "operator.jwt",
	"system/signing.seed", "system/account.jwt",
	"tenants/main/account.seed", "tenants/main/admin.seed", "tenants/main/operator.seed",
	"tenants/main/viewer.seed", "tenants/main/station.seed", "tenants/main/node.seed",
	"tenants/main/renew.seed", "tenants/main/join.seed",
	"tenants/main/trust.seed", "tenants/main/account.jwt", "tenants/main/station.keys", "tenants/main/curve.pub",
	"ca/ca.key", "ca/ca.pem", "ca/nodes.key", "ca/nodes.pem", "broker/tls.key", "broker/tls.pem",
	"broker/operator.jwt", "broker/ca.pem", "broker/nodes-ca.pem", // and the accounts, by their keys
}

func open(t *testing.T, dir string, o identity.Options) *identity.Authority {
	t.Helper()
	a, err := identity.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tree is every file below dir but the lock, by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestOpenMakesWhatIsMissingAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, identity.Options{})
	first := tree(t, dir)
	made, accounts := maps.Clone(first), 0
	maps.DeleteFunc(made, func(name, _ string) bool {
		account := strings.HasPrefix(name, "broker/accounts/A")
		if account {
			accounts++
		}
		return account
	})
	if got := slices.Sorted(maps.Keys(made)); accounts != 2 || !slices.Equal(got, slices.Sorted(slices.Values(inOrder))) {
		t.Fatalf("made %v and %d accounts\nwant %v and 2", got, accounts, inOrder)
	}
	open(t, dir, identity.Options{})
	if !maps.Equal(first, tree(t, dir)) {
		t.Error("a second Open changed something")
	}
}

func TestOpenGoesOnWhereAKillStoppedIt(t *testing.T) {
	full := t.TempDir()
	open(t, full, identity.Options{})
	files := tree(t, full)
	for n := range inOrder {
		dir := t.TempDir()
		for _, name := range inOrder[:n] {
			put(t, filepath.Join(dir, name), files[name])
		}
		put(t, filepath.Join(dir, ".new-123"), "half a fi")
		a := open(t, dir, identity.Options{})
		after := tree(t, dir)
		for _, name := range inOrder[:n] {
			if after[name] != files[name] {
				t.Errorf("stopped before %s: %s was changed", inOrder[n], name)
			}
		}
		if _, err := a.User("alice", subjects.Admin); err != nil {
			t.Errorf("stopped before %s: %v", inOrder[n], err)
		}
	}
}

// away are the keys that may be kept elsewhere: none is needed before it has to
// sign something.
var away = []string{
	"operator.seed", "operator-signing.seed", "operator-signing.next.seed", "system/account.seed",
	"tenants/main/account.seed", "tenants/main/trust.seed",
}

func TestALostKeyIsReportedAndNotReplaced(t *testing.T) {
	for _, name := range inOrder {
		if !strings.HasSuffix(name, ".seed") || slices.Contains(away, name) {
			continue
		}
		dir := t.TempDir()
		open(t, dir, identity.Options{})
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_, err := identity.Open(dir, identity.Options{})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("without %s: %v", name, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made anew", name)
		}
	}
}

func TestKeysThatAreKeptElsewhereAreNotMissedUntilTheySign(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	trusted(t, a)
	for _, name := range away {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)
	a = open(t, dir, identity.Options{})
	if _, err := a.User("alice", subjects.Admin); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "tenants/main/users/alice.creds")); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, tree(t, dir)) {
		t.Error("something was made in place of what is kept elsewhere")
	}
	_, err := identity.Open(dir, identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	if fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "operator-signing.seed is not here: bring it back") {
		t.Errorf("an account to be signed without its key: %v", err)
	}
}

func TestOpensAtOnceMakeOneAuthority(t *testing.T) {
	dir := t.TempDir()
	keys := make([]string, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			a, err := identity.Open(dir, identity.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			u, err := a.User("alice", subjects.Admin)
			if err != nil {
				t.Error(err)
			}
			keys[i] = a.SystemAccount() + a.TenantAccount() + u.Key
		})
	}
	all.Wait()
	if slices.Sort(keys); keys[0] != keys[len(keys)-1] {
		t.Errorf("not one authority: %v", slices.Compact(keys))
	}
}

func TestOnlyTheOwnerMayReadSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	if _, err := open(t, dir, identity.Options{}).User("alice", subjects.Admin); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewGrantsReachTheAccountWithTheSameKeys(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir, identity.Options{})
	o := identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}}
	after := open(t, dir, o)
	old, now := account(t, before), account(t, after)
	if !slices.Equal(slices.Sorted(slices.Values(old.SigningKeys.Keys())), slices.Sorted(slices.Values(now.SigningKeys.Keys()))) {
		t.Error("the roles' keys changed")
	}
	const granted = "fleet.*.command.reload.*.*"
	if slices.Contains(publishes(old, subjects.Operator), granted) || !slices.Contains(publishes(now, subjects.Operator), granted) {
		t.Errorf("operator may publish %v", publishes(now, subjects.Operator))
	}
	if again := open(t, dir, o); !maps.Equal(again.AccountJWTs(), after.AccountJWTs()) {
		t.Error("issued anew without a change")
	}
}

func TestEveryRoleHasItsGrantAndNoUserMore(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	claims := account(t, a)
	for _, role := range subjects.Roles() {
		want := subjects.Grant(role, nil)
		if got := publishes(claims, role); !slices.Equal(got, want.Publish) {
			t.Errorf("%s may publish %v\nwant %v", role, got, want.Publish)
		}
		u, err := a.User("u-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(u.CredsFile)
		text, _ := jwt.ParseDecoratedJWT(data)
		user, err := jwt.DecodeUserClaims(text)
		if err != nil || !user.HasEmptyPermissions() || user.IssuerAccount != a.TenantAccount() {
			t.Errorf("%s: %v %+v", role, err, user)
		}
	}
}

func TestWrongOptionsAreAllNamed(t *testing.T) {
	_, err := identity.Open(t.TempDir(), identity.Options{
		Tenant:  "a b",
		Methods: map[subjects.Role][]string{"king": {"reload"}, subjects.Viewer: {">"}},
	})
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatal(err)
	}
	for _, part := range []string{`tenant name "a b"`, `"king" is not a role`, `method name ">"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nsays nothing of %s", err, part)
		}
	}
}

func account(t *testing.T, a *identity.Authority) *jwt.AccountClaims {
	t.Helper()
	claims, err := jwt.DecodeAccountClaims(a.AccountJWTs()[a.TenantAccount()])
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func publishes(account *jwt.AccountClaims, role subjects.Role) []string {
	for _, scope := range account.SigningKeys {
		if s := scope.(*jwt.UserScope); s.Role == string(role) {
			return s.Template.Pub.Allow
		}
	}
	return nil
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
