package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// How long certificates hold. Brokers' and clients' are renewed at two thirds.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	brokerLife = 2 * 365 * 24 * time.Hour
	clientLife = 365 * 24 * time.Hour
)

// Names in certificates.
const (
	brokersCA = "Fairlead brokers"
	nodesCA   = "Fairlead clients"
	// brokerName is in the certificate of every broker: brokers of a cluster
	// prove to each other what they are, wherever they are reached.
	brokerName = "broker.fairlead"
)

// authorityCA signs certificates. Its key may lie elsewhere.
type authorityCA struct {
	name    string
	pemPath string // of its certificate
	keyPath string
	vault   *vault
	cert    *x509.Certificate   // that signs
	chain   []*x509.Certificate // those to believe: cert, and the one before while it is replaced
}

// openCA loads or makes an authority below <dir>/ca: file is "ca" or "nodes".
// Where its certificate is there and its key is not, the key is kept elsewhere.
func (a *Authority) openCA(file, name string) (*authorityCA, error) {
	at := filepath.Join(a.dir, "ca", file)
	ca := &authorityCA{name: name, pemPath: at + ".pem", keyPath: at + ".key", vault: a.vault}
	data, err := readFile(ca.pemPath)
	if err != nil {
		return nil, err
	}
	if data == nil && a.vault.reading {
		return ca, nil
	}
	if data == nil {
		return ca, ca.make(a.options.Now())
	}
	chain, err := parseChain(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ca.pemPath, err)
	}
	ca.chain, ca.cert = chain, chain[0]
	return ca, nil
}

// make writes the key first, so that a certificate never lacks it.
func (ca *authorityCA) make(now time.Time) error {
	private, err := ca.key()
	if fleet.KindOf(err) == fleet.Unknown {
		private, err = makeTLSKey(ca.keyPath, ca.vault.write)
	}
	if err != nil {
		return err
	}
	cert, err := ca.selfSigned(private, now)
	if err != nil {
		return err
	}
	return ca.believe(cert)
}

func (ca *authorityCA) selfSigned(private crypto.Signer, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: fmt.Sprintf("%s %s", ca.name, now.UTC().Format("2006-01-02 15:04:05"))},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(caLife),
		// One between it and what it signs: the one that takes its place, for
		// those who know this one alone.
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if ca.cert != nil { // a host whose clock is behind is to believe the next one like this one
		template.NotBefore = ca.cert.NotBefore
	}
	cert, err := signCertificate(template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", ca.name, err)
	}
	return cert, nil
}

// key reads the private key. The error is Unknown where it is kept elsewhere.
func (ca *authorityCA) key() (crypto.Signer, error) {
	private, err := ca.keyAt(ca.keyPath)
	if ca.cert == nil || err == nil && fits(private, ca.cert) {
		return private, err
	}
	// A rotation may have been cut off before the key had its place.
	if next, nerr := ca.keyAt(ca.nextPath()); nerr == nil && fits(next, ca.cert) {
		return next, nil
	}
	if err == nil {
		err = fleet.Errorf(fleet.Conflict, "%s does not belong to %s beside it: restore both from one backup", ca.keyPath, ca.pemPath)
	}
	return nil, err
}

// fits reports whether a certificate is for a key.
func fits(private crypto.Signer, cert *x509.Certificate) bool {
	public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

func (ca *authorityCA) keyAt(path string) (crypto.Signer, error) {
	data, err := ca.vault.read(path)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fleet.Errorf(fleet.Unknown, "%s is not here: bring it back for this, from where it is kept", path)
	}
	private, err := parseTLSKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return private, nil
}

// issue signs a certificate for names and addresses, of which the first is its
// subject. It begins when the authority's own does: a host whose clock is behind
// then has no reason to refuse a renewed one.
func (ca *authorityCA) issue(public crypto.PublicKey, hosts []string, life time.Duration, now time.Time, uses ...x509.ExtKeyUsage) (*x509.Certificate, error) {
	private, err := ca.key()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: ca.cert.NotBefore, NotAfter: earlier(now.Add(life), ca.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return signCertificate(template, ca.cert, public, private)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func signCertificate(template, parent *x509.Certificate, public crypto.PublicKey, private crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, private)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// makeTLSKey makes a P-256 key and writes it: every TLS library knows it.
func makeTLSKey(path string, write func(string, []byte) error) (crypto.Signer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return private, write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func parseTLSKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fleet.Errorf(fleet.Invalid, "holds no private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fleet.Errorf(fleet.Invalid, "holds a private key that signs nothing")
	}
	return private, nil
}

// parseChain reads certificates, at least one.
func parseChain(data []byte) (chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fleet.Errorf(fleet.Invalid, "holds no certificate")
	}
	return chain, nil
}

func encodeCertificates(chain ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// hostsOf are the names and addresses that a broker's certificate is for.
func hostsOf(c *x509.Certificate) []string {
	var hosts []string
	for _, name := range c.DNSNames {
		if name != brokerName {
			hosts = append(hosts, name)
		}
	}
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// CheckHosts says which of the names and addresses cannot stand in a
// certificate; the kind is Invalid.
func CheckHosts(hosts []string) error {
	var faults fleet.Faults
	for _, h := range hosts {
		bad := strings.ContainsFunc(h, func(r rune) bool { return r > 'z' || !strings.ContainsRune(hostRunes, r) })
		if net.ParseIP(h) == nil && (h == "" || bad || slices.Contains(strings.Split(h, "."), "")) {
			faults.Addf("host", "%q is neither a DNS name nor an IP address", h)
		}
	}
	return faults.Err()
}

const hostRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*"
