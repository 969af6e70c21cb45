package nginx

import (
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// site renders one virtual host: what has to stand before its server, the
// server, and files beside it.
//
// nginx lets a block inherit a list of directives (add_header, error_page,
// allow) only where it has none of its own. So whatever adds up is written out
// in full wherever a location adds to it.
type site struct {
	m     *model
	id    string // of the resource
	name  string
	h     *fleet.VirtualHost
	http  writer // before the server: maps, zones, formats
	w     writer // the servers
	files []File
	made  map[string]bool // what stands in http or files already
}

// virtualHost renders one host to its files.
func (m *model) virtualHost(r fleet.Resource, h *fleet.VirtualHost) []File {
	s := &site{m: m, id: r.ID(), name: r.Metadata.Name, h: h, made: map[string]bool{}}
	s.servers()
	text := "# " + s.id + "\n" + s.http.String() + s.w.String()
	main := File{Path: "http.d/virtualhost-" + s.name + ".conf", Mode: 0o600, Content: []byte(text), Owner: s.id}
	return append([]File{main}, s.files...)
}

// variable names a variable, zone or format of this host after what it holds,
// so that the same is made once and what differs has another name.
func (s *site) variable(what string, holds ...string) string {
	return "fairlead_" + what + "_" + hash8(s.id+"\n"+strings.Join(holds, "\n"))
}

// once says whether something is yet to be made.
func (s *site) once(name string) bool {
	was := s.made[name]
	s.made[name] = true
	return !was
}

// servers renders the server, and another one for the listeners that only send
// clients to TLS.
func (s *site) servers() {
	listeners := s.m.listenersOf(s.h)
	if s.h.TLS != nil && s.h.TLS.RedirectHTTP != 0 {
		plain := slices.DeleteFunc(slices.Clone(listeners), func(l listener) bool { return l.tls })
		listeners = slices.DeleteFunc(listeners, func(l listener) bool { return !l.tls })
		if len(plain) > 0 && len(listeners) > 0 {
			s.toTLS(plain, listeners[0])
		}
	}
	w := &s.w
	s.head(listeners)
	if slices.ContainsFunc(listeners, func(l listener) bool { return l.tls }) {
		s.tls()
	}
	if h := s.h.Limits; h != nil {
		headerLimits(w, h)
		limits(w, h)
	}
	addHeaders(w, s.headers())
	rewrites(w, s.h.Rewrites)
	s.access(s.h.Access)
	s.basicAuth(s.h.BasicAuth)
	s.lines(s.m.policyLines("server", s.h.Policies))
	gzip(w, s.h.Gzip)
	s.log(s.h.Log)
	later := s.errorPages("host", s.h.ErrorPages, nil, nil)
	for i := range s.h.Locations {
		w.line("")
		s.location(i, &s.h.Locations[i])
	}
	later()
	w.close()
}

// head opens a server.
func (s *site) head(listeners []listener) {
	w := &s.w
	w.open("server")
	http2 := false
	for _, l := range listeners {
		parameters := ""
		if slices.Contains(s.h.ServerNames, "_") {
			parameters = " default_server"
		}
		w.line("%s", l.directive(parameters))
		http2 = http2 || l.http2
	}
	if http2 {
		w.b.WriteString(phHTTP2D)
	}
	w.line("server_name %s;", strings.Join(s.h.ServerNames, " "))
	s.realIP()
}

// realIP believes load balancers on the client's address.
func (s *site) realIP() {
	var from []string
	for _, l := range s.h.Listen {
		if l.ProxyProtocol != nil {
			from = append(from, l.ProxyProtocol.From...)
		}
	}
	slices.Sort(from)
	for _, network := range slices.Compact(from) {
		s.w.line(phRealIP+"set_real_ip_from %s;", network)
	}
	if len(from) > 0 {
		s.w.line(phRealIP + "real_ip_header proxy_protocol;")
	}
}

func (s *site) lines(lines []string) {
	for _, line := range lines {
		s.w.line("%s", line)
	}
}

// headers are what the whole host adds, quoted.
func (s *site) headers() map[string]string {
	return merged(s.hsts(), quoted(s.h.Headers))
}

func quoted(headers map[string]string) map[string]string {
	all := map[string]string{}
	for name, value := range headers {
		all[name] = served(value)
	}
	return all
}

// addHeaders adds headers whose values are quoted already, to answers of any status.
func addHeaders(w *writer, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		w.line("add_header %s %s always;", literal(name), headers[name])
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
