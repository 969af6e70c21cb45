package nginx_test

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// of "secret" and of "other"
const secretHash, otherHash = "$apr1$hUTTN4Uj$qv4kxev/.QAWFwCwhuFo3.", "$apr1$hUTTN4Uj$f4TBbfNXOcgRwkUPHtL3w."

// sealedUsers is a list of users as a node's desired state holds it, with hashes
// by name; what is sealed are those of a second list.
func sealedUsers(names []string, hashes, sealed map[string]string) *fleet.BasicAuth {
	b := &fleet.BasicAuth{SealedTo: "X"}
	var secrets []string
	for _, name := range names {
		print, secret := fleet.PrintHash(hashes[name])
		if other := sealed[name]; other != hashes[name] {
			_, secret = fleet.PrintHash(other)
		}
		b.Users = append(b.Users, fleet.User{Name: name, Fingerprint: print})
		secrets = append(secrets, string(secret))
	}
	b.SealedUsers = sealForTest([]byte(strings.Join(secrets, "\n")))
	return b
}

// asks is the header of a request by a user.
func asks(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func TestPasswordsLieInOneFileThatWorkersAloneRead(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	hashes := map[string]string{"alice": secretHash, "bob": otherHash}
	h := n.host(port, say("/", "in"))
	h.BasicAuth = sealedUsers([]string{"alice", "bob"}, hashes, hashes)
	b, err := nginx.Render(n.address, []fleet.Resource{resource("h", h)})
	if err != nil {
		t.Fatal(err)
	}
	n.mustApply(1, resource("h", h))
	for _, f := range b.Files {
		if strings.Contains(string(f.Content), "$apr1$") {
			t.Errorf("the bundle holds a hash in %s", f.Path)
		}
	}
	for auth, want := range map[string]int{asks("alice", "secret"): 200, asks("alice", "other"): 401, asks("bob", "other"): 200, "X: none": 401} {
		if got := n.send("GET", port, "/", auth).status; got != want {
			t.Errorf("%s: %d, want %d", auth, got, want)
		}
	}
	n.looked() // what workers share is no drift
	found, err := filepath.Glob(n.version() + "/auth/*")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	closed := func(when string) {
		t.Helper()
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", when, info, err)
		}
	}
	closed("written")
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the password is taken again", func() bool { return n.send("GET", port, "/", asks("alice", "secret")).status == 200 })
	closed("healed")
	err = filepath.WalkDir(filepath.Dir(n.cfg.State), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), secretHash) && filepath.Base(filepath.Dir(path)) != "auth" {
			t.Errorf("%s holds the hash", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPasswordsThatCannotBeOpenedOrAreOthersAreRefusedAndNothingChanges(t *testing.T) {
	n := newNode(t)
	before := n.status().Running
	names, hashes := []string{"alice", "bob"}, map[string]string{"alice": secretHash, "bob": otherHash}
	unreadable := sealedUsers(names, hashes, hashes)
	unreadable.SealedUsers = "X.no"
	fewer := sealedUsers(names, hashes, hashes)
	fewer.Users = fewer.Users[:1]
	turned := sealedUsers(names, hashes, hashes)
	turned.Users[0], turned.Users[1] = turned.Users[1], turned.Users[0]
	for part, auth := range map[string]*fleet.BasicAuth{
		"cannot open it":              unreadable,
		"of 2 users, and there are 1": fewer,
		"sealed for bob is not the hash that its fingerprint is of":   turned,
		"sealed for alice is not the hash that its fingerprint is of": sealedUsers(names, hashes, map[string]string{"alice": otherHash, "bob": otherHash}),
	} {
		h := n.host(n.freePort(), say("/", "in"))
		h.BasicAuth = auth
		b, err := nginx.Render(n.address, []fleet.Resource{resource("h", h)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Apply(t.Context(), 1, b)
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "VirtualHost/h: basicAuth.sealedUsers") || strings.Contains(err.Error(), "$apr1$") {
			t.Errorf("%v, want something with %q", err, part)
		}
	}
	if s := n.status(); s.Running != before || s.Disk != before {
		t.Errorf("nginx runs %s and has %s on disk, ran %s", s.Running, s.Disk, before)
	}
}

func TestTheDigestKnowsThePasswordButNotHowItIsSealed(t *testing.T) {
	h := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 80}}, ServerNames: []string{"_"}, Locations: []fleet.Location{say("/", "in")}}
	digest := func(b *fleet.BasicAuth) string {
		h.BasicAuth = b
		bundle, err := nginx.Render("", []fleet.Resource{resource("h", h)})
		if err != nil {
			t.Fatal(err)
		}
		return bundle.Digest
	}
	hashes := map[string]string{"alice": secretHash}
	auth := sealedUsers([]string{"alice"}, hashes, hashes)
	first := digest(auth)
	elsewhere := *auth
	elsewhere.SealedUsers, elsewhere.SealedTo = "else", "Y"
	forStations := fleet.BasicAuth{Users: []fleet.User{auth.Users[0]}, SealedTo: "Z"}
	forStations.Users[0].SealedHash = "station"
	for what, other := range map[string]*fleet.BasicAuth{"another node": &elsewhere, "the stations": &forStations} {
		if digest(other) != first {
			t.Errorf("sealed to %s it has another digest", what)
		}
	}
	if digest(sealedUsers([]string{"alice"}, hashes, hashes)) == first {
		t.Error("another password has the same digest")
	}
}

func TestAHostWithPasswordsIsLeftOutForANodeThatCannotOpenThem(t *testing.T) {
	h := &fleet.VirtualHost{BasicAuth: sealedUsers([]string{"alice"}, map[string]string{"alice": secretHash}, map[string]string{"alice": secretHash})}
	resources := []fleet.Resource{resource("h", h), site("s", 80, "x")}
	for curve, want := range map[string]int{"": 1, "X": 0} {
		why := nginx.UnfitFor(resources, &fleet.Facts{Nginx: "1.22.1", Curve: curve}, nil)
		if len(why) != want || want > 0 && !strings.Contains(why["VirtualHost/h"], "no key to seal it to") {
			t.Errorf("with curve key %q are unfit %v", curve, why)
		}
	}
}
