package nginx

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// proxy passes to an upstream, with what a server behind a proxy expects to
// be told. A header that the resource sets replaces the usual one.
func (s *site) proxy(l *fleet.Location) {
	p, w := l.Proxy, &s.w
	to := cmp.Or(p.Scheme, "http") + "://" + p.Upstream
	if p.Split != "" {
		to = cmp.Or(p.Scheme, "http") + "://" + splitVariable(p.Split)
	}
	switch {
	case p.Path == "":
	case p.Split == "":
		to += p.Path // nginx puts it in the place of the location's
	case l.Match == "exact":
		w.line("rewrite ^ %s break;", literal(p.Path))
	default: // with a variable nginx would send the path alone
		w.line("rewrite %s %s break;", literal("(?s)^"+regexp.QuoteMeta(l.Path)+"(.*)$"), literal(p.Path+"$1"))
	}
	w.line("proxy_pass %s;", to)
	w.line("proxy_http_version 1.1;")
	s.proxyHeaders(l)
	if p.Scheme == "https" {
		s.proxyTLS(p.TLS)
	}
	timeouts(w, p)
	buffering(w, p.Buffering)
	nextUpstream(w, p.NextUpstream)
	if p.InterceptErrors {
		w.line("proxy_intercept_errors on;")
	}
	s.cache(l)
}

func (s *site) proxyHeaders(l *fleet.Location) {
	w, p := &s.w, l.Proxy
	headers := map[string]string{
		"Host":              `"$host"`,
		"X-Forwarded-For":   `"$proxy_add_x_forwarded_for"`,
		"X-Forwarded-Proto": `"$scheme"`,
		"X-Real-IP":         `"$remote_addr"`,
		"Connection":        `""`, // not "close", so that connections to the upstream are kept
	}
	if p.Websocket {
		headers["Upgrade"], headers["Connection"] = `"$http_upgrade"`, `"$fairlead_connection"`
	}
	all := merged(headers, quoted(p.Headers))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w.line("proxy_set_header %s %s;", literal(name), all[name])
	}
	hidden := slices.Clone(p.HideHeaders)
	if s.corsOf(l) != nil {
		hidden = append(hidden, corsHeaders...)
	}
	for _, name := range hidden {
		w.line("proxy_hide_header %s;", literal(name))
	}
}

func (s *site) proxyTLS(t *fleet.ProxyTLS) {
	w := &s.w
	w.line("proxy_ssl_server_name on;")
	w.line("proxy_ssl_protocols TLSv1.2 TLSv1.3;")
	if t == nil || t.Name == "" {
		w.line("proxy_ssl_name $host;")
		return
	}
	w.line("proxy_ssl_name %s;", t.Name)
	if !t.Verify {
		return
	}
	w.line("proxy_ssl_verify on;")
	w.line("proxy_ssl_session_reuse off;") // nginx would believe what another location did not verify
	w.line("proxy_ssl_verify_depth 4;")
	if t.CA == "" {
		w.line(`proxy_ssl_trusted_certificate "%s";`, phCA)
		return
	}
	path := "ssl/" + s.name + "-" + hash8(t.CA) + ".ca"
	if s.once(path) {
		s.files = append(s.files, File{Path: path, Mode: 0o600, Content: []byte(strings.TrimSpace(t.CA) + "\n"), Owner: s.id})
	}
	w.line(`proxy_ssl_trusted_certificate "%s/%s";`, phVersion, path)
}

func timeouts(w *writer, p *fleet.Proxy) {
	var t fleet.Timeouts
	if p.Timeouts != nil {
		t = *p.Timeouts
	}
	if p.Websocket { // silence is usual there
		t.Read, t.Send = cmp.Or(t.Read, "1h"), cmp.Or(t.Send, "1h")
	}
	optional(w, "proxy_connect_timeout", t.Connect)
	optional(w, "proxy_send_timeout", t.Send)
	optional(w, "proxy_read_timeout", t.Read)
}

// optional writes a directive where there is a value, whose grammar has been checked.
func optional(w *writer, directive, value string) {
	if value != "" {
		w.line("%s %s;", directive, value)
	}
}

func buffering(w *writer, b *fleet.Buffering) {
	if b == nil {
		return
	}
	if b.Off {
		w.line("proxy_buffering off;")
	}
	if b.RequestOff {
		w.line("proxy_request_buffering off;")
	}
	if b.Buffers > 0 || b.Size != "" {
		w.line("proxy_buffers %d %s;", cmp.Or(b.Buffers, 8), cmp.Or(b.Size, "4k"))
		w.line("proxy_buffer_size %s;", cmp.Or(b.Size, "4k"))
		w.line("proxy_busy_buffers_size %d;", 2*bytesOf(cmp.Or(b.Size, "4k")))
	}
}

func nextUpstream(w *writer, n *fleet.NextUpstream) {
	if n == nil {
		return
	}
	optional(w, "proxy_next_upstream", strings.Join(n.On, " "))
	if n.Tries > 0 {
		w.line("proxy_next_upstream_tries %d;", n.Tries)
	}
	optional(w, "proxy_next_upstream_timeout", n.Timeout)
}
