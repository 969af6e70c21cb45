// Package certtest makes certificates for tests: an authority of the test's
// own, and chains that are right or wrong in one way. It promises keys that
// are good for nothing else.
package certtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Authority issues certificates by an intermediate.
type Authority struct {
	t            testing.TB
	Root, Middle *x509.Certificate
	middleKey    crypto.Signer
}

// Pair is a certificate's chain without the root, and its key, in PEM.
type Pair struct {
	Chain, Key []byte
	Leaf       *x509.Certificate
}

var serial atomic.Int64

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	rootKey := NewKey(t)
	root := template("Test Root")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	a.Root = a.sign(root, root, rootKey.Public(), rootKey)
	a.middleKey = NewKey(t)
	middle := template("Test Intermediate")
	middle.IsCA, middle.BasicConstraintsValid, middle.KeyUsage = true, true, x509.KeyUsageCertSign
	a.Middle = a.sign(middle, a.Root, a.middleKey.Public(), rootKey)
	return a
}

// NewKey makes a P-256 key.
func NewKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
}

func (a *Authority) sign(c, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	done, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return done
}

// Issue makes a pair for names, valid from an hour ago for 90 days.
func (a *Authority) Issue(names ...string) Pair { return a.IssueWith(nil, NewKey(a.t), names...) }

// IssueWith is Issue with a key of the test's choice and a template that change
// may alter.
func (a *Authority) IssueWith(change func(*x509.Certificate), key crypto.Signer, names ...string) Pair {
	a.t.Helper()
	c := template("leaf")
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	if change != nil {
		change(c)
	}
	leaf := a.sign(c, a.Middle, key.Public(), a.middleKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Pair{Chain: PEM(leaf, a.Middle), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Leaf: leaf}
}

// PEM encodes certificates.
func PEM(chain ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// Pool holds the root, for clients.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Root)
	return pool
}

// Write puts a pair into two files below a directory.
func (p Pair) Write(t testing.TB, dir, certificate, key string) {
	t.Helper()
	for name, data := range map[string][]byte{certificate: p.Chain, key: p.Key} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// KeyForms are what the private key could be recognised by in something else:
// its bytes, as they are and in the usual encodings, and the lines of its PEM.
func (p Pair) KeyForms(t testing.TB) [][]byte {
	t.Helper()
	b, _ := pem.Decode(p.Key)
	private, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := private.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	all := [][]byte{scalar, []byte(hex.EncodeToString(scalar))}
	for line := range bytes.Lines(p.Key) {
		if line = bytes.TrimSpace(line); !bytes.HasPrefix(line, []byte("-----")) && len(line) >= 12 {
			all = append(all, line)
		}
	}
	for _, data := range [][]byte{b.Bytes, p.Key, scalar} {
		all = append(all, []byte(base64.StdEncoding.EncodeToString(data)), []byte(base64.RawURLEncoding.EncodeToString(data)))
	}
	return all
}
