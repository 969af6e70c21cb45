package identity

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"

	"fairlead/pkg/fleet"
)

// RotateCA makes the authority that takes the place of the one for brokers'
// certificates. It signs from now on, and both are believed: the trust set
// carries them, and clients keep their ca.pem by that. Who knows the old one
// alone believes the brokers too, as they show what it said of the new one. The
// error is Conflict where a rotation is under way.
func (a *Authority) RotateCA() error { return a.withCA(rotated, (*Authority).brokersCA) }

// FinishCA drops the authority for brokers' certificates that was replaced. The
// error is Conflict where no rotation is under way.
func (a *Authority) FinishCA() error { return a.withCA(finished, (*Authority).brokersCA) }

// RotateClientsCA is RotateCA for the authority of clients' certificates, where
// brokers ask for those. Brokers believe both from their next start on.
func (a *Authority) RotateClientsCA() error { return a.withCA(rotated, (*Authority).clientsCA) }

// FinishClientsCA is FinishCA for the authority of clients' certificates.
func (a *Authority) FinishClientsCA() error { return a.withCA(finished, (*Authority).clientsCA) }

func (a *Authority) brokersCA() *authorityCA { return a.brokers }
func (a *Authority) clientsCA() *authorityCA { return a.clients }

// withCA holds the directory, does something with an authority, and has the
// rest of the directory follow.
func (a *Authority) withCA(do func(*authorityCA, *Authority) error, which func(*Authority) *authorityCA) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	ca := which(a)
	keys, _, err := a.openTrust()
	if err == nil {
		_, err = keys.now.open() // nobody could be told
	}
	if err == nil {
		err = do(ca, a)
	}
	if err != nil {
		return fmt.Errorf("rotate %s: %w", filepath.Base(ca.pemPath), err)
	}
	if err := a.updateLocked(nil); err != nil { // which signs the broker's certificate
		return err
	}
	return a.updateTrust()
}

// rotated has another key sign. What was cut off half way goes on.
func rotated(ca *authorityCA, a *Authority) error {
	next, err := ca.nextKey()
	switch {
	case fleet.KindOf(err) == fleet.Unknown && len(ca.chain) > 1:
		return fleet.Errorf(fleet.Conflict, "another one took its place already: `fairlead rotate ca --finish` drops the old one")
	case fleet.KindOf(err) == fleet.Unknown:
		next, err = makeTLSKey(ca.nextPath(), ca.vault.write)
	}
	if err != nil {
		return err
	}
	if !fits(next, ca.cert) {
		if err := ca.succeed(next, a); err != nil {
			return err
		}
	}
	data, err := ca.vault.read(ca.nextPath())
	if err != nil {
		return err
	}
	if err := ca.vault.write(ca.keyPath, data); err != nil {
		return err
	}
	return ca.vault.remove(ca.nextPath())
}

// succeed has a key's certificate believed beside the one that signs, and sign
// in its place. What the old one says of the new one is kept: brokers show it.
func (ca *authorityCA) succeed(next crypto.Signer, a *Authority) error {
	old, err := ca.key()
	if err != nil {
		return err
	}
	cert, err := ca.selfSigned(next, a.options.Now())
	if err != nil {
		return err
	}
	template := &x509.Certificate{Subject: cert.Subject, NotBefore: cert.NotBefore, NotAfter: earlier(cert.NotAfter, ca.cert.NotAfter),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: cert.KeyUsage}
	vouched, err := signCertificate(template, ca.cert, next.Public(), old)
	if err != nil {
		return fmt.Errorf("have the old authority vouch for the new one: %w", err)
	}
	if err := writeFile(ca.vouchedPath(), encodeCertificates(vouched)); err != nil {
		return err
	}
	return ca.believe(cert, ca.cert)
}

// finished drops who signed before.
func finished(ca *authorityCA, _ *Authority) error {
	if len(ca.chain) < 2 {
		return fleet.Errorf(fleet.Conflict, "nothing took its place: `fairlead rotate ca` makes another one")
	}
	if err := removeFile(ca.vouchedPath()); err != nil {
		return err
	}
	return ca.believe(ca.cert)
}

// shown is what a broker shows behind its own certificate: the authority, for
// hosts that know it by its hash alone, and while it is replaced what the one
// before said of it, and that one.
func (ca *authorityCA) shown() ([]*x509.Certificate, error) {
	data, err := readFile(ca.vouchedPath())
	if err != nil || data == nil {
		return ca.chain, err
	}
	vouched, err := parseChain(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ca.vouchedPath(), err)
	}
	return append(vouched, ca.chain...), nil
}

func (ca *authorityCA) nextPath() string { return strings.TrimSuffix(ca.keyPath, ".key") + ".next.key" }

func (ca *authorityCA) vouchedPath() string {
	return strings.TrimSuffix(ca.pemPath, ".pem") + ".vouched.pem"
}

func (ca *authorityCA) nextKey() (crypto.Signer, error) { return ca.keyAt(ca.nextPath()) }

// believe writes whom to believe; the first signs.
func (ca *authorityCA) believe(chain ...*x509.Certificate) error {
	ca.chain, ca.cert = chain, chain[0]
	return writeFile(ca.pemPath, encodeCertificates(chain...))
}
