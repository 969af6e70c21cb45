package fleet

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Proxy passes requests to an Upstream, or to one that a Split chooses, by name.
type Proxy struct {
	Upstream string `json:"upstream,omitempty"` // name of the resource; either this or split
	Split    string `json:"split,omitempty"`    // name of the resource
	Scheme   string `json:"scheme,omitempty"`   // http (default) or https, spoken to the upstream
	// TLS is for scheme https.
	TLS *ProxyTLS `json:"tls,omitempty"`
	// Path stands in for the location's path in the request to the upstream; not with match regex and rewrites.
	Path string `json:"path,omitempty"`
	// Headers are set on the request to the upstream.
	Headers map[string]string `json:"headers,omitempty"`
	// HideHeaders are names of headers of the upstream's answer that clients do not see.
	HideHeaders []string `json:"hideHeaders,omitempty"`
	// Timeouts of the upstream.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
	// Buffering says what nginx holds of answers and requests.
	Buffering *Buffering `json:"buffering,omitempty"`
	// Websocket lets clients change to the websocket protocol; a connection may then be silent for an hour, unless
	// timeouts say otherwise.
	Websocket bool `json:"websocket,omitempty"`
	// NextUpstream says when another server is tried.
	NextUpstream *NextUpstream `json:"nextUpstream,omitempty"`
	// InterceptErrors shows error pages in place of the upstream's own errors too.
	InterceptErrors bool `json:"interceptErrors,omitempty"`
}

// ProxyTLS is how TLS is spoken to the upstream.
type ProxyTLS struct {
	// Name is sent (SNI), and with verify it must be in the server's certificate; the request's host when empty.
	Name   string `json:"name,omitempty"`
	Verify bool   `json:"verify,omitempty"` // the server's certificate is checked; goes with name
	// CA holds the certificates, in PEM, of those whose word is believed; the node's own list when empty.
	CA string `json:"ca,omitempty"`
}

// Timeouts of an upstream, each from 1ms to 24h; 60s when empty.
type Timeouts struct {
	Connect string `json:"connect,omitempty"` // to establish the connection, at most 75s
	Send    string `json:"send,omitempty"`    // between two pieces of the request
	Read    string `json:"read,omitempty"`    // between two pieces of the answer
}

// Buffering says what nginx holds of answers and requests.
type Buffering struct {
	Off        bool   `json:"off,omitempty"`        // answers are passed on piece by piece, as they come
	RequestOff bool   `json:"requestOff,omitempty"` // requests are passed on as they come, and no second server can be tried
	Buffers    int    `json:"buffers,omitempty"`    // number of buffers for one answer, 4 to 1024; 8 when 0
	Size       string `json:"size,omitempty"`       // of a buffer, and of the one for the answer's headers: "1k" to "1m"; a page of memory when empty
}

// NextUpstream says when another server of the upstream is tried.
type NextUpstream struct {
	// On are nginx's words for what may be tried again: error, timeout, invalid_header, http_403, http_404, http_429,
	// http_500, http_502, http_503, http_504, non_idempotent; or off alone. error and timeout when empty.
	On      []string `json:"on,omitempty"`
	Tries   int      `json:"tries,omitempty"`   // servers in all, at most 100; 0 is each one
	Timeout string   `json:"timeout,omitempty"` // after which no other is tried, at most 24h
}

var nextConditions = []string{"error", "timeout", "invalid_header", "http_403", "http_404", "http_429",
	"http_500", "http_502", "http_503", "http_504", "non_idempotent", "off"}

var proxyPath = regexp.MustCompile(`^/([A-Za-z0-9._~,@:+=-]+/?)*$`)

func (p *Proxy) check(faults *Faults, at string) {
	switch {
	case p.Upstream != "" && p.Split != "":
		faults.Addf(at, "has upstream and split: set one of them")
	case p.Split != "":
		if err := CheckName("split", p.Split); err != nil {
			faults.Addf(at+".split", "%s", err)
		}
	default:
		if err := CheckName("upstream", p.Upstream); err != nil {
			faults.Addf(at+".upstream", "%s", err)
		}
	}
	oneOf(faults, at+".scheme", p.Scheme, "", "http", "https")
	p.checkTLS(faults, at+".tls")
	checkHeaders(faults, at+".headers", p.Headers)
	atMost(faults, at+".hideHeaders", len(p.HideHeaders), maxItems)
	for i, name := range p.HideHeaders {
		faults.add(item(at+".hideHeaders", i), headerNameProblem(name))
	}
	if t := p.Timeouts; t != nil {
		checkDuration(faults, at+".timeouts.connect", t.Connect, time.Millisecond, 75*time.Second)
		checkDuration(faults, at+".timeouts.send", t.Send, time.Millisecond, 24*time.Hour)
		checkDuration(faults, at+".timeouts.read", t.Read, time.Millisecond, 24*time.Hour)
	}
	p.Buffering.check(faults, at+".buffering")
	p.NextUpstream.check(faults, at+".nextUpstream")
}

// checkDuration checks a duration that may be left out.
func checkDuration(faults *Faults, path, text string, least, most time.Duration) {
	if text != "" {
		faults.add(path, DurationProblem(text, least, most))
	}
}

// checkSize checks a size that may be left out.
func checkSize(faults *Faults, path, text string, least, most int64) {
	if text != "" {
		faults.add(path, SizeProblem(text, least, most))
	}
}

// checkProxyPath checks the path that takes the place of the location's.
func (l *Location) checkProxyPath(faults *Faults, at string) {
	p := l.Proxy.Path
	switch {
	case p == "":
	case !proxyPath.MatchString(p) || hasDots(p) || len(p) > maxPath:
		faults.Addf(at+".proxy.path", "%q is not a path: write one such as /api/, of letters, digits and ._~,@:+=-", clip(p))
	case l.Match == "regex":
		faults.Addf(at+".proxy.path", "does not go with match regex, where no part of the path is the location's: use rewrites")
	case len(l.Rewrites) > 0:
		faults.Addf(at+".proxy.path", "does not go with rewrites: let them write the whole path")
	}
}

func (p *Proxy) checkTLS(faults *Faults, at string) {
	t := p.TLS
	if t == nil {
		return
	}
	if p.Scheme != "https" {
		faults.Addf(at, "goes with scheme https only")
	}
	switch {
	case t.Name != "" && !isHost(t.Name):
		faults.Addf(at+".name", "%q is not a host name", clip(t.Name))
	case t.Name == "" && t.Verify:
		faults.Addf(at+".name", "is missing: verify needs the name that the server's certificate is for")
	}
	if t.CA == "" {
		return
	}
	if !t.Verify {
		faults.Addf(at+".ca", "goes with verify only")
	}
	faults.add(at+".ca", CAProblem(t.CA))
}

// maxCA bounds a bundle of certificates; the whole public web has 220 KiB.
const maxCA = 256 << 10

// CAProblem says why a text is not a list of certificates in PEM; "" is nothing.
func CAProblem(text string) string {
	if len(text) > maxCA {
		return fmt.Sprintf("is %d bytes long: use at most %d", len(text), maxCA)
	}
	rest := []byte(text)
	for n := 0; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && (n == 0 || strings.TrimSpace(string(rest)) != ""):
			return "is not a list of certificates in PEM: begin with -----BEGIN CERTIFICATE-----"
		case block == nil:
			return ""
		case block.Type != "CERTIFICATE":
			return fmt.Sprintf("holds a %s: only certificates belong here", clip(block.Type))
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Sprintf("certificate %d cannot be read: %s", n+1, clip(err.Error()))
		}
	}
}

func (b *Buffering) check(faults *Faults, at string) {
	if b == nil {
		return
	}
	if b.Buffers != 0 && (b.Buffers < 4 || b.Buffers > 1024) {
		faults.Addf(at+".buffers", "%d: use 4 to 1024", b.Buffers)
	}
	checkSize(faults, at+".size", b.Size, 1<<10, 1<<20)
}

func (n *NextUpstream) check(faults *Faults, at string) {
	if n == nil {
		return
	}
	seen := once{}
	for i, on := range n.On {
		oneOf(faults, item(at+".on", i), on, nextConditions...)
		seen.check(faults, item(at+".on", i), on)
	}
	if len(n.On) > 1 && slices.Contains(n.On, "off") {
		faults.Addf(at+".on", "has off beside others: off stands alone")
	}
	if n.Tries < 0 || n.Tries > 100 {
		faults.Addf(at+".tries", "%d: use 0 to 100", n.Tries)
	}
	checkDuration(faults, at+".timeout", n.Timeout, time.Millisecond, 24*time.Hour)
}
