package dev_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/dev"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Hashes of "one", "two" and "three"; the last has no salt.
const (
	hashOne   = "$apr1$3f9cBatt$bEkcXebmrjDYFfLTAb1qD."
	hashTwo   = "$6$Qw8dPz2k$HGzlX6DBFoD5wvaNfccMncOc/kAC4joMOO5XHKBeovy3LKMygaWacOS6MDFVGlshYGm3UwJBDY4YtHO7pTBr81"
	hashThree = "{SHA}uALzhDAssk+6sKRJl+ggvy6FB7s="
)

// guarded is a site behind passwords, with a user for each pair of name and hash.
func guarded(users ...string) string {
	var list []string
	for i := 0; i < len(users); i += 2 {
		list = append(list, fmt.Sprintf("{name: %s, hash: %q}", users[i], users[i+1]))
	}
	all := strings.Join(list, ", ")
	return fmt.Sprintf(`{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: guarded}, spec: {listen: [{port: 8080}], serverNames: [_],
  basicAuth: {users: [%s]}, locations: [{path: /, return: {code: 200, text: in}}, {path: /too/, basicAuth: {users: [%s]}, return: {code: 200, text: too}}]}}
`, all, all)
}

// lets asks the site as somebody.
func lets(t *testing.T, address, name, password string, want int) {
	t.Helper()
	for _, path := range []string{"/", "/too/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(address, "8080")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(name, password)
		req.Close = true // a connection from before a reload is an old worker's
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s as %s with %q: %d, want %d", path, name, password, resp.StatusCode, want)
		}
	}
}

// noHash fails where a text holds one of the hashes.
func noHash(t *testing.T, what string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{hashOne, hashTwo, hashThree} {
		if bytes.Contains(text, []byte(hash)) {
			t.Errorf("%s holds a hash", what)
		}
	}
}

func TestPasswordsAreSealedAndComparedAndSealedAnewForAnotherKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	running := r.agent(0)
	ctx := t.Context()
	address := r.nodes[0].Address

	// As an older version stored it: in the clear.
	old := set(t, guarded("ann", hashOne, "bob", hashThree)).Resources()[0]
	body, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	admin := r.creds(dev.AdminUser)
	m := message.Message{Subject: message.ResourceSubject(old.Kind, old.Metadata.Name), ID: message.NewID(), From: dev.AdminUser, Body: body}
	if err := m.Sign(admin); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Conn().Put(ctx, subjects.Fleet, bus.Change{Key: subjects.ResourceKey(old.Kind, old.Metadata.Name), Document: m, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is compiled", func() bool { return node(t, r.client, "node1").DesiredRevision == 1 })
	inSync(t, r.client, "node1")
	lets(t, address, "ann", "one", 200)

	// The next apply seals it, and tells no password as changed.
	first := set(t, guarded("ann", hashOne, "bob", hashThree))
	plan, err := r.client.Plan(ctx, first, false)
	if err != nil || plan.Changes() != 1 || len(plan.Resources[0].Passwords) > 0 || !strings.Contains(plan.Resources[0].Diff, "stored in the clear") {
		t.Fatalf("the plan is %+v, %v", plan.Resources, err)
	}
	noHash(t, "the plan for what was in the clear", plan.Resources)
	succeeds(t, r.client, first, false)
	lets(t, address, "ann", "one", 200)
	lets(t, address, "bob", "three", 200)
	lets(t, address, "bob", "one", 401)

	// What is stored already stays: applied again, and as `get` shows it.
	if plan, err := r.client.Plan(ctx, set(t, guarded("ann", hashOne, "bob", hashThree)), false); err != nil || plan.Changes() > 0 {
		t.Errorf("the same again changes %+v, %v", plan.Resources, err)
	}
	shown := func(more ...fleet.User) string {
		stored, err := r.client.Resources(ctx, "VirtualHost", "guarded")
		if err != nil {
			t.Fatal(err)
		}
		noHash(t, "what is stored", stored[0].Resource)
		own := fleet.Shown(stored[0].Resource)
		own.Spec = own.Spec.(*fleet.VirtualHost).WithBasicAuth(func(_ string, b *fleet.BasicAuth) { b.Users = append(b.Users, more...) })
		text, err := manifest.Marshal([]fleet.Resource{own})
		if err != nil || strings.Contains(string(text), "sealed") {
			t.Fatalf("shown is %s, %v", text, err)
		}
		return string(text)
	}
	again := shown()
	if plan, err := r.client.Plan(ctx, set(t, again), false); err != nil || plan.Changes() > 0 {
		t.Errorf("what is shown changes %+v, %v", plan.Resources, err)
	}
	elsewhere := strings.Replace(again, "name: guarded", "name: another", 1)
	if _, err := r.client.Plan(ctx, set(t, elsewhere), false); err == nil || !strings.Contains(err.Error(), "spec.basicAuth.users[0].fingerprint: stands for no password of ann that is stored") {
		t.Errorf("fingerprints on another host: %v", err)
	}

	// Another password is told by the user's name.
	changed := set(t, guarded("ann", hashTwo, "bob", hashThree))
	if plan, err = r.client.Plan(ctx, changed, false); err != nil || !slices.Equal(plan.Resources[0].Passwords, []string{"ann"}) || len(plan.Nodes) != 1 {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	noHash(t, "the plan", plan)
	succeeds(t, r.client, changed, false)
	lets(t, address, "ann", "one", 401)
	lets(t, address, "ann", "two", 200)
	lets(t, address, "bob", "three", 200)

	// A user is added by fingerprints beside a hash.
	succeeds(t, r.client, set(t, shown(fleet.User{Name: "cat", Hash: hashOne})), false)
	lets(t, address, "cat", "one", 200)
	lets(t, address, "ann", "two", 200)
	d := inSync(t, r.client, "node1")
	desired, err := r.client.Desired(ctx, "node1")
	if err != nil {
		t.Fatal(err)
	}
	noHash(t, "what the node is to be", desired)

	// Another key of the node: the same digest, sealed anew.
	running.stop(t)
	if err := os.Remove(filepath.Join(r.nodes[0].Dir, "state", "curve.seed")); err != nil {
		t.Fatal(err)
	}
	r.agent(0)
	eventually(t, "the passwords are sealed anew", func() bool { return node(t, r.client, "node1").DesiredRevision > d.DesiredRevision })
	if again := inSync(t, r.client, "node1"); again.DesiredDigest != d.DesiredDigest {
		t.Error("sealed anew it has another digest")
	}
	apply(t, r.client, set(t, guarded("ann", hashOne)), false)
	inSync(t, r.client, "node1")
	lets(t, address, "ann", "one", 200)
	lets(t, address, "bob", "three", 401)

	lists := 0
	err = filepath.WalkDir(r.nodes[0].Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !bytes.Contains(data, []byte(hashTwo)) {
			return err
		}
		info, err := e.Info()
		if lists++; err == nil && (filepath.Base(filepath.Dir(path)) != "auth" || info.Mode().Perm()&0o027 != 0) {
			t.Errorf("%s (%v) holds a hash", path, info.Mode())
		}
		return err
	})
	if err != nil || lists == 0 {
		t.Errorf("the hash lies in %d files: %v", lists, err)
	}
}
