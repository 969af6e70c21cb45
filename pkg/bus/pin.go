package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
)

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// FingerprintOf is that of the first certificate in PEM; the error is Invalid.
func FingerprintOf(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", fleet.Errorf(fleet.Invalid, "it holds no certificate")
	}
	return Fingerprint(block.Bytes), nil
}

// errSeen ends a connection that was made to see certificates.
var errSeen = errors.New("the certificates were seen")

// FetchCA asks a broker for the certificate, in PEM, that has a fingerprint: for
// a host that has no file to trust yet. The broker sends it behind its own. It
// says nothing about whether the broker's own leads to it, which a connection
// with the TLS that is returned checks once the certificate is in a file; no
// credentials are shown. The error is Refused where the broker does not send it,
// Unavailable where there is none.
func FetchCA(url, fingerprint string) (text []byte, secure TLS, err error) {
	var l look
	if err = l.at(url, fingerprint, nats.TLSHandshakeFirst()); !l.seen && greets(err) {
		secure.GreetsFirst = true
		err = l.at(url, fingerprint)
	}
	switch {
	case l.found != nil:
		return l.found, secure, nil
	case l.seen:
		err = fleet.Errorf(fleet.Refused, "it has another certificate than the token names: it is another broker, or its authority was made anew since; ask for another token")
	case err == nil:
		err = fleet.Errorf(fleet.Refused, "it does not speak TLS, and the token names its certificate")
	}
	return nil, secure, kinded(Options{URL: url}.explain(err), "look at the broker's certificate, "+url)
}

// look is a look at the certificates of a broker.
type look struct {
	seen  bool   // there were some
	found []byte // the one that was looked for, in PEM
}

func (l *look) at(url, fingerprint string, how ...nats.Option) error {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // nothing is believed but the fingerprint, and nothing said
		VerifyConnection: func(state tls.ConnectionState) error {
			l.seen = true
			for _, cert := range state.PeerCertificates {
				if Fingerprint(cert.Raw) == fingerprint {
					l.found = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
				}
			}
			return errSeen
		},
	}
	nc, err := nats.Connect(url, append(how, nats.Secure(config), nats.Timeout(connectTime), nats.NoReconnect())...)
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
