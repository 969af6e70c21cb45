package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// virtualHost renders one server block.
func (m *model) virtualHost(r fleet.Resource, h *fleet.VirtualHost) string {
	w := new(writer)
	w.line("# %s", r.ID())
	w.open("server")
	for _, l := range m.listenersOf(h) {
		parameters := ""
		if slices.Contains(h.ServerNames, "_") {
			parameters = " default_server"
		}
		w.line("%s", l.directive(parameters))
	}
	w.line("server_name %s;", strings.Join(h.ServerNames, " "))
	addHeaders(w, h.Headers)
	for _, l := range h.Locations {
		w.line("")
		location(w, h, l)
	}
	w.close()
	return w.String()
}

var modifiers = map[string]string{"": "", "prefix": "", "exact": "= ", "regex": "~ "}

func location(w *writer, h *fleet.VirtualHost, l fleet.Location) {
	w.open("location %s%s", modifiers[l.Match], literal(l.Path))
	if len(l.Headers) > 0 { // one add_header here hides all of the server's
		addHeaders(w, merged(h.Headers, l.Headers))
	}
	switch {
	case l.Return != nil:
		returnText(w, l.Return)
	case l.Root != "":
		w.line("root %s;", literal(l.Root))
		index := l.Index
		if len(index) == 0 {
			index = []string{"index.html"}
		}
		quoted := make([]string, len(index))
		for i, name := range index {
			quoted[i] = literal(name)
		}
		w.line("index %s;", strings.Join(quoted, " "))
	case l.Proxy != nil:
		proxy(w, l.Proxy)
	case l.Redirect != nil:
		redirect(w, l.Redirect)
	}
	w.close()
}

// returnText sends a text. The empty types block keeps nginx from taking the
// content type from the path's extension. A text that does not fit into one
// parameter is put together from variables.
func returnText(w *writer, r *fleet.Return) {
	kind := r.ContentType
	if kind == "" {
		kind = "text/plain"
	}
	w.line("types { }")
	w.line("default_type %s;", literal(kind))
	all := pieces(r.Text)
	switch {
	case r.Text == "":
		w.line("return %d;", r.Code)
	case len(all) == 1:
		w.line("return %d %s;", r.Code, served(r.Text))
	default:
		var together strings.Builder
		for i, piece := range all {
			w.line("set $fairlead_text%d %s;", i, served(piece))
			fmt.Fprintf(&together, "${fairlead_text%d}", i)
		}
		w.line(`return %d "%s";`, r.Code, together.String())
	}
}

// proxy passes to an upstream, with what a server behind a proxy expects to
// be told. A header that the resource sets replaces the usual one.
func proxy(w *writer, p *fleet.Proxy) {
	headers := map[string]string{
		"Host":              "$host",
		"X-Forwarded-For":   "$proxy_add_x_forwarded_for",
		"X-Forwarded-Proto": "$scheme",
		"Connection":        "", // not "close", so that connections to the upstream are kept
	}
	for name := range headers {
		headers[name] = `"` + headers[name] + `"`
	}
	own := map[string]string{}
	for name, value := range p.Headers {
		own[name] = served(value)
	}
	w.line("proxy_pass http://%s;", p.Upstream)
	w.line("proxy_http_version 1.1;")
	all := merged(headers, own)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w.line("proxy_set_header %s %s;", literal(name), all[name])
	}
}

// redirect sends the client elsewhere; to a path without naming scheme, host
// and port, which nginx cannot know behind a forwarded port.
func redirect(w *writer, r *fleet.Redirect) {
	code, to := r.Code, r.To
	if code == 0 {
		code = 302
	}
	if strings.HasPrefix(to, "/") {
		w.line("absolute_redirect off;")
	}
	if r.KeepPath {
		w.line(`return %d "%s$request_uri";`, code, strings.TrimSuffix(to, "/"))
		return
	}
	w.line("return %d %s;", code, literal(to))
}

func addHeaders(w *writer, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		w.line("add_header %s %s always;", literal(name), served(headers[name]))
	}
}

// merged is base with what over says in its place; names are compared without case.
func merged(base, over map[string]string) map[string]string {
	all := maps.Clone(over)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range base {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(over)), same) {
			all[name] = value
		}
	}
	return all
}
