package broker_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestABrokerSaysNothingBeforeTheHandshake(t *testing.T) {
	s := start(t, nil)
	if !strings.HasPrefix(s.URL(), "tls://") {
		t.Error("it is at", s.URL())
	}
	nc := dial(t, s, user(t, s.Authority, "alice", subjects.Admin))
	if state, err := nc.TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Error(state, err)
	}
	plain, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "tls://"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	// The whole of what a plain client could say; a broker that takes it would answer.
	if _, err := plain.Write([]byte("CONNECT {}\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = plain.SetReadDeadline(time.Now().Add(patience))
	heard := make([]byte, 100)
	n, err := plain.Read(heard)
	if strings.Contains(string(heard[:n]), "INFO") || strings.Contains(string(heard[:n]), "PONG") {
		t.Errorf("a plain client hears %q (%v)", heard[:n], err)
	}
}

// connectAs is what a client of Fairlead's gets to know.
func connectAs(t *testing.T, url string, secure bus.TLS, u identity.User) error {
	t.Helper()
	creds, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Options{URL: url, TLS: secure, Credentials: creds})
	if err == nil {
		c.Close()
	}
	return err
}

func TestWhyAConnectionDoesNotComeAboutIsSaidAtOnce(t *testing.T) {
	s := start(t, nil)
	plain := startOf(t, s.Authority, func(c *broker.Config) { c.Plain = true })
	other := authority(t, t.TempDir(), identity.Options{})
	alice := user(t, s.Authority, "alice", subjects.Admin)
	given := certtest.New(t) // an authority that is not Fairlead's
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, certtest.PEM(given.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	shows := func(p certtest.Pair) *site {
		return startOf(t, s.Authority, func(c *broker.Config) { c.CertFile, c.KeyFile = written(t, p) })
	}
	named := shows(given.Issue("broker.example.org"))
	old := shows(given.IssueWith(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, certtest.NewKey(t), "127.0.0.1"))
	own := shows(given.Issue("127.0.0.1"))
	if err := connectAs(t, own.URL(), bus.TLS{CA: root}, alice); err != nil {
		t.Error("a certificate of one's own:", err)
	}
	bare := strings.TrimPrefix(s.URL(), "tls://")
	for name, test := range map[string]struct {
		url    string
		secure bus.TLS
		user   identity.User
		says   []string
	}{
		"plain to TLS": {"nats://" + bare, bus.TLS{}, alice, []string{"speaks TLS and nothing else", "tls://" + bare, "--ca"}},
		"no CA":        {s.URL(), bus.TLS{}, alice, []string{`signed by "Fairlead brokers`, "whom this system does not know", "--ca FILE"}},
		"wrong CA":     {s.URL(), trusts(other), alice, []string{`signed by "Fairlead brokers`, other.Server().TLS.CA, "another fleet"}},
		"TLS to plain": {strings.Replace(plain.URL(), "nats://", "tls://", 1), trusts(s.Authority), alice, []string{"greets before TLS"}},
		"another name": {named.URL(), bus.TLS{CA: root}, alice, []string{"is for broker.example.org, and not for 127.0.0.1", "--host 127.0.0.1"}},
		"expired":      {old.URL(), bus.TLS{CA: root}, alice, []string{"is good from", "and here it is", "renew it"}},
		"no broker":    {"tls://127.0.0.1:1", trusts(s.Authority), alice, []string{"nobody listens there"}},
		"no CA file":   {s.URL(), bus.TLS{CA: "/nowhere/ca.pem"}, alice, []string{"certificates to trust", "/nowhere/ca.pem"}},
		"another authority's user": {s.URL(), trusts(s.Authority), user(t, other, "bob", subjects.Admin),
			[]string{`does not take the credentials of "bob"`, "revoked, or made by the identity directory of another fleet"}},
	} {
		err := connectAs(t, test.url, test.secure, test.user)
		if err == nil {
			t.Errorf("%s: it is connected", name)
			continue
		}
		says(t, err, test.says...)
	}
}

// written puts a pair into files.
func written(t *testing.T, p certtest.Pair) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	p.Write(t, dir, "tls.pem", "tls.key")
	return filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
}

func TestWithVerificationNobodyConnectsByCredentialsAlone(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.VerifyClients = true })
	alice := user(t, s.Authority, "alice", subjects.Admin)
	secure := trusts(s.Authority)
	err := connectAs(t, s.URL(), secure, alice)
	if fleet.KindOf(err) != fleet.Refused {
		t.Fatal(err)
	}
	says(t, err, "wants a certificate of its clients too, give --tls-cert and --tls-key")

	secure.Cert, secure.Key = clientFiles(t, s.Authority)
	if err := connectAs(t, s.URL(), secure, alice); err != nil {
		t.Error("with a certificate:", err)
	}
	foreign := authority(t, t.TempDir(), identity.Options{})
	secure.Cert, secure.Key = clientFiles(t, foreign)
	err = connectAs(t, s.URL(), secure, alice)
	if err == nil {
		t.Fatal("with a certificate of another authority it is connected")
	}
	says(t, err, "the certificate in "+secure.Cert+" has to be signed by the broker's nodes-ca.pem")
}

func clientFiles(t *testing.T, a *identity.Authority) (cert, key string) {
	t.Helper()
	c, k, _, err := a.IssueClient("alice")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "alice.pem"), filepath.Join(dir, "alice.key")
	if err := errors.Join(os.WriteFile(cert, c, 0o600), os.WriteFile(key, k, 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestARenewedCertificateIsShownWithoutARestart(t *testing.T) {
	s := start(t, nil)
	nc := dial(t, s, user(t, s.Authority, "alice", subjects.Admin))
	before, err := nc.TLSConnectionState()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.IssueBroker(true, "b1.example.org"); err != nil {
		t.Fatal(err)
	}
	after, err := dial(t, s, user(t, s.Authority, "alice", subjects.Admin)).TLSConnectionState()
	if err != nil || after.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
		t.Errorf("the old certificate is shown still (%v)", err)
	}
	if err := nc.Flush(); err != nil {
		t.Error("who was connected was cut off:", err)
	}
}

// An edge node without a battery begins its life in the past at every start.
func TestAClockThatIsBehindTheAuthorityDoesNotLockAHostOut(t *testing.T) {
	later := func() time.Time { return time.Now().Add(48 * time.Hour) } // so this host's is two days behind
	s := startOf(t, authority(t, t.TempDir(), identity.Options{Now: later}), nil)
	if err := connectAs(t, s.URL(), trusts(s.Authority), user(t, s.Authority, "alice", subjects.Admin)); err != nil {
		t.Error(err)
	}
}

func TestWithoutTLSABrokerStaysOnItsHost(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.Plain = true })
	if !strings.HasPrefix(s.URL(), "nats://") {
		t.Error("it is at", s.URL())
	}
	if err := connectAs(t, s.URL(), bus.TLS{}, user(t, s.Authority, "alice", subjects.Admin)); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"0.0.0.0", "::", "192.0.2.1"} {
		_, err := broker.New(broker.Config{Server: s.Server(), StoreDir: t.TempDir(), Host: host, Plain: true})
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "reads along") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestAnAgentSaysWhyItCannotConnectAndGoesOnTrying(t *testing.T) {
	var log safeBuffer
	s := start(t, nil)
	other := authority(t, t.TempDir(), identity.Options{})
	creds, err := identity.LoadCreds(user(t, s.Authority, "ship1", subjects.Node).CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put := func(a *identity.Authority) {
		t.Helper()
		data, err := os.ReadFile(a.Server().TLS.CA)
		if err := errors.Join(err, os.WriteFile(ca, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(other)
	connected := make(chan struct{})
	c, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), TLS: bus.TLS{CA: ca}, Credentials: creds, Persist: true,
		Logger: slog.New(slog.NewTextHandler(&log, nil)), OnConnect: func() { close(connected) }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, func(context.Context) error {
		if !strings.Contains(log.String(), "cannot connect, trying again") || !strings.Contains(log.String(), "another fleet's broker") {
			return errors.New("it does not say why: " + log.String())
		}
		return nil
	})
	put(s.Authority) // the file is read at each try
	select {
	case <-connected:
	case <-time.After(patience):
		t.Fatal("it did not try again: " + log.String())
	}
	if n := strings.Count(log.String(), "cannot connect"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, log.String())
	}
}

func TestExpiredCredentialsAreToldWithTheirAgeAndWhatToDo(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-400 * 24 * time.Hour) } // a person's JWT holds a year
	s := startOf(t, authority(t, t.TempDir(), identity.Options{Now: past}), nil)
	creds, err := identity.LoadCreds(user(t, s.Authority, "alice", subjects.Admin).CredsFile)
	if fleet.KindOf(err) != fleet.Expired {
		t.Fatal(err)
	}
	says(t, err, "expired 35d ago", "`fairlead user renew alice`")
	_, err = bus.Connect(t.Context(), bus.Options{URL: s.URL(), TLS: trusts(s.Authority), Credentials: creds})
	if fleet.KindOf(err) != fleet.Refused {
		t.Fatal(err)
	}
	says(t, err, `does not take the credentials of "alice"`, "35d ago", "`fairlead user renew alice`")
}
