package bus_test

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet/certtest"
	"fairlead/subjects"
)

// withCertificate is a broker that shows a chain and, behind it, other
// certificates, as anybody may.
func withCertificate(t *testing.T, pair certtest.Pair, behind ...*x509.Certificate) *site {
	t.Helper()
	pair.Chain = append(bytes.Clone(pair.Chain), certtest.PEM(behind...)...)
	dir := t.TempDir()
	pair.Write(t, dir, "tls.pem", "tls.key")
	return bareWith(t, func(c *broker.Config) {
		c.CertFile, c.KeyFile = filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	})
}

func TestAPinNamesTheOneCertificateThatIsBelieved(t *testing.T) {
	own, stranger := certtest.New(t), certtest.New(t)
	pin := bus.Fingerprint(own.Root.Raw) + "," + bus.Fingerprint(certtest.New(t).Root.Raw) // of two, while one takes the other's place
	for name, try := range map[string]struct {
		site *site
		may  bool
	}{
		"the broker":                       {withCertificate(t, own.Issue("127.0.0.1"), own.Root), true},
		"another authority":                {withCertificate(t, stranger.Issue("127.0.0.1"), stranger.Root), false},
		"another that shows the right one": {withCertificate(t, stranger.Issue("127.0.0.1"), own.Root), false},
		"a certificate for another name":   {withCertificate(t, own.Issue("elsewhere.example.org"), own.Root), false},
		"one that does not show it":        {withCertificate(t, own.Issue("127.0.0.1")), false},
	} {
		text, secure, err := bus.FetchCA(try.site.url, pin)
		if err == nil {
			if !bytes.Equal(text, certtest.PEM(own.Root)) {
				t.Errorf("%s: fetched %s", name, text)
			}
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			secure.CA = file
			var c *bus.Conn
			if c, err = bus.Connect(t.Context(), bus.Options{URL: try.site.url, TLS: secure, Credentials: try.site.credentials("alice", subjects.Admin)}); err == nil {
				c.Close()
			}
		}
		if (err == nil) != try.may {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := bareWith(t, func(c *broker.Config) { c.Plain = true })
	if _, _, err := bus.FetchCA(plain.url, pin); err == nil {
		t.Error("a broker without TLS has the certificate")
	}
}

func TestALookAtACertificateIsNothingToComplainAbout(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := bareWith(t, func(c *broker.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	ca, err := os.ReadFile(s.authority.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pin, err := bus.Fingerprints(ca)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := bus.FetchCA(s.url, pin); err != nil {
			t.Fatal(err)
		}
	}
	s.stop() // it has said what it has to say, if only that it ended in the midst of a handshake
	said, err := os.ReadFile(log.Name())
	if err != nil || !bytes.Contains(said, []byte("broker is ready")) || bytes.Contains(said, []byte("bad certificate")) {
		t.Errorf("%s, %v", said, err)
	}
}

func TestFingerprintsAreThoseOfAllCertificates(t *testing.T) {
	a := certtest.New(t)
	got, err := bus.Fingerprints(certtest.PEM(a.Root, a.Middle))
	if err != nil || got != bus.Fingerprint(a.Root.Raw)+","+bus.Fingerprint(a.Middle.Raw) {
		t.Error(got, err)
	}
	if _, err := bus.Fingerprints([]byte("no certificate")); err == nil {
		t.Error("a text has a fingerprint")
	}
}
