package identity_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestAUserKeepsItsKey(t *testing.T) {
	dir := t.TempDir()
	first, err := open(t, dir, identity.Options{}).User("ship1", subjects.Node)
	if err != nil {
		t.Fatal(err)
	}
	again, err := open(t, dir, identity.Options{}).User("ship1", subjects.Node)
	if err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("%+v, %v; want %+v", again, err, first)
	}
}

func TestANameWithAnotherRoleIsRefused(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	if _, err := a.User("ship1", subjects.Node); err != nil {
		t.Fatal(err)
	}
	_, err := a.User("ship1", subjects.Admin)
	if fleet.KindOf(err) != fleet.Conflict || !strings.Contains(err.Error(), "node already") {
		t.Error(err)
	}
}

func TestNamesThatWouldDefeatTheTemplateAreRefused(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	for _, name := range []string{"*", ">", "", "a.b", "a b", "..", "../x", "fleet", "live", "command", "event", strings.Repeat("a", 64), "ä"} {
		if u, err := a.User(name, subjects.Node); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("user %q was made: %+v, %v", name, u, err)
		}
	}
	if _, err := a.User("x", "king"); fleet.KindOf(err) != fleet.Invalid {
		t.Error(err)
	}
	if users, err := a.Users(); err != nil || len(users) != 0 {
		t.Error(users, err)
	}
}

func TestTenantsShareADirectoryAndNoUsers(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, identity.Options{}), open(t, dir, identity.Options{Tenant: "other"})
	mine, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if users, err := b.Users(); err != nil || len(users) != 0 {
		t.Error("the other tenant has", users, err)
	}
	theirs, err := b.User("alice", subjects.Viewer)
	if err != nil || theirs.Key == mine.Key {
		t.Error("a name of two tenants:", theirs, err)
	}
	if users, err := a.Users(); err != nil || len(users) != 1 || !reflect.DeepEqual(users[0], mine) {
		t.Error("the tenant has", users, err)
	}
	if len(b.AccountJWTs()) != 3 {
		t.Error("accounts:", len(b.AccountJWTs()))
	}
}

func TestSystemUserIsInNoTenant(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	u, err := a.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.SystemUser(); err != nil || again.Key != u.Key {
		t.Error(again, err)
	}
	if u.Account != a.SystemAccount() || u.Role != "" || u.Expires.IsZero() {
		t.Error(u)
	}
}

func TestCredentialsSignWhatNkeysVerify(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	u, err := a.User("alice", subjects.Operator)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil || c.Name != "alice" || c.Role != subjects.Operator || c.Key != u.Key || c.Warning != "" {
		t.Fatalf("%+v, %v", c, err)
	}
	signature, err := c.Sign([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := nkeys.FromPublicKey(u.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := public.Verify([]byte("hello"), signature); err != nil {
		t.Error(err)
	}
	if public.Verify([]byte("hullo"), signature) == nil {
		t.Error("another text verifies")
	}
}

func TestBadCredentialsSayWhatIsWrong(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	one, _ := a.User("one", subjects.Admin)
	two, _ := a.User("two", subjects.Admin)
	dir := t.TempDir()
	file := func(name, content string) string {
		put(t, filepath.Join(dir, name), content)
		return filepath.Join(dir, name)
	}
	read := func(path string) string { data, _ := os.ReadFile(path); return string(data) }
	cut := func(s string) (string, string) { i := strings.Index(s, "*****"); return s[:i], s[i:] }
	token, _ := cut(read(one.CredsFile))
	_, seed := cut(read(two.CredsFile))

	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		file("empty", ""):          "no user's JWT",
		file("half", token):        "no user's private key",
		file("mixed", token+seed):  "put together from two",
	} {
		_, err := identity.LoadCreds(path)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v: want %q and the path", err, want)
		}
	}
	if _, err := identity.LoadCreds(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	open := file("open", read(one.CredsFile))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := identity.LoadCreds(open); err != nil || !strings.Contains(c.Warning, "chmod 600") {
		t.Error(c, err)
	}
}

func TestExpiredCredentialsComeWithTheirError(t *testing.T) {
	account, _ := nkeys.CreateAccount()
	pair, _ := nkeys.CreateUser()
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	claims := jwt.NewUserClaims(public)
	claims.Name, claims.Expires = "late", time.Now().Add(-time.Hour).Unix()
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	data, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "late.creds")
	put(t, path, string(data))
	c, err := identity.LoadCreds(path)
	if fleet.KindOf(err) != fleet.Expired || c == nil || c.Name != "late" {
		t.Error(c, err)
	}
}

func BenchmarkSign(b *testing.B) {
	a, err := identity.Open(b.TempDir(), identity.Options{})
	if err != nil {
		b.Fatal(err)
	}
	u, err := a.User("alice", subjects.Admin)
	if err != nil {
		b.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		b.Fatal(err)
	}
	data, _ := os.ReadFile(u.CredsFile)
	pair, err := jwt.ParseDecoratedUserNKey(data)
	if err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 512)
	for name, signer := range map[string]interface{ Sign([]byte) ([]byte, error) }{"cached": c, "nkeys": pair} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := signer.Sign(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
