package identity

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/nats-io/nkeys"
)

// clusterName is what a certificate of clusterTLS is for: brokers prove what
// they hold, wherever they are reached.
const clusterName = "cluster.fairlead"

func (a *Authority) openCluster() (err error) {
	if a.root.there() && !a.vault.sealed() {
		a.cluster, err = a.clusterTLS()
	}
	return err
}

// clusterTLS is how the brokers of this authority prove themselves to each
// other and keep what they say to themselves: TLS 1.3, both sides with one
// certificate, whose key follows from the operator's seed. Who does not hold
// that seed cannot join. There is nothing to issue, to copy beside the
// identity directory, or to renew: every broker makes the same certificate.
func (a *Authority) clusterTLS() (*tls.Config, error) {
	pair, err := a.root.open()
	if err != nil {
		return nil, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	if raw, err = hkdf.Key(sha256.New, raw, nil, "fairlead cluster routes", ed25519.SeedSize); err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	private := ed25519.NewKeyFromSeed(raw)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: clusterName}, DNSNames: []string{clusterName},
		// No clock is asked: what ends the certificate is another operator.
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("cluster certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cluster certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private, Leaf: certificate}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		ServerName: clusterName, MinVersion: tls.VersionTLS13,
	}, nil
}
