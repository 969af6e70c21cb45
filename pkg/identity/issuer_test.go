package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// newKey is a user's public key and its seed.
func newKey(t *testing.T) (public string, seed []byte) {
	t.Helper()
	public, seed, err := identity.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	return public, seed
}

func TestAnIssuerIssuesNodesAndNobodyElse(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	key, _ := newKey(t)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for role, name := range map[subjects.Role]string{subjects.Node: "ship1", subjects.Renew: "ship1", subjects.Join: subjects.TokenID(key)} {
		token, err := a.Issuer().Issue(role, name, key, until)
		if err != nil {
			t.Fatal(role, err)
		}
		got, err := identity.ReadIssued(token)
		if err != nil || got.Name != name || got.Role != role || got.Key != key || got.Account != a.TenantAccount() || !got.Until.Equal(until) {
			t.Errorf("%s: %+v, %v", role, got, err)
		}
		if publishes(account(t, a), role) == nil {
			t.Errorf("the account grants %s nothing", role)
		}
	}
	for _, role := range []subjects.Role{subjects.Admin, subjects.Operator, subjects.Viewer, subjects.Station, "", "king"} {
		if token, err := a.Issuer().Issue(role, "ship1", key, until); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("a station issued %q: %s, %v", role, token, err)
		}
	}
}

func TestAnIssuerIssuesNoNameThatWouldDefeatTheTemplate(t *testing.T) {
	issuer := open(t, t.TempDir(), identity.Options{}).Issuer()
	key, _ := newKey(t)
	other, _ := newKey(t)
	for _, role := range []subjects.Role{subjects.Node, subjects.Renew, subjects.Join} {
		for _, name := range []string{"*", ">", "", "a.b", "ship1.>", "fleet", "live", "command", strings.Repeat("a", 64), subjects.TokenID(other)} {
			if token, err := issuer.Issue(role, name, key, time.Time{}); fleet.KindOf(err) != fleet.Invalid {
				t.Errorf("%s %q was issued: %s, %v", role, name, token, err)
			}
		}
	}
	if token, err := issuer.Issue(subjects.Join, "ship1", key, time.Time{}); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("a token hears the replies of ship1: %s, %v", token, err)
	}
	if _, err := issuer.Issue(subjects.Node, "ship1", "UABC", time.Time{}); fleet.KindOf(err) != fleet.Invalid {
		t.Error(err)
	}
}

func TestAnIssuerTakesNoOtherSeeds(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	seeds := make(map[subjects.Role][]byte)
	for _, role := range identity.IssuedByStations() {
		data, err := os.ReadFile(filepath.Join(dir, "tenants", "main", string(role)+".seed"))
		if err != nil {
			t.Fatal(err)
		}
		seeds[role] = []byte(strings.TrimSpace(string(data)))
	}
	if _, err := identity.NewIssuer(a.TenantAccount(), seeds); err != nil {
		t.Fatal(err)
	}
	_, user := newKey(t)
	seeds[subjects.Renew] = user
	_, err := identity.NewIssuer(a.TenantAccount(), seeds)
	if fleet.KindOf(err) != fleet.Invalid || strings.Contains(err.Error(), string(user)) {
		t.Error("a user's seed signs for an account:", err)
	}
	delete(seeds, subjects.Renew)
	if _, err := identity.NewIssuer(a.TenantAccount(), seeds); fleet.KindOf(err) != fleet.Invalid {
		t.Error("an issuer without a key:", err)
	}
}
