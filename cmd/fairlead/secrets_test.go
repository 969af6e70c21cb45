package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/message/packtest"
)

// secretFiles are the files in which secrets lie in the clear because somebody
// needs them so, below the directory of a test. Each is closed to others.
var secretFiles = []string{
	// What the fleet was made with. An encrypted directory has of these the
	// broker's TLS key alone.
	"d/identity/*.seed", "d/identity/system/*.seed", "d/identity/system/system.creds", "d/identity/ca/*.key", "d/identity/broker/tls.key",
	"d/identity/tenants/main/*.seed", "d/identity/tenants/main/limited/*.seed", "d/identity/tenants/main/station.keys", "d/identity/tenants/main/users/*.creds",
	"locked/broker/tls.key",
	// A node's identity, what opens what is sealed to it, and what its nginx reads.
	"d/nodes/node1/identity/*.creds", "d/nodes/node1/state/curve.seed", "d/nodes/node1/nginx/*/*/*.key", "d/nodes/node1/nginx/*/*/*/*.key",
	"guest/identity/*.creds", "guest/journal/curve.seed",
	// A host that was refused asks again with the same keys.
	"second/identity/next.seed", "second/journal/curve.seed",
	// What a person was given, and what a person applies.
	"olga/*.creds", "handed/*.creds", "handed/*/*.creds", "handed/station.keys", "given/*.key", "given/*.yaml",
	passwordFiles,
}

// passwordFiles are what nginx's workers read while they serve, so that their
// group may.
const passwordFiles = "d/nodes/node1/nginx/*/*/auth/*"

// Known secrets go through a fleet as people use it; afterwards nothing of it
// holds one of them but the files that are there for it.
func TestNoSecretIsInTheClearWhereItDoesNotBelong(t *testing.T) {
	const (
		password   = "correct-horse-3f9c-battery"
		hash       = "$6$Zq3fUk9w$hT3Bk99UstVehjKAqb9H1wHXy7GSW3qlmRnkhDxZD3TiJWq95QbYpQSolqK2s2dXF1a8YnCfbILt19lRpjKY50" // of it, by openssl passwd -6
		other      = "second-5e1d-staple-secret"
		otherHash  = "{SHA}4YLskIq40TzlwWYBJ2zZ5c4Xi6I="
		passphrase = "a passphrase of 7c1e words"
	)
	dir, address := ownDir(t), loopbackBlock(11)
	d := startDev(t, dir, address, "--debug")
	in := func(name string) string { return filepath.Join(dir, name) }
	var said strings.Builder // all that was printed
	run := func(code int, args ...string) string {
		t.Helper()
		stdout, stderr := fairlead(t, append(d.env, "FAIRLEAD_PASSPHRASE="+passphrase), code, args...)
		said.WriteString(stdout + stderr)
		return stdout
	}

	// A site over TLS behind a password, changed once; and a password where its
	// hash belongs.
	if err := os.Mkdir(in("given"), 0o700); err != nil {
		t.Fatal(err)
	}
	authority := certtest.New(t)
	first, second := authority.Issue("shop.example.org"), authority.Issue("shop.example.org", "www.shop.example.org")
	manifest := in("given/shop.yaml")
	shop := func(hash string) {
		t.Helper()
		write(t, manifest, fmt.Sprintf(`apiVersion: fairlead/v1
kind: Certificate
metadata: {name: shop}
spec: {certificateFile: shop.crt, keyFile: shop.key}
---
apiVersion: fairlead/v1
kind: VirtualHost
metadata: {name: shop}
spec:
  selector: role=edge
  listen: [{port: 8080}, {port: 8443, tls: true}]
  serverNames: [shop.example.org]
  tls: {certificate: shop}
  basicAuth: {users: [{name: ann, hash: %q}]}
  locations: [{path: /, return: {code: 200, text: inside}}]
`, hash))
	}
	first.Write(t, in("given"), "shop.crt", "shop.key")
	shop(hash)
	run(0, "apply", "-f", manifest, "--wait")
	for password, want := range map[string]int{password: http.StatusOK, "wrong": http.StatusUnauthorized} {
		if got := asks(t, address, password); got != want {
			t.Errorf("with password %q the site answers %d, want %d", password, got, want)
		}
	}
	second.Write(t, in("given"), "shop.crt", "shop.key")
	run(0, "diff", "-f", manifest)
	run(0, "diff", "-f", manifest, "-o", "json")
	run(0, "apply", "-f", manifest, "--wait")
	shop(otherHash)
	run(0, "diff", "-f", manifest, "-o", "json")
	if diff := run(0, "diff", "-f", manifest); !strings.Contains(diff, "\npassword of ann changed\n") {
		t.Errorf("the difference is\n%s", diff)
	}
	run(0, "apply", "-f", manifest, "--wait")
	for password, want := range map[string]int{password: http.StatusUnauthorized, other: http.StatusOK} {
		if got := asks(t, address, password); got != want {
			t.Errorf("with password %q the site answers %d, want %d", password, got, want)
		}
	}
	shop(hash)
	run(0, "apply", "-f", manifest, "--wait")
	stored := run(0, "get", "VirtualHost", "shop", "-o", "yaml")
	write(t, in("given/stored.yaml"), stored)
	if again := run(0, "apply", "-f", in("given/stored.yaml")); again != "VirtualHost/shop unchanged\n" {
		t.Errorf("what is shown, applied again, is: %s", again)
	}
	shop(password)
	run(2, "apply", "-f", manifest)
	run(2, "diff", "-f", manifest)
	shop(hash)

	// People, nodes, and all that is told of them.
	run(0, "user", "create", "olga", "--role", "operator", "--nodes", "node1", "--methods", "reload", "--out", in("olga"))
	run(0, "user", "create", "vera", "--role", "viewer")
	run(0, "user", "show", "olga", "-o", "json")
	run(0, "user", "revoke", "vera", "--yes")
	line, _ := fairlead(t, d.env, 0, "token", "create") // is told to one person, once
	token := strings.TrimPrefix(strings.TrimSpace(line), "fairlead join ")
	run(0, "token", "ls", "-o", "json")
	run(0, "join", token, "--name", "guest", "--state", in("guest"))
	run(2, "join", token, "--name", "second", "--state", in("second"))
	run(2, "join", token[:len(token)-9], "--name", "third", "--state", in("third"))
	run(0, "init", "--dir", in("locked"), "--encrypt", "--out", in("handed"))
	run(0, "shell", "node1", "--", "id")
	run(0, "rotate", "node", "node1")
	for _, what := range [][]string{{"get"}, {"nodes"}, {"status", "node1"}, {"why", "node1"}, {"user", "ls"}, {"expiring"}, {"audit", "--replay"}, {"logs"}} {
		run(0, what...)
		run(0, append(what, "-o", "json")...)
	}
	said.WriteString(d.out.text() + d.err.text()) // the log of broker, station and agent
	if !strings.Contains(d.err.text(), "DEBUG") {
		t.Fatal("the log is not all that could be logged")
	}

	known := map[string][][]byte{"the password": {[]byte(password)}, "the other password": {[]byte(other)},
		"the hash": forms(hash), "the other hash": forms(otherHash), "the passphrase": {[]byte(passphrase)}, "the token": {[]byte(token)},
		"the first TLS key": first.KeyForms(t), "the second TLS key": second.KeyForms(t)}
	for path, text := range files(t, dir) { // also those of users and nodes, whatever file they are in
		for _, seed := range seeds.FindAll(text, -1) {
			if _, raw, err := nkeys.DecodeSeed(seed); err == nil {
				known["a seed in "+path] = append(known["a seed in "+path], raw, []byte(hex.EncodeToString(raw)), []byte(base64.StdEncoding.EncodeToString(raw)), seed)
			}
		}
	}
	if len(known) < 20 {
		t.Errorf("only %d kinds of secrets are known", len(known))
	}
	holds := func(text []byte) (all []string) {
		text = packtest.Whole(text)
		for name, forms := range known {
			if slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(text, form) }) {
				all = append(all, name)
			}
		}
		return all
	}
	if found := holds([]byte(said.String())); len(found) > 0 {
		t.Errorf("%v was printed or logged", found)
	}
	where := make(map[string]bool)
	for path, text := range files(t, dir) {
		found := holds(text)
		if len(found) == 0 {
			continue
		}
		i := slices.IndexFunc(secretFiles, func(pattern string) bool { ok, _ := filepath.Match(pattern, path); return ok })
		info, err := os.Stat(in(path))
		switch {
		case i < 0:
			t.Errorf("%s holds %v", path, found)
		case err != nil || info.Mode().Perm()&open(secretFiles[i]) != 0 && !strings.HasPrefix(path, "given/"):
			t.Errorf("%s holds %v and is open to others: %v, %v", path, found, info.Mode(), err)
		default:
			where[secretFiles[i]] = true
		}
	}
	// Else the list, or this test, would say more than is so.
	for _, pattern := range []string{passwordFiles, "d/identity/*.seed", "d/identity/tenants/main/station.keys", "d/identity/tenants/main/users/*.creds",
		"d/nodes/node1/identity/*.creds", "d/nodes/node1/state/curve.seed", "guest/identity/*.creds", "olga/*.creds", "given/*.key"} {
		if !where[pattern] {
			t.Errorf("no secret was found in %s", pattern)
		}
	}
	if !where["d/nodes/node1/nginx/*/*/*.key"] && !where["d/nodes/node1/nginx/*/*/*/*.key"] {
		t.Error("nginx has no key")
	}
	d.ends(t, syscall.SIGINT, 0)
}

// forms are those in which a hash of a password may lie somewhere.
func forms(hash string) [][]byte {
	_, text, _ := strings.Cut(strings.TrimPrefix(hash, "$"), "}")
	if text == "" {
		text = hash[strings.LastIndex(hash, "$")+1:]
	}
	all := [][]byte{[]byte(text)}
	for i := range 3 { // base64 of a text that holds it, wherever it begins there
		all = append(all, []byte(base64.RawStdEncoding.EncodeToString([]byte(text[i:i+15]))))
	}
	return all
}

// open is what others may not do with a file that holds secrets.
func open(pattern string) fs.FileMode {
	if pattern == passwordFiles {
		return 0o037
	}
	return 0o077
}

// seeds are nkeys' of every kind.
var seeds = regexp.MustCompile(`S[OAUXCN][A-Z2-7]{56}`)

// files are all below a directory, by their path in it.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // the broker's or nginx's, which go on
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// asks asks the shop with a password and returns the status.
func asks(t *testing.T, address, password string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+":8080/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop.example.org"
	request.SetBasicAuth("ann", password)
	request.Close = true // a connection from before a reload is an old worker's
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	return reply.StatusCode
}
