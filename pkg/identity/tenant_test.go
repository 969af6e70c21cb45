package identity_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestAQuotaIsTheLimitsOfTheAccountAndStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, identity.Options{})
	q := identity.Quota{Nodes: 500, Connections: 600, Storage: 10 << 30, Streams: 40, Consumers: 1000}
	shop, err := identity.CreateTenant(dir, identity.Options{Tenant: "shop"}, q)
	if err != nil || shop.Quota() != q {
		t.Fatal(shop.Quota(), err)
	}
	limits := account(t, shop).Limits
	if limits.Conn != 600 || limits.DiskStorage != 10<<30 || limits.Streams != 40 || limits.Consumer != 1000 {
		t.Errorf("the account has %+v", limits)
	}
	flawless(t, "shop", shop.AccountJWTs()[shop.TenantAccount()])
	// Grants that change with the code leave it alone.
	again := open(t, dir, identity.Options{Tenant: "shop", Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	if again.Quota() != q {
		t.Errorf("after an upgrade: %+v", again.Quota())
	}
	if err := again.SetQuota(identity.Quota{Nodes: 7}); err != nil || again.Quota() != (identity.Quota{Nodes: 7}) || again.MaxNodes() != 7 {
		t.Errorf("changed to %+v, %v", again.Quota(), err)
	}
	if err := again.SetQuota(identity.Quota{Nodes: 8}); err != nil || again.MaxNodes() != 8 || trusted(t, again).MaxNodes != 8 {
		t.Errorf("the nodes alone changed: %d, %v", again.MaxNodes(), err)
	}
	if limits := account(t, again).Limits; limits.Conn != jwt.NoLimit || limits.DiskStorage != jwt.NoLimit || !limits.IsJSEnabled() {
		t.Errorf("without bounds the account has %+v", limits)
	}
	if other := open(t, dir, identity.Options{}); other.Quota() != (identity.Quota{}) {
		t.Errorf("the other tenant has %+v", other.Quota())
	}
}

func TestATenantIsMadeOnceAndNotTooSmallToWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := identity.CreateTenant(dir, identity.Options{Tenant: "shop"}, identity.Quota{}); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("in a directory that is none: %v", err)
	}
	open(t, dir, identity.Options{})
	if _, err := identity.CreateTenant(dir, identity.Options{Tenant: "main"}, identity.Quota{}); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("twice: %v", err)
	}
	_, err := identity.CreateTenant(dir, identity.Options{Tenant: "shop"}, identity.Quota{Storage: 1, Streams: 2, Connections: 1})
	for _, name := range []string{"max-storage", "max-streams", "max-connections"} {
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%v says nothing of %s", err, name)
		}
	}
	if tenants, err := identity.Tenants(dir); err != nil || !slices.Equal(tenants, []string{"main"}) {
		t.Error(tenants, err)
	}
	if _, err := identity.Load(dir, identity.Options{Tenant: "shop"}); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "main") {
		t.Errorf("a tenant that is not there: %v", err)
	}
}

func TestARemovedTenantIsGoneAndItsDeletionIsTheOperators(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := open(t, dir, identity.Options{})
	shop := open(t, dir, identity.Options{Tenant: "shop"})
	deletion, err := shop.RemoveTenant()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeGeneric(deletion)
	operator, _ := jwt.DecodeOperatorClaims(main.OperatorJWT())
	if err != nil || claims.Issuer != claims.Subject || !operator.SigningKeys.Contains(claims.Issuer) {
		t.Errorf("%+v, %v", claims, err)
	}
	for name := range tree(t, dir) {
		if strings.Contains(name, "shop") {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := main.RemoveTenant(); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("the last tenant: %v", err)
	}
}

func TestWhatATenantExportsOnlyWhoWasGrantedItImports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hq, shop := open(t, dir, identity.Options{Tenant: "hq"}), open(t, dir, identity.Options{Tenant: "shop"})
	health := identity.Share{Subject: subjects.EventsOf("*"), From: "shop"}
	if err := hq.Import(health, false); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "exports no stream") {
		t.Errorf("what nobody exports: %v", err)
	}
	if err := shop.Export(health, false); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is once
		if err := hq.Import(health, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := hq.Imports(); len(got) != 1 || got[0].From != "shop" || got[0].Local != "live.import.shop.$1.event.>" {
		t.Errorf("hq imports %+v", got)
	}
	e := account(t, shop).Exports
	if len(e) != 1 || !e[0].TokenReq {
		t.Errorf("shop exports %+v", e)
	}
	flawless(t, "hq", hq.AccountJWTs()[hq.TenantAccount()])
	flawless(t, "shop", shop.AccountJWTs()[shop.TenantAccount()])
	// Both survive what changes the accounts otherwise.
	again := open(t, dir, identity.Options{Tenant: "hq", Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	if len(again.Imports()) != 1 {
		t.Error("an upgrade lost the import")
	}
	if _, err := open(t, dir, identity.Options{Tenant: "shop"}).RemoveTenant(); fleet.KindOf(err) != fleet.Conflict || !strings.Contains(err.Error(), "hq") {
		t.Errorf("who gives is removed before who takes: %v", err)
	}
	if err := again.Import(health, true); err != nil || len(again.Imports()) != 0 {
		t.Error(again.Imports(), err)
	}
	if err := again.Import(health, true); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("taken away twice: %v", err)
	}
	if err := shop.Export(health, true); err != nil || len(shop.Exports()) != 0 {
		t.Error(shop.Exports(), err)
	}
	for _, subject := range []string{">", "", "$JS.API.>", "_INBOX.>", "a b"} {
		if err := shop.Export(identity.Share{Subject: subject}, false); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q is exported: %v", subject, err)
		}
	}
}
