package identity_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

// prepared has a node keep what it needs to become ship2.
func prepared(t *testing.T, a *identity.Authority, n *identity.Node) message.Signer {
	t.Helper()
	key, err := n.SuccessorKey("ship2")
	if err != nil {
		t.Fatal(err)
	}
	node, renew := issuedNode(t, a, "ship2", key.PublicKey(), time.Hour)
	until, err := n.KeepSuccessor("ship2", node, renew, issuers(t, a), message.Enclosed{Body: []byte("order")})
	if err != nil || until.Before(time.Now().Add(50*time.Minute)) {
		t.Fatal(until, err)
	}
	return key
}

// is checks which node lies in a directory.
func is(t *testing.T, dir, name, key string) *identity.Node {
	t.Helper()
	n, err := identity.OpenNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n.UserName() != name || n.PublicKey() != key {
		t.Errorf("it is %s with key %s, want %s with %s", n.UserName(), n.PublicKey(), name, key)
	}
	return n
}

func TestANodeBecomesItsSuccessorWithAnotherKey(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), filepath.Join(t.TempDir(), "identity")
	n := joined(t, a, dir)
	if name, _, err := n.Successor(); name != "" || err != nil {
		t.Errorf("it is to become %q, %v", name, err)
	}
	key := prepared(t, a, n)
	again, err := is(t, dir, "ship1", n.PublicKey()).SuccessorKey("ship2")
	if err != nil || again.PublicKey() != key.PublicKey() || key.PublicKey() == n.PublicKey() {
		t.Errorf("asked again it has key %v, %v", again, err)
	}
	name, command, err := n.Successor()
	if name != "ship2" || string(command.Body) != "order" || err != nil {
		t.Errorf("it is to become %q by %q, %v", name, command.Body, err)
	}
	if _, err := n.SuccessorKey("ship3"); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("it is to become a third one: %v", err)
	}
	if err := n.Succeed(); err != nil {
		t.Fatal(err)
	}
	after := is(t, dir, "ship2", key.PublicKey())
	if token, _ := after.RenewJWT(); token == "" {
		t.Error("it cannot renew")
	}
	if name, _, err := after.Successor(); name != "" || err != nil {
		t.Errorf("it is to become %q, %v", name, err)
	}
	if n.UserName() != "ship1" {
		t.Error("who runs as ship1 signs as another")
	}
}

func TestAKillInTheMiddleLeavesOneNodeOrTheOther(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), filepath.Join(t.TempDir(), "identity")
	n := joined(t, a, dir)
	key := prepared(t, a, n)
	files := make(map[string][]byte)
	read := func(names ...string) {
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = text
		}
	}
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read("node.creds", "successor.json")
	if err := n.Succeed(); err != nil {
		t.Fatal(err)
	}
	put("successor.json") // before it was removed
	if name, _, err := is(t, dir, "ship2", key.PublicKey()).Successor(); name != "" || err != nil {
		t.Errorf("it is to become %q, %v", name, err)
	}
	put("node.creds") // before that was written
	half := is(t, dir, "ship1", n.PublicKey())
	if token, _ := half.RenewJWT(); token != "" {
		t.Error("it renews with another node's JWT")
	}
	if err := half.Succeed(); err != nil {
		t.Fatal(err)
	}
	is(t, dir, "ship2", key.PublicKey())
}

func TestASuccessorsJWTsAreItsOwn(t *testing.T) {
	a, dir := open(t, t.TempDir(), identity.Options{}), filepath.Join(t.TempDir(), "identity")
	n := joined(t, a, dir)
	if err := n.Succeed(); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("it becomes nobody: %v", err)
	}
	key, err := n.SuccessorKey("ship2")
	if err != nil {
		t.Fatal(err)
	}
	node, renew := issuedNode(t, a, "ship2", key.PublicKey(), time.Hour)
	otherName, _ := issuedNode(t, a, "ship3", key.PublicKey(), time.Hour)
	otherKey, _ := issuedNode(t, a, "ship2", n.PublicKey(), time.Hour)
	for what, try := range map[string]struct {
		node    string
		issuers []string
	}{"another name": {otherName, issuers(t, a)}, "another key": {otherKey, issuers(t, a)}, "a stranger's": {node, nil}, "the one to renew": {renew, issuers(t, a)}} {
		if _, err := n.KeepSuccessor("ship2", try.node, renew, try.issuers, message.Enclosed{}); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s is kept: %v", what, err)
		}
	}
	if err := n.Succeed(); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("it becomes one without JWTs: %v", err)
	}
	if err := n.DropSuccessor(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.KeepSuccessor("ship2", node, renew, issuers(t, a), message.Enclosed{}); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("JWTs for a key that is gone are kept: %v", err)
	}
	is(t, dir, "ship1", n.PublicKey())
}
