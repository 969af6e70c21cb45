package nginx

import (
	"fmt"

	"fairlead/pkg/fleet"
)

// sslDir holds certificates and keys in a version. nginx's master reads them
// as root; the directories above are closed to everybody else.
const sslDir = "ssl/"

// Secret is a file's content that only this node can read. It stands beside
// the content that the digest is made from, which says what the secret is
// without telling it.
type Secret struct {
	// Sealed is opened by Config.Open when the bundle is staged.
	Sealed string
	// For is the certificate that the secret is the key of.
	For *fleet.Certificate
}

// certificate renders the two files of a certificate. The key's is a stand-in:
// the same in station and agent, the same whoever the key is sealed to, another
// when the key is another.
func certificate(r fleet.Resource, c *fleet.Certificate) []File {
	path := sslDir + r.Metadata.Name
	return []File{
		{Path: path + ".crt", Mode: 0o600, Content: []byte(c.Certificate), Owner: r.ID()},
		{Path: path + ".key", Mode: 0o600, Owner: r.ID(), Secret: &Secret{c.SealedKey, c},
			Content: fmt.Appendf(nil, "private key whose public half has SHA-256 %s\n", c.Fingerprint)},
	}
}

// checkCertificate refuses what could not be rendered; that it holds together
// fleet has checked.
func checkCertificate(c *fleet.Certificate, faults *fleet.Faults) {
	if c.CertificateFile != "" || c.Certificate == "" || c.Fingerprint == "" {
		faults.Addf("spec.certificateFile", "has not been read: apply the resource with fairlead")
		return
	}
	if _, err := c.Chain(); err != nil {
		faults.Addf("spec.certificate", "%v", err)
	}
}

// unseal puts the secrets of a bundle in the place of their stand-ins. The
// faults name the resources and tell nothing of the secrets.
func (e *Engine) unseal(b Bundle) (Bundle, error) {
	var faults fleet.Faults
	open := Bundle{Digest: b.Digest, Files: make([]File, len(b.Files))}
	for i, f := range b.Files {
		if f.Secret != nil {
			key, err := e.unsealed(*f.Secret)
			if err != nil {
				faults = append(faults, fleet.Fault{Subject: f.Owner, Path: "spec.sealedKey", Message: err.Error()})
			}
			f.bundled, f.Content = f.Content, key
		}
		open.Files[i] = f
	}
	return open, faults.Err()
}

// unsealed is a private key, proven to be that of its certificate.
func (e *Engine) unsealed(s Secret) ([]byte, error) {
	if e.cfg.Open == nil {
		return nil, fmt.Errorf("this node has no key to open it with")
	}
	key, err := e.cfg.Open(s.Sealed)
	if err != nil {
		return nil, fmt.Errorf("this node cannot open it: %w", err)
	}
	chain, err := s.For.Chain()
	if err == nil {
		err = fleet.CheckKey(chain[0], key)
	}
	if err != nil {
		return nil, fmt.Errorf("what is sealed %w", err)
	}
	return key, nil
}

// certificatePath is where a host names its certificate.
const certificatePath = "spec.tls.certificate"

// uncovered are the names of a host that its certificate is not for. nginx
// serves it all the same, and every client turns away.
func (m *model) uncovered(host *fleet.VirtualHost) fleet.Faults {
	var faults fleet.Faults
	for _, need := range host.Needs() {
		if need.Path != certificatePath {
			continue
		}
		for _, r := range m.resources {
			c, ok := r.Spec.(*fleet.Certificate)
			if !ok || r.ID() != need.ID() {
				continue
			}
			for i, name := range host.ServerNames {
				if problem := c.NameProblem(name); problem != "" {
					faults.Addf(fieldOf("spec.serverNames", i), "%s is not covered by %s, which %s: add the name to the certificate, or set allowNames there", name, r.ID(), problem)
				}
			}
		}
	}
	return faults
}
