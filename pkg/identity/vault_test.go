package identity_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

const passphrase = "correct horse battery staple"

func says(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// encrypted is a directory with a passphrase.
func encrypted(t *testing.T, dir string) {
	t.Helper()
	if err := open(t, dir, identity.Options{}).Encrypt([]byte(passphrase)); err != nil {
		t.Fatal(err)
	}
}

func TestAnEncryptedDirectoryHoldsNoSeedInTheClear(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	encrypted(t, dir)
	o := identity.Options{Passphrase: says(passphrase)}
	// What is made later is encrypted too: another tenant, a limited user.
	open(t, dir, identity.Options{Tenant: "shop", Passphrase: says(passphrase)})
	o.Methods = map[subjects.Role][]string{subjects.Operator: {"reload"}}
	a := open(t, dir, o)
	out := filepath.Join(t.TempDir(), "olga.creds")
	limits := subjects.Limits{Nodes: []string{"ship1"}}
	if _, err := a.Create(identity.New{Name: "olga", Role: subjects.Operator, Limits: limits, Out: out}); err != nil {
		t.Fatal(err)
	}
	for name, text := range tree(t, dir) {
		for _, prefix := range []string{"SO", "SA", "SU", "SX"} {
			if seedLike(text, prefix) {
				t.Errorf("%s holds a seed in the clear", name)
			}
		}
		if strings.Contains(text, "PRIVATE KEY") && name != "broker/tls.key" {
			t.Errorf("%s holds a private key in the clear", name)
		}
	}
	if c, err := identity.LoadCreds(out); err != nil || c.Name != "olga" {
		t.Errorf("her own creds file: %v, %v", c, err)
	}
	u, err := a.Find("olga")
	if err != nil || u.CredsFile != "" || len(u.Nodes) != 1 {
		t.Errorf("what the directory keeps of her: %+v, %v", u, err)
	}
	if _, err := a.Create(identity.New{Name: "bob", Role: subjects.Viewer}); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("a private key was to stay in an encrypted directory: %v", err)
	}
}

func TestAnEncryptedDirectoryIsReadWithoutPassphraseAndSignsOnlyWithIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	encrypted(t, dir)
	before := tree(t, dir)
	for what, ask := range map[string]func() ([]byte, error){"no passphrase": nil, "a wrong one": says("wrong horse"), "an empty one": says("")} {
		a := open(t, dir, identity.Options{Passphrase: ask})
		if users, err := a.Users(); err != nil || len(users) != 0 {
			t.Errorf("%s: users %v, %v", what, users, err)
		}
		_, err := a.Create(identity.New{Name: "olga", Role: subjects.Admin, Out: filepath.Join(t.TempDir(), "olga.creds")})
		if fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := tree(t, dir); len(after) != len(before) {
		t.Errorf("something was made: %d files, before %d", len(after), len(before))
	}
}

func TestAPassphraseIsChangedByWhoKnowsItAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	encrypted(t, dir)
	if err := open(t, dir, identity.Options{Passphrase: says("wrong horse")}).Encrypt([]byte("another one")); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("changed with a wrong one: %v", err)
	}
	a := open(t, dir, identity.Options{Passphrase: says(passphrase)})
	if err := a.Encrypt([]byte("short")); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("a short one: %v", err)
	}
	if err := a.Encrypt([]byte("another one")); err != nil {
		t.Fatal(err)
	}
	for text, kind := range map[string]fleet.Kind{passphrase: fleet.Refused, "another one": ""} {
		if err := open(t, dir, identity.Options{Passphrase: says(text)}).CheckPassphrase(); fleet.KindOf(err) != kind {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A person who lost Fairlead opens the files with age.
func TestSeedsAreFilesOfAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	encrypted(t, dir)
	unseal := func(name string, by age.Identity) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), by)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	opener, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	all, err := age.ParseIdentities(strings.NewReader(unseal("passphrase.age", opener)))
	if err != nil {
		t.Fatal(err)
	}
	if seed := unseal("operator.seed.age", all[0]); !seedLike(seed, "SO") {
		t.Error("no operator's seed")
	}
}
