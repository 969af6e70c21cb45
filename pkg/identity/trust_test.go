package identity_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestTrustHoldsEverybodyButNodes(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	keys := make(map[subjects.Role]string)
	for _, role := range subjects.Roles() {
		u, err := a.User("u-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		keys[role] = u.Key
	}
	put(t, filepath.Join(dir, "tenants", "main", "users", "broken.creds"), "rubbish")

	path := filepath.Join(t.TempDir(), "trust.json")
	if err := identity.WriteTrust(path, a.Trust()); err != nil {
		t.Fatal(err)
	}
	trust, err := identity.LoadTrust(path)
	if err != nil || !reflect.DeepEqual(trust, a.Trust()) {
		t.Fatalf("read %+v, %v\nwrote %+v", trust, err, a.Trust())
	}
	if _, ok := trust.Find(keys[subjects.Node]); ok {
		t.Error("a node is trusted to command")
	}
	for role, may := range map[subjects.Role]bool{subjects.Admin: true, subjects.Station: true, subjects.Operator: false, subjects.Viewer: false} {
		k, ok := trust.Find(keys[role])
		if !ok || k.Role != role || k.Name != "u-"+string(role) || k.May("shellcommand") != may {
			t.Errorf("%s: %+v, %v", role, k, ok)
		}
	}
	if k, _ := trust.Find(keys[subjects.Operator]); !k.May("reload") {
		t.Error("the operator may not send reload")
	}
}

func TestATrustFileIsReadStrictly(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	u, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	entry := `{"key":"` + u.Key + `","name":"alice","role":"admin","methods":["*"]}`
	for content, want := range map[string]string{
		`{"keys":[` + entry + `,` + entry + `]}`:                            "stands twice",
		`{"keys":[{"key":"x","name":"a","role":"admin"}]}`:                  "not a user's public key",
		`{"keys":[` + strings.Replace(entry, `"admin"`, `"node"`, 1) + `]}`: "may not command nodes",
		`{"keys":[],"more":1}`:                                              `unknown field "more"`,
		``:                                                                  "EOF",
	} {
		path := filepath.Join(t.TempDir(), "trust.json")
		put(t, path, content)
		_, err := identity.LoadTrust(path)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want %q", content, err, want)
		}
	}
}
