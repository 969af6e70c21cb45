package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/broker"
	"fairlead/subjects"
)

// selfSigned is a certificate for 127.0.0.1 and the pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestATLSBrokerTakesNoPlainConnection(t *testing.T) {
	certificate, pool := selfSigned(t)
	s := start(t, func(c *broker.Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	})
	creds := nats.UserCredentials(user(t, s.Authority, "alice", subjects.Admin).CredsFile)
	nc, err := nats.Connect(s.URL(), creds, nats.Secure(&tls.Config{RootCAs: pool}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if state, err := nc.TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Error(state, err)
	}
	if nc, err := nats.Connect(s.URL(), creds); err == nil {
		nc.Close()
		t.Error("a client took a certificate that it does not trust, or none")
	}
}
