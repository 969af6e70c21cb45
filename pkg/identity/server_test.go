package identity_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

func TestABrokersDirectoryIsAllThatItsHostNeedsAndHoldsNoSeed(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, identity.Options{Tenant: "shop"})
	a := open(t, dir, identity.Options{})
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(a.BrokerDir())); err != nil {
		t.Fatal(err)
	}
	s, err := identity.LoadServer(copied)
	if err != nil {
		t.Fatal(err)
	}
	want := a.Server()
	if s.OperatorJWT != want.OperatorJWT || s.SystemAccount != want.SystemAccount || !maps.Equal(s.Accounts, want.Accounts) || len(s.Accounts) != 3 {
		t.Errorf("read %+v\nwant %+v", s, want)
	}
	for name, text := range tree(t, copied) {
		for _, prefix := range []string{"SO", "SA", "SU", "SX"} {
			if seedLike(text, prefix) {
				t.Errorf("%s holds a seed", name)
			}
		}
		if strings.Contains(text, "PRIVATE KEY") && name != "tls.key" {
			t.Errorf("%s holds a private key", name)
		}
	}
}

func TestABrokersDirectoryThatIsNotWholeIsRefusedByName(t *testing.T) {
	a, other := open(t, t.TempDir(), identity.Options{}), open(t, t.TempDir(), identity.Options{})
	account := "accounts/" + a.TenantAccount() + ".jwt"
	for name, change := range map[string]struct {
		do   func(dir string)
		says string
	}{
		"nothing there":            {func(dir string) { os.RemoveAll(dir) }, "copy the directory broker of an identity directory there"},
		"rubbish as operator":      {func(dir string) { put(t, filepath.Join(dir, "operator.jwt"), "x") }, "operator.jwt"},
		"another's operator":       {func(dir string) { put(t, filepath.Join(dir, "operator.jwt"), other.OperatorJWT()) }, "is not this operator's account"},
		"half an account":          {func(dir string) { put(t, filepath.Join(dir, account), "ey") }, account},
		"one account for another":  {func(dir string) { put(t, filepath.Join(dir, account), a.AccountJWTs()[a.SystemAccount()]) }, account},
		"no system account":        {func(dir string) { os.Remove(filepath.Join(dir, "accounts", a.SystemAccount()+".jwt")) }, "the system account"},
		"no certificate":           {func(dir string) { os.Remove(filepath.Join(dir, "tls.pem")) }, "tls.pem"},
		"another key than its own": {func(dir string) { put(t, filepath.Join(dir, "tls.key"), tree(t, other.BrokerDir())["tls.key"]) }, "tls.pem"},
	} {
		dir := filepath.Join(t.TempDir(), "broker")
		if err := os.CopyFS(dir, os.DirFS(a.BrokerDir())); err != nil {
			t.Fatal(err)
		}
		change.do(dir)
		if _, err := identity.LoadServer(dir); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), change.says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v; want %q", name, err, change.says)
		}
	}
}

func TestTheBrokersDirectoryFollowsTheAccounts(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	shop := open(t, dir, identity.Options{Tenant: "shop"})
	if got := accountsIn(t, a.BrokerDir()); !slices.Contains(got, shop.TenantAccount()) || len(got) != 3 {
		t.Errorf("there are %v", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "tenants", "shop")); err != nil {
		t.Fatal(err)
	}
	open(t, dir, identity.Options{})
	if got := accountsIn(t, a.BrokerDir()); slices.Contains(got, shop.TenantAccount()) {
		t.Errorf("a tenant that is no more is there still: %v", got)
	}
}

func accountsIn(t *testing.T, broker string) []string {
	t.Helper()
	s, err := identity.LoadServer(broker)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(s.Accounts))
}
