package fleet

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// MaxCertificate is the most bytes of a certificate chain or of a key file: a
// chain of ten with large keys has some 20 KB.
const MaxCertificate = 64 << 10

// Certificate is a TLS certificate with its private key. It goes to the nodes
// whose virtual hosts use it, and no other can read the key: that is sealed
// when it is applied, and is stored, logged and shown nowhere in the clear.
type Certificate struct {
	// CertificateFile is the PEM file with the host's certificate, followed by those of its issuers; relative to the file
	// that this resource stands in.
	CertificateFile string `json:"certificateFile,omitempty"`
	// KeyFile is the PEM file with the private key, not encrypted; it may be the same file.
	KeyFile string `json:"keyFile,omitempty"`
	// Certificate is the chain itself, instead of certificateFile.
	Certificate string `json:"certificate,omitempty"`
	// AllowExpired takes a certificate that has expired or is not valid yet.
	AllowExpired bool `json:"allowExpired,omitempty"`
	// AllowNames lets hosts use it whose names it does not have.
	AllowNames bool `json:"allowNames,omitempty"`
	// Fingerprint is the SHA-256 of the public key, written by `fairlead apply`. Without keyFile it stands for the key that is
	// stored already.
	Fingerprint string `json:"fingerprint,omitempty"`
	// SealedKey is the private key, sealed; written by Fairlead and not shown.
	SealedKey string `json:"sealedKey,omitempty"`
	// SealedTo is the public curve key of who can open it; written by Fairlead and not shown.
	SealedTo string `json:"sealedTo,omitempty"`
}

// Kind is "Certificate".
func (*Certificate) Kind() string { return "Certificate" }

// Stored reports whether the resource is as it is stored: the chain inline,
// the key sealed.
func (c *Certificate) Stored() bool { return c.SealedKey != "" }

// Validate returns every fault of the certificate that needs neither its
// files, nor its key, nor the time; paths begin at "spec". It takes three
// forms: with files or a chain and a key file, as people write it; with chain
// and fingerprint alone, as `get -o yaml` shows it; and as it is stored.
func (c *Certificate) Validate() Faults {
	var faults Faults
	if c.Stored() {
		c.checkStored(&faults)
		return faults
	}
	if c.SealedTo != "" {
		faults.Addf("spec.sealedTo", "is written by Fairlead alone: remove it")
	}
	switch {
	case c.CertificateFile == "" && c.Certificate == "":
		faults.Addf("spec.certificateFile", "is missing: name the file with the certificate and its chain, or put them below certificate")
	case c.CertificateFile != "" && c.Certificate != "":
		faults.Addf("spec.certificate", "cannot go with certificateFile: keep one")
	case c.Certificate != "":
		faults.add("spec.certificate", c.chainProblem())
	}
	switch {
	case c.KeyFile == "" && c.Fingerprint == "":
		faults.Addf("spec.keyFile", "is missing: name the file with the private key")
	case c.KeyFile == "" && c.CertificateFile == "" && len(faults) == 0:
		faults.add("spec.fingerprint", c.fingerprintProblem())
	case c.Fingerprint != "" && !isFingerprint(c.Fingerprint):
		faults.Addf("spec.fingerprint", "%q is not 64 hex digits", clip(c.Fingerprint))
	}
	return faults
}

func (c *Certificate) checkStored(faults *Faults) {
	if c.CertificateFile != "" || c.KeyFile != "" {
		faults.Addf("spec.sealedKey", "cannot go with files: remove it, Fairlead seals the key again")
	}
	if problem := c.chainProblem(); problem != "" {
		faults.add("spec.certificate", problem)
		return
	}
	faults.add("spec.fingerprint", c.fingerprintProblem())
	// How a key is sealed, package message knows; this keeps out what is none.
	for _, field := range []struct{ name, text string }{{"sealedKey", c.SealedKey}, {"sealedTo", c.SealedTo}} {
		if len(field.text) > 2*MaxCertificate || !isToken(field.text) {
			faults.Addf("spec."+field.name, "is not what Fairlead wrote: apply the resource with its keyFile again")
		}
	}
}

func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

func isFingerprint(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 32 && text == strings.ToLower(text)
}

// fingerprintProblem compares with the chain, which is in order.
func (c *Certificate) fingerprintProblem() string {
	chain, err := c.Chain()
	if err == nil && c.Fingerprint != Fingerprint(chain[0]) {
		return "is not that of the certificate's key: apply the resource with its keyFile again"
	}
	return ""
}

// chainProblem says what is wrong with the inline chain.
func (c *Certificate) chainProblem() string {
	chain, err := c.Chain()
	if err != nil {
		return err.Error()
	}
	if problem := ChainProblem(chain); problem != "" {
		return problem
	}
	if len(chain[0].DNSNames)+len(chain[0].IPAddresses) == 0 && !c.AllowNames {
		return "names no host (subjectAltName): no client would take it; set allowNames where that is meant"
	}
	return ""
}

// Chain is the inline certificate and its chain, the leaf first. The error
// says in plain words what the text is instead, without showing any of it.
func (c *Certificate) Chain() ([]*x509.Certificate, error) { return ParseChain([]byte(c.Certificate)) }

// TimeProblem says that the leaf cannot be served at a moment, "" where it can.
func (c *Certificate) TimeProblem(now time.Time) string {
	chain, err := c.Chain()
	if err != nil || c.AllowExpired {
		return ""
	}
	const day = "2006-01-02 15:04 UTC"
	switch leaf := chain[0]; {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("expired on %s: renew it, or set allowExpired", leaf.NotAfter.UTC().Format(day))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("is valid only from %s: apply it then, or set allowExpired", leaf.NotBefore.UTC().Format(day))
	}
	return ""
}

// NameProblem says that the leaf is not for a server name, "" where it is. A
// wildcard is covered by the same wildcard alone; `_` is every name.
func (c *Certificate) NameProblem(name string) string {
	chain, err := c.Chain()
	if err != nil || c.AllowNames || name == "_" {
		return ""
	}
	leaf := chain[0]
	covered := leaf.VerifyHostname(name) == nil
	if strings.HasPrefix(name, "*.") {
		covered = false
		for _, n := range leaf.DNSNames {
			covered = covered || strings.EqualFold(n, name)
		}
	}
	if covered {
		return ""
	}
	return fmt.Sprintf("is for %s", clip(strings.Join(Names(leaf), ", ")))
}

// Shown is the certificate as people may see it: without the sealed key, which
// says nothing to them. Applied again, it stands for the key that is stored.
func (c *Certificate) Shown() Spec {
	shown := *c
	shown.SealedKey, shown.SealedTo = "", ""
	return &shown
}

// Shown is a resource as people may see it.
func Shown(r Resource) Resource {
	if spec, ok := r.Spec.(interface{ Shown() Spec }); ok {
		r.Spec = spec.Shown()
	}
	return r
}

// Describe tells of the certificate what a person compares: names, issuer,
// times, key; a line each, and what differs between two of them shows in a
// diff.
func (c *Certificate) Describe() string {
	text := DescribeChain([]byte(c.Certificate))
	if c.AllowExpired {
		text += "allowExpired: true\n"
	}
	if c.AllowNames {
		text += "allowNames: true\n"
	}
	return text
}

// DescribeChain is Describe for a chain alone; a text that is none is said to
// be none, and not shown.
func DescribeChain(text []byte) string {
	chain, err := ParseChain(text)
	if err != nil {
		return "not a certificate: it " + err.Error() + "\n"
	}
	var b strings.Builder
	leaf := chain[0]
	for _, name := range Names(leaf) {
		fmt.Fprintf(&b, "host: %s\n", clip(name))
	}
	for _, c := range chain {
		fmt.Fprintf(&b, "issuer: %s\n", clip(c.Issuer.String()))
	}
	fmt.Fprintf(&b, "serial: %x\n", leaf.SerialNumber)
	fmt.Fprintf(&b, "notBefore: %s\n", leaf.NotBefore.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "notAfter: %s\n", leaf.NotAfter.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "fingerprint: %s\n", Fingerprint(leaf))
	return b.String()
}
