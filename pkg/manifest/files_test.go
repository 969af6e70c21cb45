package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/manifest"
)

const certificateText = `apiVersion: fairlead/v1
kind: Certificate
metadata:
  name: shop
spec:
  certificateFile: %s
  keyFile: %s
`

// load writes a manifest into a directory and reads it from there.
func loadCertificate(t *testing.T, dir, certificate, key string) manifest.Set {
	t.Helper()
	path := filepath.Join(dir, "shop.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, certificateText, certificate, key), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := manifest.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestCertificateFilesAreReadFromBesideTheManifestAndTheKeyIsInNoResource(t *testing.T) {
	dir := t.TempDir()
	p := certtest.New(t).Issue("shop.example.org")
	p.Write(t, dir, "tls/shop.crt", "tls/shop.key")
	set, err := loadCertificate(t, dir, "tls/shop.crt", "tls/shop.key").ReadFiles()
	if err != nil {
		t.Fatal(err)
	}
	c := set.Resources()[0].Spec.(*fleet.Certificate)
	if c.Certificate != string(p.Chain) || c.Fingerprint != fleet.Fingerprint(p.Leaf) || c.CertificateFile+c.KeyFile != "" {
		t.Errorf("read as %+v", c)
	}
	if string(set.Key("Certificate/shop")) != string(p.Key) || set.Key("Certificate/other") != nil {
		t.Error("the key is not that of the file")
	}
	text, err := manifest.Marshal(set.Resources())
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Split(string(p.Key), "\n")[1]
	for _, shown := range []string{string(text), fmt.Sprintf("%v %+v %#v", set, set, set)} {
		if strings.Contains(shown, body) {
			t.Error("the key shows in", shown)
		}
	}
	if again, err := manifest.Read("again", strings.NewReader(string(text))); err != nil {
		t.Errorf("what is written cannot be read again: %v", err)
	} else if _, err := again.ReadFiles(); err != nil {
		t.Errorf("what is written cannot be read again: %v", err)
	}
}

func TestOneFileMayHoldCertificateAndKey(t *testing.T) {
	dir := t.TempDir()
	p := certtest.New(t).Issue("shop.example.org")
	if err := os.WriteFile(filepath.Join(dir, "both.pem"), append(p.Key, p.Chain...), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := loadCertificate(t, dir, "both.pem", "both.pem").ReadFiles()
	if err != nil {
		t.Fatal(err)
	}
	if c := set.Resources()[0].Spec.(*fleet.Certificate); strings.Contains(c.Certificate, "PRIVATE") || set.Key("Certificate/shop") == nil {
		t.Errorf("read as %+v", c)
	}
}

func TestAFileThatIsOfNoUseIsFaultedAtTheLineThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	a := certtest.New(t)
	p := a.Issue("shop.example.org")
	p.Write(t, dir, "shop.crt", "shop.key")
	a.Issue("other.example.org").Write(t, dir, "other.crt", "other.key")
	if err := os.WriteFile(filepath.Join(dir, "encrypted.key"), []byte(strings.ReplaceAll(string(p.Key), "PRIVATE", "ENCRYPTED PRIVATE")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ certificate, key, fault string }{
		{"none.crt", "shop.key", `:6: Certificate/shop: spec.certificateFile: "none.crt" is not there: it is looked for in `},
		{"shop.crt", "none.key", `:7: Certificate/shop: spec.keyFile: "none.key" is not there: it is looked for in `},
		{"shop.crt", "other.key", `:7: Certificate/shop: spec.keyFile: "other.key" is not the key of the certificate`},
		{"shop.crt", "encrypted.key", `:7: Certificate/shop: spec.keyFile: "encrypted.key" holds an encrypted key`},
		{"shop.crt", "shop.crt", `:7: Certificate/shop: spec.keyFile: "shop.crt" holds no private key`},
		{"shop.key", "shop.key", `:6: Certificate/shop: spec.certificateFile: "shop.key" holds no certificate`},
		{".", "shop.key", `:6: Certificate/shop: spec.certificateFile: "." is not a regular file`},
	} {
		_, err := loadCertificate(t, dir, c.certificate, c.key).ReadFiles()
		if err == nil || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s, %s: %v, want %s", c.certificate, c.key, err, c.fault)
		}
	}
}
