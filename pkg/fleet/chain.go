package fleet

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxChain is how many certificates a chain may have; real ones have two to four.
const maxChain = 10

// ParseChain reads PEM that holds certificates and nothing else. No error
// shows any of the text: it may be a private key that was put in the wrong place.
func ParseChain(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxCertificate {
		return nil, fmt.Errorf("has %d bytes: a chain has at most %d", len(text), MaxCertificate)
	}
	if bytes.Contains(text, []byte("PRIVATE KEY")) {
		return nil, errors.New("holds a private key: that goes into a file of its own, which keyFile names")
	}
	blocks, err := pemBlocks(text)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %s: only certificates belong there", clip(b.Type))
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain cannot be read: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
	}
	if len(chain) > maxChain {
		return nil, fmt.Errorf("holds %d certificates: a chain has at most %d", len(chain), maxChain)
	}
	return chain, nil
}

// pemBlocks are all blocks of a text. What stands around them is passed over,
// as openssl does; a block that is cut off or damaged is an error.
func pemBlocks(text []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	begun := bytes.Count(text, []byte("-----BEGIN "))
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) != begun {
		return nil, errors.New("is damaged PEM: a block has no end, or is not base64")
	}
	return blocks, nil
}

// ChainProblem says what is wrong with certificates as a chain: the leaf's key
// is of a kind that nginx cannot serve or that is too short, or one is not
// signed by the next. nginx itself sends whatever it is given.
func ChainProblem(chain []*x509.Certificate) string {
	if problem := publicKeyProblem(chain[0].PublicKey); problem != "" {
		return "its key " + problem
	}
	for i, c := range chain[1:] {
		before := chain[i]
		for _, other := range chain[:i+1] {
			if other.Equal(c) {
				return fmt.Sprintf("certificate %d of the chain is there twice", i+2)
			}
		}
		if err := before.CheckSignatureFrom(c); err != nil {
			return fmt.Sprintf("is not in order: certificate %d (%s) is not signed by certificate %d (%s): put the host's own first, then each one's issuer",
				i+1, clip(before.Subject.String()), i+2, clip(c.Subject.String()))
		}
	}
	return ""
}

// Bounds of RSA keys: less is broken, more costs a worker 50 ms a handshake.
const (
	leastRSA = 2048
	mostRSA  = 8192
)

func publicKeyProblem(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < leastRSA || n > mostRSA {
			return fmt.Sprintf("is RSA of %d bits: use %d to %d", n, leastRSA, mostRSA)
		}
		return ""
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return ""
		}
		return "is on a curve that clients do not know: use P-256 or P-384"
	case ed25519.PublicKey:
		return ""
	}
	return "is of a kind that cannot be served: use RSA, P-256, P-384 or Ed25519"
}

// Fingerprint names a certificate's key: SHA-256 of its SubjectPublicKeyInfo,
// 64 hex digits. A renewed certificate with the same key has the same.
func Fingerprint(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Names are the hosts that a certificate is for.
func Names(leaf *x509.Certificate) []string {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// EncodeChain writes certificates as PEM, and nothing else.
func EncodeChain(chain []*x509.Certificate) string {
	var b strings.Builder
	for _, c := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// CertificatesOf leaves everything but certificates out of a PEM file: people
// keep certificate and key in one.
func CertificatesOf(file []byte) ([]*x509.Certificate, error) {
	if problem := fileProblem(file); problem != "" {
		return nil, errors.New(problem)
	}
	blocks, err := pemBlocks(file)
	if err != nil {
		return nil, err
	}
	var only bytes.Buffer
	for _, b := range blocks {
		if b.Type == "CERTIFICATE" {
			only.Write(pem.EncodeToMemory(b))
		}
	}
	return ParseChain(only.Bytes())
}

// PrivateKeyOf finds the one private key in a PEM file and gives it back in
// one form: PKCS #8, PEM. The error tells nothing of the file's content.
func PrivateKeyOf(file []byte) ([]byte, error) {
	if problem := fileProblem(file); problem != "" {
		return nil, errors.New(problem)
	}
	blocks, err := pemBlocks(file)
	if err != nil {
		return nil, err
	}
	var found *pem.Block
	for _, b := range blocks {
		switch {
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			continue // parameters of the key, or its certificate
		case b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, errors.New("holds an encrypted key, for which nginx would need a password: decrypt it with `openssl pkey -in FILE -out PLAIN`")
		case found != nil:
			return nil, errors.New("holds more than one private key")
		}
		found = b
	}
	if found == nil {
		return nil, errors.New("holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
	}
	key, err := parseKey(found)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("holds a private key of a kind that cannot be served")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// fileProblem says why a file can hold no PEM.
func fileProblem(file []byte) string {
	switch {
	case len(file) == 0:
		return "is empty"
	case len(file) > MaxCertificate:
		return fmt.Sprintf("has more than %d bytes", MaxCertificate)
	case file[0] == 0x30: // a SEQUENCE
		return "is DER, or PKCS #12: write PEM with `openssl x509 -inform der -in FILE`, or `openssl pkcs12 -in FILE -nodes`"
	}
	return TextProblem(file)
}

func parseKey(b *pem.Block) (crypto.PrivateKey, error) {
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
	} {
		if key, err := parse(b.Bytes); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("holds a private key that cannot be read: RSA, P-256, P-384, P-521 and Ed25519 can")
}

// CheckKey reports whether a private key, as PrivateKeyOf gives it, is that of
// a certificate.
func CheckKey(leaf *x509.Certificate, key []byte) error {
	b, _ := pem.Decode(key)
	if b == nil {
		return errors.New("is no private key")
	}
	private, err := parseKey(b)
	if err != nil {
		return err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return errors.New("cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return errors.New("is not the key of the certificate: the two were made for each other once, look for the pair")
	}
	return nil
}
