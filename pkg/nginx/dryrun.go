package nginx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Checked is what a node's own nginx says of a desired state that it does not have.
type Checked struct {
	// Digest is that of the bundle that was checked.
	Digest string `json:"digest"`
	// StandIns are the certificates whose key the node does not have: in their place
	// nginx read others, made for this, with the same names.
	StandIns []string `json:"standIns,omitempty"`
	// Notes says what would be served otherwise than written: servers of upstreams that would be left out.
	Notes []string      `json:"notes,omitempty"`
	Took  time.Duration `json:"took"`
}

// DryRun holds against a desired state all that is held against one before nginx is
// told of it, nginx -t the last. Nothing of it stays, and nothing that serves is
// touched. A certificate without its sealed key is checked with a stand-in. The
// error is what Apply would end with before the commit.
func (e *Engine) DryRun(ctx context.Context, d Desired) (Checked, error) {
	b, err := Render(d.Address, d.Resources)
	if err != nil {
		return Checked{}, err
	}
	if d.Digest != "" && b.Digest != d.Digest {
		return Checked{}, fleet.Errorf(fleet.Failed, "this node's agent renders something else, digest %s, and not %s: it is of another version than who asks",
			Short(b.Digest), Short(d.Digest))
	}
	names, resolvers := d.names()
	e.care.names.look(ctx, resolvers, names, fresh)
	unlock, err := e.enter(ctx)
	if err != nil {
		return Checked{}, err
	}
	defer unlock()
	began := time.Now()
	c := Checked{Digest: b.Digest, Notes: e.notes(b)}
	checked, standIns, err := withStandIns(b)
	if err != nil {
		return c, err
	}
	c.StandIns = standIns
	if err := e.makeDirs(); err != nil { // somebody may have removed them
		return c, err
	}
	v, err := e.stage(0, checked)
	if err != nil {
		return c, err
	}
	defer e.discard(v)
	defer func(parse time.Duration) { e.parse = parse }(e.parse) // of what serves
	err = e.check(ctx, v, checked)
	c.Took = time.Since(began)
	return c, err
}

// withStandIns is a bundle with pairs of its own in the place of certificates whose
// keys are not there, and the IDs of those. Lists of users stay as they are rendered:
// nginx -t reads none.
func withStandIns(b Bundle) (_ Bundle, ids []string, err error) {
	b.Files = slices.Clone(b.Files)
	for i, f := range b.Files {
		if f.Secret == nil || f.Secret.Sealed != "" {
			continue
		}
		b.Files[i].Secret = nil
		path := strings.TrimSuffix(f.Path, ".key") + ".crt"
		at := slices.IndexFunc(b.Files, func(o File) bool { return o.Path == path })
		if at < 0 {
			continue
		}
		if b.Files[at].Content, b.Files[i].Content, err = standIn(b.Files[at].Content); err != nil {
			return b, nil, fmt.Errorf("make a stand-in for %s: %w", f.Owner, err)
		}
		ids = append(ids, f.Owner)
	}
	return b, ids, nil
}

// standIn is a certificate for the same names, signed by itself, and its key, in
// PEM. Nothing is served with it.
func standIn(of []byte) (chain, key []byte, err error) {
	real, err := fleet.ParseChain(of)
	if err != nil {
		return nil, nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"},
		NotBefore: real[0].NotBefore, NotAfter: real[0].NotAfter, DNSNames: real[0].DNSNames, IPAddresses: real[0].IPAddresses}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), nil
}
