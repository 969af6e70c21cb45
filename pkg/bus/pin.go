package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

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
// with that CA checks; no credentials are shown. The error is Refused where the
// broker does not send it, Unavailable where there is none.
func FetchCA(url, fingerprint string) (text []byte, err error) {
	seen := false
	look := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // nothing is believed but the fingerprint, and nothing said
		VerifyConnection: func(state tls.ConnectionState) error {
			seen = true
			for _, cert := range state.PeerCertificates {
				if Fingerprint(cert.Raw) == fingerprint {
					text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
				}
			}
			return errSeen
		},
	}
	nc, err := nats.Connect(url, nats.Secure(look), nats.Timeout(fetchTime), nats.NoReconnect())
	if err == nil {
		nc.Close()
	}
	switch {
	case text != nil:
		return text, nil
	case seen:
		return nil, fleet.Errorf(fleet.Refused, "the broker at %s has another certificate than the token names: it is another broker, or its authority was made anew since; ask for another token", url)
	case err == nil:
		return nil, fleet.Errorf(fleet.Refused, "the broker at %s does not speak TLS, and the token names its certificate", url)
	}
	return nil, kinded(err, "connect to "+url)
}

// fetchTime bounds the look at one broker's certificates.
const fetchTime = 5 * time.Second
