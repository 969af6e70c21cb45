package identity_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func token(t *testing.T, a *identity.Authority) identity.Token {
	t.Helper()
	key, seed := newKey(t)
	text, err := a.Issuer().Issue(subjects.Join, subjects.TokenID(key), key, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return identity.Token{URL: "tls://broker.example.org:4222", JWT: text, Seed: string(seed), Account: a.TenantAccount(),
		Signers: []string{key}, Version: 3, CA: strings.Repeat("ab", 32)}
}

func TestATokenIsOneWord(t *testing.T) {
	want := token(t, open(t, t.TempDir(), identity.Options{}))
	text := want.String()
	if strings.ContainsAny(text, " \t\n'\"$\\") {
		t.Errorf("a shell would take %s apart", text)
	}
	for _, pasted := range []string{text, " " + text + "\n", text[:80] + "\n" + text[80:]} {
		got, err := identity.ParseToken(pasted)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if want.ID() == "" || len(want.ID()) != 64 {
		t.Errorf("id %q", want.ID())
	}
}

func TestATokenThatIsNotWholeIsToldWithoutShowingIt(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	whole := token(t, a)
	other := token(t, a)
	changed := func(f func(*identity.Token)) string {
		c := whole
		f(&c)
		return c.String()
	}
	node, err := a.User("ship1", subjects.Node)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := identity.LoadCreds(node.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"another word":      "hello",
		"cut off":           whole.String()[:200],
		"no JWT":            changed(func(c *identity.Token) { c.JWT = "" }),
		"no signers":        changed(func(c *identity.Token) { c.Signers = nil }),
		"another's seed":    changed(func(c *identity.Token) { c.Seed = other.Seed }),
		"another account":   changed(func(c *identity.Token) { c.Account = a.SystemAccount() }),
		"a node's JWT":      changed(func(c *identity.Token) { c.JWT = creds.UserJWT() }),
		"a number for an A": "FL1.eyJ1cmwiOjF9",
	} {
		_, err := identity.ParseToken(text)
		if fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), whole.Seed) {
			t.Errorf("%s: the error shows the seed", name)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("FL1.eyJ1cmwiOjF9")
	f.Add("FL1.")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := identity.ParseToken(text); err == nil {
			if again, err := identity.ParseToken(got.String()); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%q reads as %+v and then as %+v, %v", text, got, again, err)
			}
		}
	})
}
