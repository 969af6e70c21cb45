package fleet

import (
	"slices"
	"strings"
	"time"
)

// TLS is how a host is served over TLS.
type TLS struct {
	Certificate string   `json:"certificate"`        // name of a Certificate resource
	Versions    []string `json:"versions,omitempty"` // TLSv1.2 and TLSv1.3, which both are the default; the same for all hosts of a listener
	// Ciphers of TLSv1.2 in OpenSSL's names, the first that the client has too is taken; nginx's own when empty.
	Ciphers []string `json:"ciphers,omitempty"`
	// HSTS tells browsers to come by https only.
	HSTS *HSTS `json:"hsts,omitempty"`
	// RedirectHTTP is the status, 301 or 308, with which listeners without TLS send clients to the same host and path
	// over https; 0 lets them serve the same.
	RedirectHTTP int `json:"redirectHTTP,omitempty"`
}

// HSTS is the header Strict-Transport-Security (RFC 6797). It is sent over TLS
// alone.
type HSTS struct {
	MaxAge            string `json:"maxAge"`                      // "8760h" is a year; at most two
	IncludeSubDomains bool   `json:"includeSubDomains,omitempty"` // holds for all names below too
	Preload           bool   `json:"preload,omitempty"`           // agrees to be listed in browsers, which wants a year and subdomains
}

var cipher = NewPattern(`^[!+-]?[A-Za-z0-9][A-Za-z0-9+_-]{0,63}$`)

// checkTLS adds the faults of the host's tls, and of listeners against it.
func (v *VirtualHost) checkTLS(faults *Faults) {
	overTLS := slices.ContainsFunc(v.Listen, func(l Listen) bool { return l.TLS })
	plain := slices.ContainsFunc(v.Listen, func(l Listen) bool { return !l.TLS })
	t := v.TLS
	switch {
	case t == nil && overTLS:
		faults.Addf("spec.tls", "is missing: a listener speaks TLS, name the certificate")
		return
	case t == nil:
		return
	case !overTLS:
		faults.Addf("spec.tls", "is for listeners with tls: true, and there is none")
	}
	if err := CheckName("certificate", t.Certificate); err != nil {
		faults.Addf("spec.tls.certificate", "%s", err)
	}
	seen := once{}
	for i, version := range t.Versions {
		oneOf(faults, item("spec.tls.versions", i), version, "TLSv1.2", "TLSv1.3")
		seen.check(faults, item("spec.tls.versions", i), version)
	}
	t.checkCiphers(faults)
	t.HSTS.check(faults, "spec.tls.hsts")
	switch t.RedirectHTTP {
	case 0:
	case 301, 308:
		if !plain {
			faults.Addf("spec.tls.redirectHTTP", "is for listeners without tls, and there is none")
		}
	default:
		faults.Addf("spec.tls.redirectHTTP", "%d: use 301 or 308", t.RedirectHTTP)
	}
}

// ciphers are OpenSSL's names for what TLSv1.2 can use, alone and by kind.
// OpenSSL passes over what it does not know, and refuses a list of nothing else.
var ciphers = strings.Fields(`
	ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-ECDSA-AES128-CCM ECDHE-ECDSA-AES256-CCM
	ECDHE-ECDSA-AES128-SHA256 ECDHE-ECDSA-AES256-SHA384 ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA
	ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305
	ECDHE-RSA-AES128-SHA256 ECDHE-RSA-AES256-SHA384 ECDHE-RSA-AES128-SHA ECDHE-RSA-AES256-SHA
	DHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES256-GCM-SHA384 DHE-RSA-CHACHA20-POLY1305 DHE-RSA-AES128-CCM DHE-RSA-AES256-CCM
	DHE-RSA-AES128-SHA256 DHE-RSA-AES256-SHA256 DHE-RSA-AES128-SHA DHE-RSA-AES256-SHA
	AES128-GCM-SHA256 AES256-GCM-SHA384 AES128-CCM AES256-CCM AES128-SHA256 AES256-SHA256 AES128-SHA AES256-SHA
	HIGH ALL DEFAULT ECDHE EECDH kECDHE kEECDH ECDH DHE EDH kDHE kEDH RSA kRSA aRSA ECDSA aECDSA
	AES AES128 AES256 AESGCM AESCCM CHACHA20 SHA SHA1 SHA256 SHA384`)

func (t *TLS) checkCiphers(faults *Faults) {
	atMost(faults, "spec.tls.ciphers", len(t.Ciphers), maxItems)
	unknown := func(word string) bool { return !slices.Contains(ciphers, word) }
	adds, named := len(t.Ciphers) == 0, true
	for i, c := range t.Ciphers {
		if !cipher.MatchString(c) {
			faults.Addf(item("spec.tls.ciphers", i), "%q is not the name of a cipher: write it as in ECDHE-RSA-AES128-GCM-SHA256", clip(c))
			named = false
		}
		adds = adds || !slices.ContainsFunc(strings.Split(c, "+"), unknown) // also of kinds that have to come together
	}
	if named && !adds {
		faults.Addf("spec.tls.ciphers", "hold none of TLSv1.2 that is known: write one as in ECDHE-RSA-AES128-GCM-SHA256, or HIGH")
	}
}

const year = 365 * 24 * time.Hour

func (h *HSTS) check(faults *Faults, at string) {
	if h == nil {
		return
	}
	problem := DurationProblem(h.MaxAge, 0, 2*year)
	faults.add(at+".maxAge", problem)
	if age, _ := time.ParseDuration(h.MaxAge); h.Preload && problem == "" && (age < year || !h.IncludeSubDomains) {
		faults.Addf(at+".preload", "needs includeSubDomains and a maxAge of a year, 8760h")
	}
}
