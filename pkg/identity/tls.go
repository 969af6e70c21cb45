package identity

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fairlead/pkg/fleet"
)

// TLSFiles are where a broker's certificates lie, as PEM.
type TLSFiles struct {
	Cert, Key string // its own: its chain with the authority at the end, and its key
	CA        string // the authority that brokers' certificates are of
	NodesCA   string // the authority that clients' certificates are of, where they are asked for one
}

func tlsFiles(dir string) TLSFiles {
	in := func(name string) string { return filepath.Join(dir, name) }
	return TLSFiles{Cert: in("tls.pem"), Key: in("tls.key"), CA: in("ca.pem"), NodesCA: in("nodes-ca.pem")}
}

// ForClients is how a broker proves itself to those who connect: TLS 1.3 with
// its certificate, which is read again when the file has changed. Where verify
// is set it takes nobody without a certificate of NodesCA.
func (f TLSFiles) ForClients(verify bool) (*tls.Config, error) {
	pair := &reloaded{files: f}
	if _, err := pair.get(); err != nil {
		return nil, err
	}
	c := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get() }, MinVersion: tls.VersionTLS13}
	if verify {
		pool, err := poolOf(f.NodesCA)
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// ForBrokers is how the brokers of one authority prove themselves to each
// other, and keep what they say to themselves: TLS 1.3, both sides with the
// certificate of a broker, and none that anybody else signed. So it is good for
// routes, gateways and leafnodes alike.
func (f TLSFiles) ForBrokers() (*tls.Config, error) {
	pair := &reloaded{files: f}
	if _, err := pair.get(); err != nil {
		return nil, err
	}
	pool, err := poolOf(f.CA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.get() },
		RootCAs:              pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		ServerName: brokerName, MinVersion: tls.VersionTLS13,
	}, nil
}

// ForLeaf is how a leafnode proves itself to its hub, a broker of this
// authority: with a client's certificate, which lets nobody into a cluster.
func (f TLSFiles) ForLeaf(cert, key string) (*tls.Config, error) {
	pair := &reloaded{files: TLSFiles{Cert: cert, Key: key}}
	if _, err := pair.get(); err != nil {
		return nil, err
	}
	pool, err := poolOf(f.CA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.get() },
		RootCAs:              pool, ServerName: brokerName, MinVersion: tls.VersionTLS13,
	}, nil
}

func poolOf(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fleet.Errorf(fleet.Invalid, "certificates to trust: %s holds none", path)
	}
	return pool, nil
}

// reloaded is a certificate that may be renewed while it is in use. A pair that
// is half written leaves the one before in use.
type reloaded struct {
	files TLSFiles

	mu      sync.Mutex
	pair    *tls.Certificate
	changed [2]time.Time // of the files of pair
}

func (r *reloaded) get() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed [2]time.Time
	for i, path := range []string{r.files.Cert, r.files.Key} {
		if info, err := os.Stat(path); err == nil {
			changed[i] = info.ModTime()
		}
	}
	if r.pair != nil && changed == r.changed {
		return r.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(r.files.Cert, r.files.Key)
	if err == nil {
		r.pair, r.changed = &pair, changed
	}
	if r.pair == nil {
		return nil, fleet.Errorf(fleet.Invalid, "the certificate %s: %w", r.files.Cert, err)
	}
	return r.pair, nil
}

func unique(list []string) []string {
	var once []string
	seen := make(map[string]bool)
	for _, s := range list {
		if s = hostText(s); !seen[s] {
			seen[s] = true
			once = append(once, s)
		}
	}
	return once
}

// hostText is an address as certificates print it, and a name as it is.
func hostText(host string) string {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return host
}
