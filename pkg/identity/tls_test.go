package identity_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

// handshake lets a client meet a server and returns what either has against
// the other. In TLS 1.3 the client is done before its certificate was looked at.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).HandshakeContext(t.Context())
			_ = c.Close()
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		defer c.Close()
	}
	return errors.Join(err, <-served)
}

func forBrokers(t *testing.T, f identity.TLSFiles) *tls.Config {
	t.Helper()
	c, err := f.ForBrokers()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func forClients(t *testing.T, f identity.TLSFiles, verify bool) *tls.Config {
	t.Helper()
	c, err := f.ForClients(verify)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusting is a client that believes an authority.
func trusting(t *testing.T, ca string, pairs ...tls.Certificate) *tls.Config {
	t.Helper()
	data, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatal("no certificates in", ca)
	}
	return &tls.Config{RootCAs: pool, Certificates: pairs}
}

func clientPair(t *testing.T, a *identity.Authority, name string) tls.Certificate {
	t.Helper()
	cert, key, _, err := a.IssueClient(name)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestBrokersOfOneAuthorityBelieveEachOtherAndNobodyElse(t *testing.T) {
	dir := t.TempDir()
	a, other := open(t, dir, identity.Options{}), open(t, t.TempDir(), identity.Options{})
	second := t.TempDir()
	if err := a.CopyBroker(second, "b2.example.org"); err != nil {
		t.Fatal(err)
	}
	copied, err := identity.LoadServer(second)
	if err != nil {
		t.Fatal(err)
	}
	one, two, foreign := forBrokers(t, a.Server().TLS), forBrokers(t, copied.TLS), forBrokers(t, other.Server().TLS)
	if err := handshake(t, one, two); err != nil {
		t.Error("another broker:", err)
	}
	anonymous := one.Clone()
	anonymous.GetClientCertificate = nil
	gullible := foreign.Clone()
	gullible.RootCAs = one.RootCAs // takes our server, and shows its own certificate
	client := one.Clone()
	pair := clientPair(t, a, "ship1")
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	for name, c := range map[string]*tls.Config{"another operator's broker": foreign, "one without a certificate": anonymous,
		"one that trusts us": gullible, "a node with a certificate": client} {
		if err := handshake(t, c, one); err == nil {
			t.Errorf("%s was let in", name)
		}
	}
}

func TestClientsKnowTheBrokerByItsAuthorityAndName(t *testing.T) {
	a, other := open(t, t.TempDir(), identity.Options{}), open(t, t.TempDir(), identity.Options{})
	files := a.Server().TLS
	server := forClients(t, files, false)
	if err := handshake(t, trusting(t, files.CA), server); err != nil {
		t.Error(err)
	}
	if err := handshake(t, trusting(t, other.Server().TLS.CA), server); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Error("another authority:", err)
	}
	named := trusting(t, files.CA)
	named.ServerName = "b1.example.org"
	if err := handshake(t, named, server); !errors.As(err, new(x509.HostnameError)) {
		t.Error("another name:", err)
	}
	old := trusting(t, files.CA)
	old.MaxVersion = tls.VersionTLS12
	if err := handshake(t, old, server); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	// Another name is added without a restart, and the ones before stay.
	if err := a.IssueBroker(false, "b1.example.org", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, named, server); err != nil {
		t.Error("the server does not have the renewed certificate:", err)
	}
	hosts, _, err := identity.BrokerCertificate(a.BrokerDir())
	if want := []string{"localhost", "b1.example.org", "127.0.0.1", "::1", "192.0.2.1"}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("the certificate is for %v (%v), want %v", hosts, err, want)
	}
}

func TestWithVerificationABrokerTakesItsOwnClientsAlone(t *testing.T) {
	a, other := open(t, t.TempDir(), identity.Options{}), open(t, t.TempDir(), identity.Options{})
	files := a.Server().TLS
	server := forClients(t, files, true)
	if err := handshake(t, trusting(t, files.CA, clientPair(t, a, "ship1")), server); err != nil {
		t.Error(err)
	}
	if err := handshake(t, trusting(t, files.CA), server); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if err := handshake(t, trusting(t, files.CA, clientPair(t, other, "ship1")), server); err == nil {
		t.Error("a client of another authority was let in")
	}
}

func TestTheBrokersCertificateIsRenewedInTimeAndItsAuthorityStays(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	o := identity.Options{Now: func() time.Time { return now }}
	a := open(t, dir, o)
	before := tree(t, dir)
	_, until, err := identity.BrokerCertificate(a.BrokerDir())
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(until.Sub(now) / 2)
	open(t, dir, o)
	if tree(t, dir)["broker/tls.pem"] != before["broker/tls.pem"] {
		t.Error("it was renewed before its time")
	}
	now = now.Add(until.Sub(now) / 2)
	open(t, dir, o)
	after := tree(t, dir)
	_, later, err := identity.BrokerCertificate(a.BrokerDir())
	if err != nil || !later.After(until) {
		t.Errorf("good until %v, and then until %v (%v)", until, later, err)
	}
	for _, name := range []string{"ca/ca.pem", "ca/ca.key", "ca/nodes.pem", "broker/tls.key", "broker/ca.pem"} {
		if after[name] != before[name] {
			t.Errorf("%s changed", name)
		}
	}
	if err := a.IssueBroker(true); err != nil {
		t.Fatal(err)
	}
	if tree(t, dir)["broker/tls.key"] == after["broker/tls.key"] {
		t.Error("a rotation kept the key")
	}
}

func TestWithoutTheAuthoritysKeyTheDirectoryWorksUntilItHasToSign(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	for _, name := range []string{"ca/ca.key", "ca/nodes.key"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)["broker/tls.pem"]
	late := open(t, dir, identity.Options{Now: func() time.Time { return time.Now().Add(600 * 24 * time.Hour) }})
	if err := late.IssueBroker(false); err != nil || tree(t, dir)["broker/tls.pem"] != before {
		t.Errorf("a certificate that is due, and its key kept elsewhere: %v", err)
	}
	if err := a.IssueBroker(false, "b9.example.org"); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "ca.key is not here: bring it back") {
		t.Error("another name:", err)
	}
	if _, _, _, err := a.IssueClient("ship1"); fleet.KindOf(err) != fleet.Unknown {
		t.Error("a client:", err)
	}
}

func TestACertificateIsForNamesAndAddressesAlone(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	for _, host := range []string{"", "a b", "a..b", "tls://a", "10.0.0.0/8", "ä.example.org", "a:4222"} {
		if err := a.IssueBroker(false, host); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestTheAuthorityIsReplacedWhileBrokersAndClientsChangeOneByOne(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	before := trusting(t, a.CAFile())
	first, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	old := t.TempDir() // a broker that nobody has got to yet
	if err := a.CopyBroker(old); err != nil {
		t.Fatal(err)
	}
	if err := a.FinishCA(); fleet.KindOf(err) != fleet.Conflict {
		t.Error("the end of a rotation that never began:", err)
	}
	server := func(broker string) identity.TLSFiles {
		s, err := identity.LoadServer(broker)
		if err != nil {
			t.Fatal(err)
		}
		return s.TLS
	}
	stale := server(old)
	if err := a.RotateCA(); err != nil {
		t.Fatal(err)
	}
	if err := a.RotateCA(); fleet.KindOf(err) != fleet.Conflict {
		t.Error("a rotation within another:", err)
	}
	under := authorities(t, a)
	if text, err := os.ReadFile(a.CAFile()); err != nil || under.Authorities != string(text) || len(under.Dropped) > 0 {
		t.Error("the trust set does not carry what is believed:", under, err)
	}
	between := trusting(t, a.CAFile())
	now := server(a.BrokerDir())
	for name, c := range map[string]*tls.Config{"that has the old file": before, "that has both": between} {
		for which, broker := range map[string]identity.TLSFiles{"a broker by the new authority": now, "one by the old": stale} {
			if err := handshake(t, c, forClients(t, broker, false)); err != nil {
				t.Errorf("under way, a client %s and %s: %v", name, which, err)
			}
		}
	}
	if err := errors.Join(handshake(t, forBrokers(t, now), forBrokers(t, stale)), handshake(t, forBrokers(t, stale), forBrokers(t, now))); err != nil {
		t.Error("brokers, one of which nobody has got to:", err)
	}
	if err := a.FinishCA(); err != nil {
		t.Fatal(err)
	}
	now = server(a.BrokerDir())
	if err := handshake(t, between, forClients(t, now, false)); err != nil {
		t.Error("a client that has both:", err)
	}
	if err := handshake(t, before, forClients(t, now, false)); err == nil {
		t.Error("a client that has the old file alone believes the new authority")
	}
	if err := handshake(t, trusting(t, a.CAFile()), forClients(t, stale, false)); err == nil {
		t.Error("a certificate by the old authority is believed")
	}
	if handshake(t, forBrokers(t, now), forBrokers(t, stale)) == nil {
		t.Error("brokers believe one by the old authority")
	}
	set, err := message.OpenTrust(first)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(set.Authorities))
	hash := fmt.Sprintf("%x", sha256.Sum256(block.Bytes))
	if done := authorities(t, a); !slices.Equal(done.Dropped, []string{hash}) || strings.Contains(done.Authorities, set.Authorities) {
		t.Error("the trust set does not say that the old authority is dropped:", done)
	}
	open(t, dir, identity.Options{})
	if _, _, _, err := a.IssueClient("ship1"); err != nil {
		t.Error(err)
	}
}

func authorities(t *testing.T, a *identity.Authority) message.TrustSet {
	t.Helper()
	m, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	set, err := message.OpenTrust(m)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestTheAuthorityOfClientsIsReplacedByItself(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	before := clientPair(t, a, "ship1")
	if err := a.RotateClientsCA(); err != nil {
		t.Fatal(err)
	}
	after := clientPair(t, a, "ship2")
	files := a.Server().TLS
	server := forClients(t, files, true)
	for name, pair := range map[string]tls.Certificate{"old": before, "new": after} {
		if err := handshake(t, trusting(t, files.CA, pair), server); err != nil {
			t.Errorf("under way, a client with a certificate by the %s authority: %v", name, err)
		}
	}
	if err := a.FinishClientsCA(); err != nil {
		t.Fatal(err)
	}
	server = forClients(t, files, true)
	if err := handshake(t, trusting(t, files.CA, after), server); err != nil {
		t.Error("a client with a certificate by the new authority:", err)
	}
	if handshake(t, trusting(t, files.CA, before), server) == nil {
		t.Error("a client with a certificate by the old authority is let in")
	}
}

func TestARotationOfTheAuthorityThatWasCutOffGoesOn(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	key := filepath.Join(dir, "ca", "ca.key")
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RotateCA(); err != nil {
		t.Fatal(err)
	}
	// As a kill before the key has its place leaves it.
	if err := errors.Join(os.Rename(key, filepath.Join(dir, "ca", "ca.next.key")), os.WriteFile(key, old, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := a.IssueBroker(true); err != nil {
		t.Error("nothing can be signed meanwhile:", err)
	}
	if err := a.RotateCA(); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(key); err != nil || string(now) == string(old) {
		t.Error("the key is still the old one", err)
	}
	if err := a.FinishCA(); err != nil {
		t.Error(err)
	}
}
