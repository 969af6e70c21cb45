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

// issuedNode are the two JWTs of a node.
func issuedNode(t *testing.T, a *identity.Authority, name, key string, life time.Duration) (node, renew string) {
	t.Helper()
	now := time.Now()
	node, err := a.Issuer().Issue(subjects.Node, name, key, now.Add(life))
	if err != nil {
		t.Fatal(err)
	}
	if renew, err = a.Issuer().Issue(subjects.Renew, name, key, now.Add(2*life)); err != nil {
		t.Fatal(err)
	}
	return node, renew
}

// issuers may sign a tenant's nodes.
func issuers(t *testing.T, a *identity.Authority) []string {
	t.Helper()
	key, _ := newKey(t)
	node, renew := issuedNode(t, a, "x", key, time.Hour)
	var all []string
	for _, token := range []string{node, renew} {
		i, err := identity.ReadIssued(token)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i.Issuer)
	}
	return all
}

// joined is a node that has joined, in dir.
func joined(t *testing.T, a *identity.Authority, dir string) *identity.Node {
	t.Helper()
	n, err := identity.NewNode(dir, a.TenantAccount(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := n.Wanted(true)
	if err != nil {
		t.Fatal(err)
	}
	node, renew := issuedNode(t, a, "ship1", key.PublicKey(), time.Hour)
	if err := n.Adopt(node, renew, issuers(t, a)); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAHostThatJoinsKeepsItsKeyUntilItIsANode(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), filepath.Join(t.TempDir(), "identity")
	n, err := identity.NewNode(dir, a.TenantAccount(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	first, err := n.Wanted(true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := identity.NewNode(dir, a.TenantAccount(), "ship1") // the answer was lost
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.Wanted(true); err != nil || second.PublicKey() != first.PublicKey() {
		t.Fatal("another key the second time", err)
	}
	node, renew := issuedNode(t, a, "ship1", first.PublicKey(), time.Hour)
	if err := again.Adopt(node, renew, issuers(t, a)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"node.creds", "renew.creds"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Error(file, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "next.seed")); err == nil {
		t.Error("the seed lies there twice")
	}
	read, err := identity.OpenNode(dir)
	if err != nil || read.PublicKey() != first.PublicKey() || read.UserName() != "ship1" {
		t.Error(read, err)
	}
	if token, _ := read.RenewJWT(); token != renew {
		t.Error("the JWT to renew with was not kept")
	}
	if _, err := identity.NewNode(dir, a.TenantAccount(), "ship2"); fleet.KindOf(err) != fleet.Conflict || !strings.Contains(err.Error(), "ship1 already") {
		t.Error("a node joined as another:", err)
	}
}

func TestANodeTakesItsNewKeyWithItsJWT(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), t.TempDir()
	n := joined(t, a, dir)
	old := n.PublicKey()
	signer := n.Signer()
	key, err := n.Wanted(true)
	if err != nil || key.PublicKey() == old {
		t.Fatal(key, err)
	}
	if n.PublicKey() != old {
		t.Error("the key is used before anybody knows it")
	}
	restarted, err := identity.OpenNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	if wanted, err := restarted.Wanted(false); err != nil || wanted.PublicKey() != key.PublicKey() {
		t.Error("a key that was asked for is forgotten", err)
	}
	node, renew := issuedNode(t, a, "ship1", key.PublicKey(), time.Hour)
	if err := n.Adopt(node, renew, issuers(t, a)); err != nil || n.PublicKey() != key.PublicKey() {
		t.Fatal(n.PublicKey(), err)
	}
	if signer.PublicKey() != old {
		t.Error("who signs changed under a signature")
	}
	if again, err := identity.OpenNode(dir); err != nil || again.PublicKey() != key.PublicKey() {
		t.Error(again, err)
	}
}

func TestANodeAdoptsNothingThatIsNotItsOwn(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), t.TempDir()
	other := open(t, t.TempDir(), identity.Options{})
	n := joined(t, a, dir)
	own, _ := newKey(t)
	good, goodRenew := issuedNode(t, a, "ship1", n.PublicKey(), 2*time.Hour)
	foreign, _ := issuedNode(t, other, "ship1", n.PublicKey(), 2*time.Hour)
	renamed, _ := issuedNode(t, a, "ship2", n.PublicKey(), 2*time.Hour)
	keyed, _ := issuedNode(t, a, "ship1", own, 2*time.Hour)
	older, _ := issuedNode(t, a, "ship1", n.PublicKey(), time.Minute)
	before := tree(t, dir)
	for name, try := range map[string]struct {
		node, renew string
		issuers     []string
		say         string
	}{
		"another fleet's JWT":       {foreign, goodRenew, issuers(t, a), "does not name as an issuer"},
		"one of another account":    {foreign, goodRenew, append(issuers(t, a), issuers(t, other)...), "of account"},
		"another node's":            {renamed, goodRenew, issuers(t, a), `node "ship2"`},
		"one for another key":       {keyed, goodRenew, issuers(t, a), "is for key"},
		"an older one":              {older, goodRenew, issuers(t, a), "older answer"},
		"one that may only renew":   {goodRenew, goodRenew, issuers(t, a), "renew"},
		"a node's to renew with":    {good, good, issuers(t, a), "node"},
		"one whose issuer has gone": {good, goodRenew, nil, "does not name as an issuer"},
		"no JWT":                    {"x", goodRenew, issuers(t, a), "no user's JWT"},
	} {
		err := n.Adopt(try.node, try.renew, try.issuers)
		if fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), try.say) {
			t.Errorf("%s: %v; want %q", name, err, try.say)
		}
	}
	for path, text := range tree(t, dir) {
		if before[path] != text {
			t.Errorf("%s was changed", path)
		}
	}
	if err := n.Adopt(good, goodRenew, issuers(t, a)); err != nil {
		t.Error(err)
	}
}

func TestACredsFileIsRenewedInItsPlace(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	u, err := a.User("ship1", subjects.Node)
	if err != nil {
		t.Fatal(err)
	}
	n, err := identity.NodeOf(u.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	node, renew := issuedNode(t, a, "ship1", u.Key, 10000*time.Hour)
	if err := n.Adopt(node, renew, issuers(t, a)); err != nil {
		t.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil || c.UserJWT() != node || c.Key != u.Key {
		t.Error(c, err)
	}
	admin, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.NodeOf(admin.CredsFile); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "no node") {
		t.Error("a person is a node:", err)
	}
}

func TestANodeOfOnesOwnHostIsMadeOnce(t *testing.T) {
	authorities, dir := t.TempDir(), t.TempDir()
	now := time.Now()
	o := identity.Options{Now: func() time.Time { return now }}
	a := open(t, authorities, o)
	node := func(a *identity.Authority) *identity.Node {
		n, err := a.Node(dir, "ship1")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := node(a)
	again := node(a)
	if again.PublicKey() != first.PublicKey() || again.UserJWT() != first.UserJWT() {
		t.Error("issued anew without need")
	}
	now = now.Add(2*identity.NodeLife + time.Hour) // it could not renew it itself any more
	late := node(a)
	if late.PublicKey() != first.PublicKey() || late.UserJWT() == first.UserJWT() {
		t.Error("a node that was away too long has no new JWT, or another key")
	}
	other := node(open(t, t.TempDir(), o))
	if other.PublicKey() == first.PublicKey() || other.Credentials().Account == first.Credentials().Account {
		t.Error("a node of another account has the same key")
	}
}
