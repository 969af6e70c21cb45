package identity_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"

	"fairlead/pkg/identity"
)

// clusterTLS is that of an authority in a directory.
func clusterTLS(t *testing.T, dir string) *tls.Config {
	t.Helper()
	a, err := identity.Open(dir, identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a.Server().Cluster
}

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

func TestBrokersOfOneOperatorMakeTheSameClusterCertificate(t *testing.T) {
	dir := t.TempDir()
	one, two := clusterTLS(t, dir), clusterTLS(t, dir)
	if !bytes.Equal(one.Certificates[0].Certificate[0], two.Certificates[0].Certificate[0]) {
		t.Error("two certificates come from one seed")
	}
	if err := handshake(t, one, two); err != nil {
		t.Error(err)
	}
}

func TestNobodyElseJoinsTheCluster(t *testing.T) {
	own, foreign := clusterTLS(t, t.TempDir()), clusterTLS(t, t.TempDir())
	anonymous := own.Clone()
	anonymous.Certificates = nil
	gullible := foreign.Clone()
	gullible.RootCAs = own.RootCAs // takes our server, and shows its own certificate
	for name, client := range map[string]*tls.Config{"another operator's": foreign, "one without a certificate": anonymous, "one that trusts us": gullible} {
		if err := handshake(t, client, own); err == nil {
			t.Errorf("%s client was let in", name)
		}
	}
}
