package nginx

import (
	"fmt"

	"fairlead/pkg/fleet"
)

// sslDir holds certificates and keys in a version. nginx's master reads them
// as root; the directories above are closed to everybody else.
const sslDir = "ssl/"

// certificate renders the two files of a certificate. The key's is a stand-in:
// the same in station and agent, the same whoever the key is sealed to, another
// when the key is another.
func certificate(r fleet.Resource, c *fleet.Certificate) []File {
	path := sslDir + r.Metadata.Name
	return []File{
		{Path: path + ".crt", Mode: 0o600, Content: []byte(c.Certificate), Owner: r.ID()},
		{Path: path + ".key", Mode: 0o600, Owner: r.ID(), Secret: &Secret{c.SealedKey, "spec.sealedKey", keyOf(c)},
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

// keyOf proves that what was sealed is the private key of a certificate.
func keyOf(c *fleet.Certificate) func(opened []byte) ([]byte, error) {
	return func(key []byte) ([]byte, error) {
		chain, err := c.Chain()
		if err == nil {
			err = fleet.CheckKey(chain[0], key)
		}
		return key, err
	}
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
