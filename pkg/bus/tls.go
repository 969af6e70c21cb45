package bus

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
)

// TLS says how a broker proves itself, and this client where the broker asks
// it to. A connection is TLS where the URL says so (tls://host:port) or a file
// is named here, and then it is nothing less.
type TLS struct {
	CA   string // file with the certificates to trust; those of the system when empty
	Cert string // file with this client's certificate, for brokers that ask for one
	Key  string // file with its key
	// GreetsFirst is for a server that speaks before TLS begins, as nats-server
	// does unless its configuration says handshake_first. Fairlead's own do not.
	GreetsFirst bool
}

func (t TLS) wanted(urls string) bool {
	return t.CA != "" || t.Cert != "" || strings.Contains(urls, "tls://")
}

// leavesHost reports whether one of several URLs is of another host, as far as
// that can be seen.
func leavesHost(urls string) bool {
	for _, text := range strings.Split(urls, ",") {
		_, address, found := strings.Cut(strings.TrimSpace(text), "://")
		if !found {
			address = text
		}
		if u, err := url.Parse("nats://" + address); err == nil && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() {
			return true
		}
	}
	return false
}

// options are nats.go's. The error is Invalid for files that hold no certificates.
func (t TLS) options(urls string) ([]nats.Option, error) {
	if !t.wanted(urls) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if t.GreetsFirst {
		config.MinVersion = tls.VersionTLS12 // somebody else's server
	}
	opts := []nats.Option{nats.Secure(config)}
	if !t.GreetsFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	if t.CA != "" {
		since, err := trustedSince(t.CA)
		if err != nil {
			return nil, err
		}
		config.Time = func() time.Time { return later(time.Now(), since) }
		opts = append(opts, nats.RootCAs(t.CA)) // reads the file at each connection
	}
	if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "this client's certificate: %w", err)
		}
		opts = append(opts, nats.ClientCert(t.Cert, t.Key))
	}
	return opts, nil
}

// trustedSince is when the newest certificate of a file of authorities begins.
// A host whose clock is behind that, such as one without a battery after a
// power cut, has it wrong; it takes that moment instead.
func trustedSince(file string) (since time.Time, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return since, fleet.Errorf(fleet.Invalid, "certificates to trust: %w", err)
	}
	found := false
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
			return since, fleet.Errorf(fleet.Invalid, "certificates to trust: %s: %w", file, err)
		}
		found, since = true, later(since, c.NotBefore)
	}
	if !found {
		return since, fleet.Errorf(fleet.Invalid, "certificates to trust: %s holds none: it has to be PEM, such as ca.pem of an identity directory", file)
	}
	return since, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// greetingTime is after which a server that has not greeted is asked whether
// it waits for TLS. One far away may just be slow, so silence proves nothing.
const greetingTime = 700 * time.Millisecond

// plainDialer connects to servers without TLS, and tells at once where one
// wants it, which else would look like a server that does not answer.
type plainDialer struct{}

func (plainDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := system.Dial(network, address)
	if err != nil {
		return nil, err
	}
	g := &greeted{Conn: conn}
	_ = conn.SetReadDeadline(time.Now().Add(greetingTime))
	n, err := conn.Read(g.first[:])
	_ = conn.SetReadDeadline(time.Time{})
	g.unread = n > 0
	if err == nil || !silent(err) {
		return g, nil // what is wrong shows when it is read
	}
	if !speaksTLS(network, address) {
		return g, nil
	}
	conn.Close()
	return nil, fleet.Errorf(fleet.Refused, "the broker at %s speaks TLS and nothing else: connect by tls://%s, and give the certificates to trust (--ca FILE, ca.pem of its identity directory)", address, address)
}

func silent(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

// speaksTLS reports whether a server answers the beginning of a handshake. Who
// it is does not matter here.
func speaksTLS(network, address string) bool {
	d := &net.Dialer{Timeout: connectTime}
	conn, err := tls.DialWithDialer(d, network, address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// greeted is a connection of which the first byte was read.
type greeted struct {
	net.Conn
	first  [1]byte
	unread bool
}

func (g *greeted) Read(p []byte) (int, error) {
	if g.unread && len(p) > 0 {
		g.unread = false
		return copy(p, g.first[:]), nil
	}
	return g.Conn.Read(p)
}
