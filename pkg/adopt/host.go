package adopt

import (
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// typed tries to say a server as a VirtualHost; why says what it cannot.
func (v *conversion) typed(s *server) {
	h := &fleet.VirtualHost{Selector: v.options.Selector}
	s.host = h
	v.typedListens(s, h)
	v.typedNames(s, h)
	server := newScope(v, s, nil, v.outer)
	server.enter(s.directive.Block, serverDirectives)
	h.Headers = server.headers()
	for _, d := range s.directive.Block {
		if d.Directive == "location" {
			v.typedLocation(s, h, server, d)
		}
	}
	v.rest(s, h, server)
	if s.why != "" {
		return
	}
	if faults := h.Validate(); len(faults) > 0 {
		s.stays("%s", faults[0].Message)
	}
}

func (v *conversion) typedListens(s *server, h *fleet.VirtualHost) {
	for _, l := range s.listens {
		if l.tls || l.http2 || l.proxy {
			s.stays("TLS, HTTP/2 and the PROXY protocol of an adopted host stay raw")
		}
		h.Listen = append(h.Listen, fleet.Listen{Address: l.ip, Port: l.port})
	}
}

// typedNames turns names into those of a resource, and says by "_" that the
// host answers every name that no other claims.
func (v *conversion) typedNames(s *server, h *fleet.VirtualHost) {
	for _, name := range s.names {
		switch {
		case name == "" || name == "_": // a name that no request has
		case strings.HasPrefix(name, "."):
			h.ServerNames = append(h.ServerNames, name[1:], "*"+name)
		default:
			h.ServerNames = append(h.ServerNames, strings.ToLower(name))
		}
	}
	slices.Sort(h.ServerNames)
	h.ServerNames = slices.Compact(h.ServerNames)
	defaults := 0
	for _, l := range s.listens {
		if v.isDefault(s, l.address) {
			defaults++
		}
	}
	switch {
	case defaults == len(s.listens):
		h.ServerNames = append(h.ServerNames, "_")
	case defaults > 0:
		s.stays("it is the default host of some of its listeners and not of others")
	case len(h.ServerNames) == 0:
		s.stays("it has no name that a request could bear")
	}
}

// isDefault reports whether a server answers unknown names on a listener.
func (v *conversion) isDefault(s *server, address string) bool {
	var first, flagged *crossplane.Directive
	for _, d := range blocks(v.config.main, "http") {
		if d.Directive != "server" {
			continue
		}
		found, isDefault := listensOn(d, address)
		if found && first == nil {
			first = d
		}
		if isDefault && flagged == nil {
			flagged = d
		}
	}
	if flagged != nil {
		return flagged == s.directive
	}
	return first == s.directive
}

func listensOn(server *crossplane.Directive, address string) (found, isDefault bool) {
	any := false
	for _, d := range server.Block {
		if d.Directive != "listen" {
			continue
		}
		any = true
		if l := readListen(d); l.address == address {
			found, isDefault = true, isDefault || l.isDefault
		}
	}
	return found || !any && address == "0.0.0.0:80", isDefault
}

// rest is what a server does where no location matches.
func (v *conversion) rest(s *server, h *fleet.VirtualHost, server *scope) {
	if r := server.get("return"); r != nil {
		// Of the server itself, it answers before any location is looked for.
		h.Locations = nil
		l := fleet.Location{Path: "/"}
		server.returns(r, &l)
		h.Locations = []fleet.Location{l}
		return
	}
	whole := slices.ContainsFunc(h.Locations, func(l fleet.Location) bool { return l.Path == "/" && (l.Match == "" || l.Match == "prefix") })
	if whole {
		return
	}
	l := fleet.Location{Path: "/"}
	server.files(&l)
	server.limits(&l)
	if l.Root == "" {
		s.stays("requests that no location matches get files from nginx's own directory")
	}
	h.Locations = append(h.Locations, l)
}

// Directives of a server that are read here, or that decide nothing.
var serverDirectives = map[string]bool{
	"listen": true, "server_name": true, "location": true, "root": true, "index": true, "add_header": true, "return": true,
	"proxy_set_header": true, "proxy_http_version": true, "default_type": true, "try_files": true, "client_max_body_size": true,
	"proxy_connect_timeout": true, "proxy_send_timeout": true, "proxy_read_timeout": true,
}

// Directives of a location that are read here.
var locationDirectives = map[string]bool{
	"root": true, "index": true, "return": true, "add_header": true, "proxy_pass": true, "proxy_set_header": true, "proxy_http_version": true,
	"default_type": true, "alias": true, "try_files": true, "client_max_body_size": true, "allow": true, "deny": true,
	"proxy_connect_timeout": true, "proxy_send_timeout": true, "proxy_read_timeout": true,
}

func (v *conversion) typedLocation(s *server, h *fleet.VirtualHost, server *scope, d *crossplane.Directive) {
	l := fleet.Location{}
	switch {
	case len(d.Args) == 1 && strings.HasPrefix(d.Args[0], "@"):
		s.stays("named location %s", d.Args[0])
	case len(d.Args) == 1:
		l.Path = value(d.Args[0])
	case len(d.Args) == 2 && d.Args[0] == "=":
		l.Path, l.Match = value(d.Args[1]), "exact"
	case len(d.Args) == 2 && d.Args[0] == "~":
		l.Path, l.Match = d.Args[1], "regex"
	default:
		s.stays("location %s has no typed form", strings.Join(d.Args, " "))
		return
	}
	in := newScope(v, s, server, nil)
	in.enter(d.Block, locationDirectives)
	l.Headers = in.headers()
	for name := range h.Headers {
		if _, again := l.Headers[name]; len(l.Headers) > 0 && !again {
			s.stays("location %s hides header %s of its host", l.Path, name)
		}
	}
	in.limits(&l)
	in.access(&l)
	switch {
	case in.own("return") != nil:
		in.returns(in.own("return"), &l)
	case in.own("proxy_pass") != nil:
		in.proxies(in.own("proxy_pass"), &l)
	default:
		in.files(&l)
		if l.Root == "" && l.Alias == "" {
			s.stays("location %s serves files from nginx's own directory", l.Path)
		}
	}
	h.Locations = append(h.Locations, l)
}
