package nginx

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
)

// tlsVersions is always written: what nginx takes by itself differs by its
// version, and 1.22 leaves TLS 1.3 out.
func tlsVersions(t *fleet.TLS) string {
	if len(t.Versions) == 0 {
		return "TLSv1.2 TLSv1.3"
	}
	return strings.Join(slices.Sorted(slices.Values(t.Versions)), " ")
}

// tls names the certificate by its path in the version.
func (s *site) tls() {
	t, w := s.h.TLS, &s.w
	w.line(`ssl_certificate "%s/ssl/%s.crt";`, phVersion, t.Certificate)
	w.line(`ssl_certificate_key "%s/ssl/%s.key";`, phVersion, t.Certificate)
	w.line("ssl_protocols %s;", tlsVersions(t))
	if len(t.Ciphers) > 0 {
		w.line("ssl_ciphers %s;", literal(strings.Join(t.Ciphers, ":")))
		w.line("ssl_prefer_server_ciphers on;")
	}
	w.line("ssl_session_cache shared:fairlead_tls:4m;")
	w.line("ssl_session_timeout 1h;")
}

// hsts is the header of the whole host. It may not be sent without TLS.
func (s *site) hsts() map[string]string {
	if s.h.TLS == nil || s.h.TLS.HSTS == nil {
		return nil
	}
	h := s.h.TLS.HSTS
	value := fmt.Sprintf("max-age=%d", int(duration(h.MaxAge).Seconds()))
	if h.IncludeSubDomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	variable := s.variable("hsts", value)
	if s.once(variable) {
		s.http.line(`map $https $%s { default ""; on %s; }`, variable, literal(value))
	}
	return map[string]string{"Strict-Transport-Security": "$" + variable}
}

// toTLS renders the server that sends clients to the same host and path over
// TLS. $request_uri is as the client sent it, so nothing decoded gets into a header.
func (s *site) toTLS(plain []listener, tls listener) {
	s.head(plain)
	port := tls.text[strings.LastIndexByte(tls.text, ':'):]
	if port == ":443" {
		port = ""
	}
	if s.h.Limits != nil {
		headerLimits(&s.w, s.h.Limits)
	}
	s.log(s.h.Log)
	s.w.line(`return %d "https://$host%s$request_uri";`, s.h.TLS.RedirectHTTP, port)
	s.w.close()
	s.w.line("")
}

// spelling is what nginx's versions and builds write differently, in pairs.
func (c Capabilities) spelling() []string {
	http2, directive := " http2", ""
	if c.since(1, 25, 1) {
		http2, directive = "", "    http2 on;\n"
	}
	realIP := "# no realip module: "
	if c.has("--with-http_realip_module") {
		realIP = ""
	}
	return []string{phHTTP2, http2, phHTTP2D, directive, phRealIP, realIP, phReject, "    ssl_reject_handshake on;\n"}
}

// needs says which resources this nginx is too old for.
func (c Capabilities) needs(b Bundle) error {
	if c.since(1, 19, 4) {
		return nil
	}
	for _, f := range b.Files {
		if f.Owner == "" && strings.Contains(string(f.Content), phReject) {
			return fleet.Errorf(fleet.Invalid, "this node's nginx %s cannot refuse unknown names over TLS, which needs 1.19.4: "+
				"give one host of each TLS listener the server name _", c.Version)
		}
	}
	return nil
}

// since compares with the binary's version.
func (c Capabilities) since(version ...int) bool {
	for i, part := range strings.SplitN(c.Version, ".", 3) {
		n, _ := strconv.Atoi(strings.TrimRight(part, "+-abcdefghijklmnopqrstuvwxyz"))
		if d := cmp.Compare(n, version[i]); d != 0 {
			return d > 0
		}
	}
	return true
}

// authorities is the host's list of certificate authorities, where
// distributions have it; the first where there is none, so that nginx names it.
func authorities() string {
	all := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}
	for _, path := range all {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return all[0]
}
