package identity_test

import (
	"os"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestCredentialsTakeAYoungerJWTOfTheirOwnAndKeepIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	alice := member(t, a, "alice", subjects.Admin)
	bob := member(t, a, "bob", subjects.Admin)
	c, err := identity.LoadCreds(alice.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	old := c.UserJWT()
	renewed, err := a.Renew("alice", 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(bob.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"somebody else's": bob.JWT(), "no JWT": "rubbish"} {
		if took, err := c.Renew(token); took || fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s: %v, %v", what, took, err)
		}
	}
	if took, err := c.Renew(renewed.JWT()); !took || err != nil || c.UserJWT() != renewed.JWT() {
		t.Errorf("the younger one: %v, %v", took, err)
	}
	if took, err := c.Renew(renewed.JWT()); took || err != nil {
		t.Errorf("the same again: %v, %v", took, err)
	}
	if again, err := identity.LoadCreds(alice.CredsFile); err != nil || again.UserJWT() != renewed.JWT() || again.Key != c.Key {
		t.Errorf("the file has %v, %v", again, err)
	}
	if old == renewed.JWT() {
		t.Error("nothing was renewed")
	}
	if after, _ := os.ReadFile(bob.CredsFile); string(after) != string(before) {
		t.Error("another file was written to")
	}
	if err := os.Remove(alice.CredsFile); err != nil {
		t.Fatal(err)
	}
	if took, err := c.Renew(old); err == nil && took && c.UserJWT() == renewed.JWT() {
		t.Error("an old one took the place of a younger one")
	}
}
