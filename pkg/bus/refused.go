package bus

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
)

// explain says why a connection did not come about and what to do, where the
// error alone would be a riddle. Other errors stay as they are.
func (o Options) explain(err error) error {
	var own *fleet.Error
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var notNow x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	var far *net.OpError
	refused := func(format string, args ...any) error { return fleet.Errorf(fleet.Refused, format, args...) }
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case errors.As(err, &unknown):
		return o.unknownAuthority(unknown)
	case errors.As(err, &wrongName):
		return refused("the broker's certificate is for %s, and not for %s: connect by one of these names, or have a certificate made for that one too (`fairlead broker --host %s`)",
			strings.Join(namesOf(wrongName.Certificate), ", "), wrongName.Host, wrongName.Host)
	case errors.As(err, &notNow) && notNow.Reason == x509.Expired && notNow.Cert != nil:
		return refused("the broker's certificate is good from %s to %s, and here it is %s: renew it there, or set this host's clock",
			day(notNow.Cert.NotBefore), day(notNow.Cert.NotAfter), day(time.Now()))
	case errors.As(err, &noTLS) && strings.HasPrefix(string(noTLS.RecordHeader[:]), "INFO"):
		return refused("the server at %s greets before TLS, if it speaks TLS at all: use a context without tls_first, or a URL that begins with nats:// where no TLS is meant", o.URL)
	case errors.As(err, &noTLS):
		return refused("what listens at %s does not speak TLS: look at the address", o.URL)
	case errors.As(err, &far) && far.Op == "remote error":
		return o.ended(far.Err)
	case errors.Is(err, nats.ErrNoServers): // what nats.go makes of a connection that is refused
		return fleet.Errorf(fleet.Unavailable, "nobody listens there")
	case errors.Is(err, nats.ErrAuthExpired):
		return refused("the broker does not take the credentials of %q: %s", o.Credentials.UserName(), o.expired("they have expired"))
	case errors.Is(err, nats.ErrAuthRevoked):
		return refused("the broker does not take the credentials of %q: they were revoked", o.Credentials.UserName())
	case errors.Is(err, nats.ErrAuthorization):
		return refused("the broker does not take the credentials of %q: %s", o.Credentials.UserName(),
			o.expired("they were revoked, or made by the identity directory of another fleet"))
	}
	return err
}

func (o Options) unknownAuthority(e x509.UnknownAuthorityError) error {
	issuer := "somebody"
	if e.Cert != nil {
		issuer = fmt.Sprintf("%q", e.Cert.Issuer.CommonName)
	}
	if o.TLS.CA == "" {
		return fleet.Errorf(fleet.Refused, "the broker's certificate was signed by %s, whom this system does not know: "+
			"give the certificates to trust with --ca FILE, ca.pem of the broker's identity directory", issuer)
	}
	return fleet.Errorf(fleet.Refused, "the broker's certificate was signed by %s, and not by who stands in %s: "+
		"it is another fleet's broker, its authority was made anew, or somebody stands between", issuer, o.TLS.CA)
}

// ended is what to do where the broker ended the handshake, of which it tells
// no more than a few words.
func (o Options) ended(alert error) error {
	if o.TLS.Cert == "" {
		return fleet.Errorf(fleet.Refused, "the broker ended the handshake (%w): where it wants a certificate of its clients too, give --tls-cert and --tls-key", alert)
	}
	return fleet.Errorf(fleet.Refused, "the broker ended the handshake (%w): the certificate in %s has to be signed by the broker's nodes-ca.pem, and be good still", alert, o.TLS.Cert)
}

// expired says since when the user's JWT has been too old, by this host's
// clock, or else what is the matter instead.
func (o Options) expired(instead string) string {
	_, rest, _ := strings.Cut(o.Credentials.UserJWT(), ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil || claims.Expires == 0 {
		return instead
	}
	end := time.Unix(claims.Expires, 0)
	if time.Now().Before(end) {
		return instead
	}
	return fmt.Sprintf("they expired on %s, %s ago: ask for new ones (`fairlead user renew %s`)", day(end), fleet.Age(time.Since(end)), o.Credentials.UserName())
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// namesOf are the names and addresses that a certificate is for.
func namesOf(c *x509.Certificate) []string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, net.IP.String(ip))
	}
	if len(names) == 0 {
		return []string{"nobody"}
	}
	return names
}
