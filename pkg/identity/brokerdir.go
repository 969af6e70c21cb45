package identity

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// localHosts are in every broker's certificate.
var localHosts = []string{"localhost", "127.0.0.1", "::1"}

// openBroker makes the authorities for certificates, and keeps BrokerDir as
// the rest of the identity directory says.
func (a *Authority) openBroker() (err error) {
	if a.brokers, err = a.openCA("ca", brokersCA); err != nil {
		return err
	}
	if a.clients, err = a.openCA("nodes", nodesCA); err != nil {
		return err
	}
	if a.vault.reading {
		return nil
	}
	if err := a.issueBroker(nil, false); err != nil {
		return err
	}
	return a.writeBroker(a.BrokerDir())
}

// CAFile is the certificate by which clients know the brokers.
func (a *Authority) CAFile() string { return filepath.Join(a.dir, "ca", "ca.pem") }

// IssueBroker makes sure that the brokers' certificate is for the given names
// and addresses too, is not about to expire, and fits its key. anew makes
// another key as well. The error is Unknown where a certificate is needed and
// the key that signs it is kept elsewhere.
func (a *Authority) IssueBroker(anew bool, hosts ...string) error {
	if err := CheckHosts(hosts); err != nil {
		return err
	}
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	return a.issueBroker(hosts, anew)
}

// CopyBroker writes the directory of one broker of several: what BrokerDir
// has, and a key and a certificate of its own for its hosts.
func (a *Authority) CopyBroker(dir string, hosts ...string) error {
	if err := CheckHosts(hosts); err != nil {
		return err
	}
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.writeBroker(dir); err != nil {
		return err
	}
	return a.issueInto(tlsFiles(dir), hosts, true)
}

// Files of a leafnode's directory that other brokers do not have.
const (
	LeafCreds = "leaf.creds" // as whom it connects to its hub
	LeafCert  = "leaf.pem"   // the certificate that it shows there, of the authority for clients
	LeafKey   = "leaf.key"
)

// CreateLeaf makes a leafnode of the tenant and writes its directory, as
// CopyBroker does for a broker: with a certificate that its own clients believe
// for its hosts, and that is no broker's; another for its hub; and its creds
// file. The directory has no other tenant's account. The error is Conflict where
// there is a user of that name, or the directory is there.
func (a *Authority) CreateLeaf(name, dir string, hosts ...string) (User, error) {
	if err := CheckHosts(hosts); err != nil {
		return User{}, err
	}
	u, err := a.Create(New{Name: name, Role: subjects.Leaf, Out: filepath.Join(dir, LeafCreds)})
	if err != nil {
		return User{}, err
	}
	return u, a.renewLeaf(name, dir, hosts)
}

func (a *Authority) renewLeaf(name, dir string, hosts []string) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.writeBroker(dir); err != nil {
		return err
	}
	for key := range a.accountJWTs {
		if key == a.account.public || key == a.system.public {
			continue
		}
		if err := removeFile(filepath.Join(dir, "accounts", key+".jwt")); err != nil {
			return err
		}
	}
	files := tlsFiles(dir)
	private, err := makeTLSKey(files.Key, writeFile)
	if err != nil {
		return err
	}
	own, err := a.brokers.issue(private.Public(), unique(append(slices.Clone(hosts), localHosts...)), brokerLife, a.options.Now(), x509.ExtKeyUsageServerAuth)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	cert, key, _, err := a.IssueClient(name)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(files.Cert, encodeCertificates(own, a.brokers.cert)),
		writeFile(filepath.Join(dir, LeafCert), cert), writeFile(filepath.Join(dir, LeafKey), key))
}

func (a *Authority) issueBroker(hosts []string, anew bool) error {
	return a.issueInto(tlsFiles(a.BrokerDir()), hosts, anew)
}

// issueInto writes a certificate where the one that is there will not do. What
// it is for stays in it.
func (a *Authority) issueInto(files TLSFiles, hosts []string, anew bool) error {
	want := append(slices.Clone(localHosts), hosts...)
	have, private, err := readPair(files)
	if err != nil {
		return err
	}
	shown, err := a.brokers.shown()
	if err != nil {
		return err
	}
	now := a.options.Now()
	if have != nil {
		had := hostsOf(have)
		all := !slices.ContainsFunc(want, func(h string) bool { return !slices.Contains(had, hostText(h)) })
		ours := have.CheckSignatureFrom(a.brokers.cert) == nil
		if all && ours && !anew && private != nil && !due(have.NotBefore, have.NotAfter, now) {
			return rewrite(files.Cert, encodeCertificates(append([]*x509.Certificate{have}, shown...)...))
		}
		want = append(had, want...)
	}
	if anew || private == nil {
		if private, err = makeTLSKey(files.Key, writeFile); err != nil {
			return err
		}
	}
	cert, err := a.brokers.issue(private.Public(), unique(append([]string{brokerName}, want...)), brokerLife, now, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	if fleet.KindOf(err) == fleet.Unknown && have != nil && private != nil && len(hosts) == 0 && !anew {
		return nil // it is due, and `fairlead expiring` says so
	}
	if err != nil {
		return fmt.Errorf("certificate of the broker: %w", err)
	}
	return writeFile(files.Cert, encodeCertificates(append([]*x509.Certificate{cert}, shown...)...))
}

// rewrite writes a file where it does not hold just that.
func rewrite(path string, data []byte) error {
	have, err := readFile(path)
	if err != nil || bytes.Equal(have, data) {
		return err
	}
	return writeFile(path, data)
}

// readPair reads a certificate and its key. cert is nil where there is none,
// private where there is none that fits it.
func readPair(files TLSFiles) (cert *x509.Certificate, private crypto.Signer, err error) {
	data, err := readFile(files.Cert)
	if err != nil {
		return nil, nil, err
	}
	if data != nil {
		chain, err := parseChain(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", files.Cert, err)
		}
		cert = chain[0]
	}
	if data, err = readFile(files.Key); data == nil || err != nil {
		return cert, nil, err
	}
	if private, err = parseTLSKey(data); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", files.Key, err)
	}
	if cert != nil && !fits(private, cert) {
		return nil, private, nil // a kill came between the two: the key stays
	}
	return cert, private, nil
}

// writeBroker writes what changed of a broker's directory, but its certificate.
func (a *Authority) writeBroker(dir string) error {
	files := map[string][]byte{
		"operator.jwt": []byte(a.operatorJWT),
		"ca.pem":       encodeCertificates(a.brokers.chain...), "nodes-ca.pem": encodeCertificates(a.clients.chain...),
	}
	for key, text := range a.accountJWTs {
		files[filepath.Join("accounts", key+".jwt")] = []byte(text)
	}
	for name, data := range files {
		if err := rewrite(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return a.dropAccounts(filepath.Join(dir, "accounts"))
}

// dropAccounts removes tenants that are no more.
func (a *Authority) dropAccounts(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if key, ok := strings.CutSuffix(e.Name(), ".jwt"); ok && a.accountJWTs[key] == "" {
			if err := removeFile(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// BrokerCertificate says what a broker's certificate is for and until when.
func BrokerCertificate(dir string) (hosts []string, until time.Time, err error) {
	cert, _, err := readPair(tlsFiles(dir))
	if cert == nil || err != nil {
		return nil, until, err
	}
	return hostsOf(cert), cert.NotAfter, nil
}

// IssueClient makes a key and a certificate for somebody who connects to
// brokers that ask their clients for one, as PEM. It is needed beside the
// credentials, and replaces nothing of them.
func (a *Authority) IssueClient(name string) (cert, key []byte, until time.Time, err error) {
	if err := fleet.CheckNode(name); err != nil {
		return nil, nil, until, err
	}
	private, err := makeTLSKey("", func(_ string, data []byte) error {
		key = data
		return nil
	})
	if err != nil {
		return nil, nil, until, err
	}
	c, err := a.clients.issue(private.Public(), []string{name}, clientLife, a.options.Now(), x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, nil, until, fmt.Errorf("certificate of %s: %w", name, err)
	}
	return encodeCertificates(c), key, c.NotAfter, nil
}
