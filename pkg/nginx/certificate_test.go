package nginx_test

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/manifest"
	"fairlead/pkg/nginx"
)

// How keys are really sealed is package message's business; here a sealed key
// is one in base64, and openForTest opens it.
func sealForTest(key []byte) string { return base64.RawURLEncoding.EncodeToString(key) }

func openForTest(sealed string) ([]byte, error) {
	key, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, fleet.Errorf(fleet.Refused, "it was sealed to another key")
	}
	return key, nil
}

// certificate is a pair as the node's desired state holds it.
func certificate(name string, p certtest.Pair) fleet.Resource {
	return resource(name, &fleet.Certificate{Certificate: string(p.Chain), Fingerprint: fleet.Fingerprint(p.Leaf),
		SealedKey: sealForTest(p.Key), SealedTo: "X"})
}

// withFiles makes the files that an example's certificates name, beside a
// copy of it, and reads them.
func withFiles(t *testing.T, file string, set manifest.Set) manifest.Set {
	t.Helper()
	dir := t.TempDir()
	found := false
	for _, r := range set.Resources() {
		if c, ok := r.Spec.(*fleet.Certificate); ok {
			certtest.New(t).Issue("www.example.org", "example.org").Write(t, dir, c.CertificateFile, c.KeyFile)
			found = true
		}
	}
	if !found {
		return set
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if set, err = manifest.Load(copied); err == nil {
		set, err = set.ReadFiles()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Resources() {
		if c, ok := r.Spec.(*fleet.Certificate); ok {
			c.SealedKey, c.SealedTo = sealForTest(set.Key(r.ID())), "X"
		}
	}
	return set
}

// userOf is a host that needs a certificate as a policy would: only to have it
// rendered.
type userOf struct {
	fleet.VirtualHost
	certificate string
}

func (u *userOf) Needs() []fleet.Need {
	return []fleet.Need{{Kind: "Certificate", Name: u.certificate, Path: "spec.tls.certificate"}}
}

func TestTheDigestKnowsTheKeyButNotHowItIsSealed(t *testing.T) {
	a := certtest.New(t)
	p := a.Issue("a.example.org")
	user := resource("u", &userOf{certificate: "a"})
	user.Kind = "VirtualHost"
	digest := func(change func(*fleet.Certificate)) string {
		c := certificate("a", p)
		change(c.Spec.(*fleet.Certificate))
		b, err := nginx.RenderUnvalidated("", []fleet.Resource{c, user})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(b.Digest)
		if err != nil || strings.Contains(string(text), sealForTest(p.Key)) {
			t.Fatal("the bundle's name holds a key", err)
		}
		return b.Digest
	}
	first := digest(func(*fleet.Certificate) {})
	if digest(func(c *fleet.Certificate) { c.SealedKey, c.SealedTo = "else", "Y" }) != first {
		t.Error("sealed to another node it has another digest")
	}
	renewed := a.IssueWith(nil, certtest.NewKey(t), "a.example.org")
	if digest(func(c *fleet.Certificate) {
		c.Certificate, c.Fingerprint = string(renewed.Chain), fleet.Fingerprint(renewed.Leaf)
	}) == first {
		t.Error("another certificate has the same digest")
	}
}

// leaksNowhere fails where a private key lies below a directory in a file that
// is not a closed .key file.
func leaksNowhere(t *testing.T, dir string, key []byte) {
	t.Helper()
	body := strings.Split(string(key), "\n")[1]
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), body) {
			return err
		}
		info, err := e.Info()
		if err == nil && (!strings.HasSuffix(path, ".key") || info.Mode().Perm() != 0o600) {
			t.Errorf("%s (%v) holds the private key", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKeyLiesInOneClosedFileOfItsVersion(t *testing.T) {
	n := newNode(t)
	p := certtest.New(t).Issue("a.example.org")
	user := resource("u", &userOf{certificate: "a"})
	apply := func(revision uint64, c fleet.Resource) error {
		b, err := nginx.RenderUnvalidated(n.address, []fleet.Resource{c, user, site("s", n.freePort(), "x")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Apply(t.Context(), revision, b)
		return err
	}
	if err := apply(1, certificate("a", p)); err != nil {
		t.Fatal(err)
	}
	keys, _ := filepath.Glob(filepath.Join(n.cfg.State, "versions", "1-*", "ssl", "a.key"))
	if len(keys) != 1 {
		t.Fatalf("keys at %v", keys)
	}
	if data, err := os.ReadFile(keys[0]); err != nil || string(data) != string(p.Key) {
		t.Error("the key's file is not the key", err)
	}
	for path := filepath.Dir(keys[0]); path != filepath.Join(n.cfg.State, "versions"); path = filepath.Dir(path) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	leaksNowhere(t, filepath.Dir(n.cfg.State), p.Key)
	if s := n.status(); len(s.Certificates) != 1 || s.Certificates[0].Name != "a" || !s.Certificates[0].NotAfter.Equal(p.Leaf.NotAfter) {
		t.Errorf("status tells of %+v", s.Certificates)
	}
}

func TestAKeyThatCannotBeOpenedOrIsAnothersIsRefusedAndNothingChanges(t *testing.T) {
	n := newNode(t)
	a := certtest.New(t)
	p := a.Issue("a.example.org")
	user := resource("u", &userOf{certificate: "a"})
	before := n.status().Running
	for sealed, part := range map[string]string{"X.no": "cannot open it", sealForTest(a.Issue("a.example.org").Key): "not the key of the certificate",
		sealForTest([]byte("rubbish")): "is no private key"} {
		c := certificate("a", p)
		c.Spec.(*fleet.Certificate).SealedKey = sealed
		b, err := nginx.RenderUnvalidated(n.address, []fleet.Resource{c, user})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Apply(t.Context(), 1, b)
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "Certificate/a: spec.sealedKey") {
			t.Errorf("%v, want something with %q", err, part)
		}
	}
	if s := n.status(); s.Running != before || s.Disk != before {
		t.Errorf("nginx runs %s and has %s on disk, ran %s", s.Running, s.Disk, before)
	}
}

func TestACertificateIsLeftOutForANodeThatCannotOpenIt(t *testing.T) {
	c := certificate("a", certtest.New(t).Issue("a.example.org"))
	resources := []fleet.Resource{c, resource("u", &userOf{certificate: "a"}), site("s", 80, "x")}
	for curve, want := range map[string]int{"": 2, "X": 0} {
		why := nginx.UnfitFor(resources, &fleet.Facts{Nginx: "1.22.1", Curve: curve}, nil)
		if len(why) != want || want > 0 && (!strings.Contains(why["Certificate/a"], "no key to seal it to") || !strings.Contains(why["VirtualHost/u"], "it needs Certificate/a")) {
			t.Errorf("with curve key %q are unfit %v", curve, why)
		}
	}
}
