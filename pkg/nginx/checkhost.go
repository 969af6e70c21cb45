package nginx

import (
	"slices"
	"strings"
	"unicode"

	"fairlead/pkg/fleet"
)

// maxText is the most bytes of a Return's text: more belongs into a file.
const maxText = 64 << 10

func checkHost(h *fleet.VirtualHost, faults *fleet.Faults) {
	if len(h.Listen) == 0 {
		faults.Addf("spec.listen", "is empty")
	}
	if len(h.ServerNames) == 0 {
		faults.Addf("spec.serverNames", "is empty")
	}
	for i, l := range h.Listen {
		path := fieldOf("spec.listen", i)
		_, err := listenersOf("", l)
		addErr(faults, path, err)
		if l.TLS && h.TLS == nil || l.HTTP2 && !l.TLS {
			faults.Addf(path, "has tls without spec.tls, or http2 without tls")
		}
		if l.ProxyProtocol != nil {
			each(faults, path+".proxyProtocol.from", l.ProxyProtocol.From, network, "is no network")
		}
	}
	for i, name := range h.ServerNames {
		if !serverName.MatchString(name) || len(name) > 253 {
			faults.Addf(fieldOf("spec.serverNames", i), "%q is no host name", name)
		}
	}
	if h.TLS != nil {
		checkTLS(h.TLS, faults)
	}
	checkHeaders("spec.headers", h.Headers, faults)
	checkShared("spec", faults, shared{h.Rewrites, h.Access, h.BasicAuth, h.CORS, h.Gzip, h.Limits, h.ErrorPages, h.Policies, h.Log})
	for i := range h.Locations {
		checkLocation(fieldOf("spec.locations", i), &h.Locations[i], faults)
	}
}

func checkTLS(t *fleet.TLS, faults *fleet.Faults) {
	matches(faults, "spec.tls.certificate", t.Certificate, resourceName, "is no name")
	each(faults, "spec.tls.versions", t.Versions, tlsVersion, "is neither TLSv1.2 nor TLSv1.3")
	each(faults, "spec.tls.ciphers", t.Ciphers, cipherName, "is no cipher")
	if t.HSTS != nil {
		matches(faults, "spec.tls.hsts.maxAge", t.HSTS.MaxAge, durationText, "is no duration")
	}
	if c := t.RedirectHTTP; c != 0 && c != 301 && c != 308 {
		faults.Addf("spec.tls.redirectHTTP", "%d is neither 301 nor 308", c)
	}
}

func checkLocation(path string, l *fleet.Location, faults *fleet.Faults) {
	switch l.Match {
	case "", "prefix", "exact":
		if !strings.HasPrefix(l.Path, "/") {
			faults.Addf(path+".path", "%q does not begin with /", l.Path)
		}
		addErr(faults, path+".path", plain(l.Path))
	case "regex": // $, {, } and \ are part of the language; nginx expands no variables here
		checkRegex(path+".path", l.Path, faults)
	default:
		faults.Addf(path+".match", "%q is neither prefix, exact nor regex", l.Match)
	}
	checkHeaders(path+".headers", l.Headers, faults)
	checkShared(path, faults, shared{l.Rewrites, l.Access, l.BasicAuth, l.CORS, l.Gzip, l.Limits, l.ErrorPages, l.Policies, l.Log})
	ways := 0
	if r := l.Return; r != nil {
		ways++
		checkReturn(path+".return", r, faults)
	}
	for _, dir := range []struct{ field, path string }{{".root", l.Root}, {".alias", l.Alias}} {
		if dir.path != "" {
			ways++
			checkDirectory(path+dir.field, dir.path, l.Index, faults)
		}
	}
	if l.Alias != "" && (l.Match == "exact" || l.Match == "regex" || !strings.HasSuffix(l.Alias, "/") || !strings.HasSuffix(l.Path, "/")) {
		faults.Addf(path+".alias", "and the path must end in /, with match prefix")
	}
	for i, try := range l.TryFiles {
		if !fleet.TryFile(try, i == len(l.TryFiles)-1) || len(l.TryFiles) < 2 {
			faults.Addf(fieldOf(path+".tryFiles", i), "%q cannot be tried there", try)
		}
	}
	if l.Proxy != nil {
		ways++
		checkProxy(path+".proxy", l, faults)
	}
	if r := l.Redirect; r != nil {
		ways++
		if !strings.HasPrefix(r.To, "/") && !strings.HasPrefix(r.To, "http://") && !strings.HasPrefix(r.To, "https://") || strings.Contains(r.To, " ") {
			faults.Addf(path+".redirect.to", "%q is neither a path nor an http or https URL", r.To)
		}
		addErr(faults, path+".redirect.to", plain(r.To))
		if r.Code != 0 && !redirects(r.Code) {
			faults.Addf(path+".redirect.code", "%d is no redirect", r.Code)
		}
	}
	if ways != 1 {
		faults.Addf(path, "needs exactly one of return, root, alias, proxy and redirect")
	}
}

func checkRegex(path, text string, faults *fleet.Faults) {
	if text == "" || len(literal(text)) > maxParameter || strings.ContainsFunc(text, unicode.IsControl) {
		faults.Addf(path, "is empty, too long or contains control characters")
	}
}

func checkDirectory(path, dir string, index []string, faults *fleet.Faults) {
	if !strings.HasPrefix(dir, "/") {
		faults.Addf(path, "%q is not absolute", dir)
	}
	addErr(faults, path, plain(dir))
	for i, name := range index {
		if name == "" || strings.ContainsAny(name, "/ ") {
			faults.Addf(fieldOf(path+".index", i), "%q is no file name", name)
		}
		addErr(faults, fieldOf(path+".index", i), plain(name))
	}
}

func checkReturn(path string, r *fleet.Return, faults *fleet.Faults) {
	if r.Code < 200 || r.Code > 599 {
		faults.Addf(path+".code", "%d is not between 200 and 599", r.Code)
	}
	if redirects(r.Code) {
		faults.Addf(path+".code", "%d redirects: use redirect", r.Code)
	}
	if strings.ContainsRune(r.Text, 0) || len(r.Text) > maxText {
		faults.Addf(path+".text", "contains a NUL byte or is longer than %d bytes", maxText)
	}
	if r.ContentType != "" && (!contentType.MatchString(r.ContentType) || len(r.ContentType) > 200) {
		faults.Addf(path+".contentType", "%q is no content type", r.ContentType)
	}
}

func checkProxy(path string, l *fleet.Location, faults *fleet.Faults) {
	p := l.Proxy
	if (p.Upstream == "") == (p.Split == "") {
		faults.Addf(path, "needs either upstream or split")
	}
	if p.Split != "" {
		matches(faults, path+".split", p.Split, resourceName, "is no name")
	} else {
		matches(faults, path+".upstream", p.Upstream, resourceName, "is no name")
	}
	if p.Scheme != "" && p.Scheme != "http" && p.Scheme != "https" {
		faults.Addf(path+".scheme", "%q is neither http nor https", p.Scheme)
	}
	if p.Path != "" && (l.Match == "regex" || len(l.Rewrites) > 0) {
		faults.Addf(path+".path", "goes neither with match regex nor with rewrites")
	}
	maybe(faults, path+".path", p.Path, proxyPath, "is no path")
	checkHeaders(path+".headers", p.Headers, faults)
	each(faults, path+".hideHeaders", p.HideHeaders, fieldName, "is no header name")
	if t := p.TLS; t != nil {
		maybe(faults, path+".tls.name", t.Name, serverName, "is no host name")
		if t.Verify && t.Name == "" {
			faults.Addf(path+".tls.name", "is missing")
		}
		if t.CA != "" && fleet.CAProblem(t.CA) != "" {
			faults.Addf(path+".tls.ca", "is no list of certificates")
		}
	}
	if t := p.Timeouts; t != nil {
		each(faults, path+".timeouts", given(t.Connect, t.Send, t.Read), durationText, "is no duration")
	}
	if b := p.Buffering; b != nil {
		maybe(faults, path+".buffering.size", b.Size, sizeText, "is no size")
		if b.Buffers != 0 && b.Buffers < 4 {
			faults.Addf(path+".buffering.buffers", "%d is less than 4", b.Buffers)
		}
	}
	if n := p.NextUpstream; n != nil {
		each(faults, path+".nextUpstream.on", n.On, condition, "is no condition")
		maybe(faults, path+".nextUpstream.timeout", n.Timeout, durationText, "is no duration")
	}
	if c := l.Cache; c != nil {
		checkCache(strings.TrimSuffix(path, ".proxy")+".cache", c, faults)
	}
}

func checkCache(path string, c *fleet.Cache, faults *fleet.Faults) {
	each(faults, path, given(c.Size, c.MaxSize), sizeText, "is no size")
	maybe(faults, path+".inactive", c.Inactive, durationText, "is no duration")
	for i, v := range c.Valid {
		matches(faults, fieldOf(path+".valid", i), v.Time, durationText, "is no duration")
		for _, code := range v.Codes {
			if code < 100 || code > 599 {
				faults.Addf(fieldOf(path+".valid", i), "%d is no status", code)
			}
		}
	}
	for _, part := range c.Key {
		if keyParts[part] == "" && !requestPart.MatchString(part) {
			faults.Addf(path+".key", "%q is no part of a request", part)
		}
	}
	each(faults, path, slices.Concat(c.Bypass, c.NoStore), requestPart, "is neither header:NAME nor cookie:NAME")
	each(faults, path+".useStale", c.UseStale, condition, "is no condition")
}
