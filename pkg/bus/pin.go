package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
)

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Fingerprints are those of all certificates in PEM, separated by commas: there
// are several while an authority takes another's place. The error is Invalid.
func Fingerprints(text []byte) (string, error) {
	var all []string
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			all = append(all, Fingerprint(block.Bytes))
		}
	}
	if len(all) == 0 {
		return "", fleet.Errorf(fleet.Invalid, "it holds no certificate")
	}
	return strings.Join(all, ","), nil
}

// errSeen ends a connection that was made to see certificates.
var errSeen = errors.New("the certificates were seen")

// FetchCA asks a broker for the certificates, in PEM, that have one of some
// fingerprints: for a host that has no file to trust yet. The broker sends them behind its own. It
// says nothing about whether the broker's own leads to it, which a connection
// with the TLS that is returned checks once they are in a file; no
// credentials are shown. The error is Refused where the broker sends none,
// Unavailable where there is none.
func FetchCA(address, fingerprints string) (text []byte, secure TLS, err error) {
	var l look
	if err = l.handshake(address, fingerprints); !l.seen && greets(err) {
		secure.GreetsFirst = true
		err = l.behindGreeting(address, fingerprints)
	}
	switch {
	case l.found != nil:
		return l.found, secure, nil
	case l.seen:
		err = fleet.Errorf(fleet.Refused, "it has another certificate than the token names: it is another broker, or its authority was made anew since; ask for another token")
	case err == nil:
		err = fleet.Errorf(fleet.Refused, "it does not speak TLS, and the token names its certificate")
	}
	return nil, secure, kinded(Options{URL: address}.explain(err), "look at the broker's certificate, "+address)
}

// look is a look at the certificates of a broker.
type look struct {
	seen  bool   // there were some
	found []byte // those that were looked for, in PEM
}

// handshake is a whole handshake and nothing behind it, so that the broker has
// nothing to complain about.
func (l *look) handshake(urls, fingerprints string) (err error) {
	for _, text := range strings.Split(urls, ",") {
		u, errURL := url.Parse(strings.TrimSpace(text))
		if errURL != nil || u.Hostname() == "" {
			err = errors.Join(err, fleet.Errorf(fleet.Invalid, "%q is not the address of a broker", text))
			continue
		}
		port := u.Port()
		if port == "" {
			port = strconv.Itoa(nats.DefaultPort)
		}
		conn, errDial := tls.DialWithDialer(&net.Dialer{Timeout: connectTime}, "tcp", net.JoinHostPort(u.Hostname(), port), l.config(fingerprints, nil))
		if errDial == nil {
			return conn.Close()
		}
		if err = errors.Join(err, errDial); l.seen || greets(errDial) {
			return errDial
		}
	}
	return err
}

func (l *look) config(fingerprints string, then error) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // nothing is believed but the fingerprint, and nothing said
		VerifyConnection: func(state tls.ConnectionState) error {
			l.seen = true
			for _, cert := range state.PeerCertificates {
				if slices.Contains(strings.Split(fingerprints, ","), Fingerprint(cert.Raw)) {
					l.found = append(l.found, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
				}
			}
			return then
		},
	}
}

// behindGreeting is a handshake with a server that speaks first.
func (l *look) behindGreeting(address, fingerprints string) error {
	nc, err := nats.Connect(address, nats.Secure(l.config(fingerprints, errSeen)), nats.Timeout(connectTime), nats.NoReconnect())
	if err == nil {
		nc.Close()
	}
	return err
}

// greets reports whether a server spoke where TLS should have begun.
func greets(err error) bool {
	var noTLS tls.RecordHeaderError
	return errors.As(err, &noTLS) && strings.HasPrefix(string(noTLS.RecordHeader[:]), "INFO")
}
