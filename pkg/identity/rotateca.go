package identity

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// RotateCA makes the authorities that are to take the place of those for the
// certificates of brokers and of clients, and has everybody believe both:
// ca/ca.pem and the directory broker hold them from then on. Certificates are
// signed by the old ones until FinishCA. What an earlier rotation replaced is
// believed no more. The error is Conflict where one is under way.
func (a *Authority) RotateCA() error {
	return a.withCAs(func(ca *authorityCA) error {
		private, err := ca.nextKey()
		if fleet.KindOf(err) == fleet.Unknown {
			private, err = makeTLSKey(ca.nextPath(), ca.vault.write)
		}
		if err != nil {
			return err
		}
		if ca.find(private) >= 0 {
			return fleet.Errorf(fleet.Conflict, "another %s is made already: copy ca/ca.pem to all clients and broker/ to all brokers, then `fairlead rotate broker-tls --ca --finish`", ca.pemPath)
		}
		next, err := ca.selfSigned(private, a.options.Now())
		if err != nil {
			return err
		}
		return ca.believe(ca.cert, next)
	})
}

// FinishCA has the new authorities sign, the brokers' certificate first. The
// old ones are believed still, so that brokers and clients can be changed one
// after the other. The error is Conflict where no rotation is under way.
func (a *Authority) FinishCA() error {
	err := a.withCAs(func(ca *authorityCA) error {
		private, err := ca.nextKey()
		if fleet.KindOf(err) == fleet.Unknown {
			return fleet.Errorf(fleet.Conflict, "no other %s was made: `fairlead rotate broker-tls --ca` makes it", ca.pemPath)
		}
		if err != nil {
			return err
		}
		switch at := ca.find(private); {
		case at < 0:
			return fleet.Errorf(fleet.Conflict, "%s has no certificate in %s: `fairlead rotate broker-tls --ca` makes it", ca.nextPath(), ca.pemPath)
		case at > 0: // else a kill came behind this
			chain := append([]*x509.Certificate{ca.chain[at]}, slices.Delete(slices.Clone(ca.chain), at, at+1)...)
			if err := ca.believe(chain...); err != nil {
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
	})
	if err != nil {
		return err
	}
	return a.update(nil) // which signs the broker's certificate
}

// withCAs holds the directory, does something with both authorities, and
// brings the directory broker up to date.
func (a *Authority) withCAs(do func(*authorityCA) error) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	for _, ca := range []*authorityCA{a.brokers, a.clients} {
		if err := do(ca); err != nil {
			return fmt.Errorf("rotate %s: %w", filepath.Base(ca.pemPath), err)
		}
	}
	return a.writeBroker(a.BrokerDir())
}

func (ca *authorityCA) nextPath() string { return strings.TrimSuffix(ca.keyPath, ".key") + ".next.key" }

func (ca *authorityCA) nextKey() (crypto.Signer, error) { return ca.keyAt(ca.nextPath()) }

// find is the place of a key's certificate among those that are believed, -1
// where it has none.
func (ca *authorityCA) find(private crypto.Signer) int {
	public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return -1
	}
	return slices.IndexFunc(ca.chain, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
}

// believe writes whom to believe; the first signs.
func (ca *authorityCA) believe(chain ...*x509.Certificate) error {
	ca.chain, ca.cert = chain, chain[0]
	return writeFile(ca.pemPath, encodeCertificates(chain...))
}
