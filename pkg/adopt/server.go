package adopt

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// server is one server block of the configuration.
type server struct {
	directive *crossplane.Directive
	listens   []listen
	names     []string
	why       string // why it stays raw, "" while it need not
	host      *fleet.VirtualHost
	uses      []string // names of upstreams, as nginx compares them
	notes     []Note   // that hold if it becomes typed
}

// listen is one listen directive.
type listen struct {
	address    string // "0.0.0.0:80", "[::]:80", "unix:/…"
	ip         string
	port       int
	isDefault  bool
	tls, http2 bool
	proxy      bool
	other      string // a parameter that no resource has
}

// stays marks a server as raw; the first reason counts.
func (s *server) stays(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// later notes what is only true if the server becomes typed.
func (s *server) later(d *crossplane.Directive, what string) {
	s.notes = append(s.notes, Note{File: d.File, Line: d.Line, Text: what})
}

func (s *server) label() string {
	if len(s.names) > 0 && s.names[0] != "_" && s.names[0] != "" {
		return s.names[0]
	}
	if len(s.listens) > 0 {
		return "default-" + strconv.Itoa(s.listens[0].port)
	}
	return "host"
}

func (v *conversion) readServer(d *crossplane.Directive) *server {
	s := &server{directive: d}
	for _, c := range d.Block {
		switch c.Directive {
		case "listen":
			l := readListen(c)
			if l.other != "" {
				s.stays("%q has no typed form", text(c))
			}
			s.listens = append(s.listens, l)
		case "server_name":
			s.names = append(s.names, c.Args...)
		}
	}
	if len(s.listens) == 0 {
		s.listens = []listen{{address: "0.0.0.0:80", ip: "0.0.0.0", port: 80}}
	}
	s.uses = passes(d.Block)
	return s
}

// readListen reads one listen directive; other says what has no typed form.
func readListen(d *crossplane.Directive) listen {
	l := listen{port: 80, ip: "0.0.0.0"}
	if len(d.Args) == 0 {
		return l
	}
	where := d.Args[0]
	switch {
	case strings.HasPrefix(where, "unix:"):
		l.address, l.other = where, "a unix socket"
	case strings.HasPrefix(where, "[") && !strings.Contains(where, "]:"):
		l.ip = strings.Trim(where, "[]")
	default:
		host, port := "", where
		if i := strings.LastIndexByte(where, ':'); i >= 0 {
			host, port = where[:i], where[i+1:]
		}
		if n, err := strconv.Atoi(port); err == nil {
			l.port = n
		} else {
			host = where
		}
		host = strings.Trim(host, "[]")
		switch {
		case host == "" || host == "*":
		case host == "localhost":
			l.ip = "127.0.0.1"
		default:
			l.ip = host
		}
	}
	if l.address == "" {
		ip, err := netip.ParseAddr(l.ip)
		if err != nil {
			l.other = "a name to listen on"
			l.address = where
		} else {
			l.address = netip.AddrPortFrom(ip, uint16(l.port)).String()
		}
	}
	for _, p := range d.Args[1:] {
		switch {
		case p == "default_server" || p == "default":
			l.isDefault = true
		case p == "ssl":
			l.tls = true
		case p == "http2":
			l.http2 = true
		case p == "proxy_protocol":
			l.proxy = true
		case p == "ipv6only=on", p == "reuseport", strings.HasPrefix(p, "backlog="):
			// The first is nginx's default; the others decide nothing about answers.
		default:
			l.other = p
		}
	}
	return l
}

// passes are the names that a block and all inside pass requests to.
func passes(all crossplane.Directives) (uses []string) {
	for _, d := range all {
		if strings.HasSuffix(d.Directive, "_pass") && len(d.Args) > 0 {
			target := d.Args[0]
			if _, rest, ok := strings.Cut(target, "://"); ok {
				target = rest
			}
			target, _, _ = strings.Cut(target, "/")
			uses = append(uses, strings.ToLower(target))
		}
		uses = append(uses, passes(d.Block)...)
	}
	return uses
}

// choose decides what stays raw, until nothing changes: servers share
// listeners, whose default they decide together, and upstreams.
func (v *conversion) choose() {
	for _, g := range v.upstreams {
		g.typed()
	}
	for _, s := range v.servers {
		v.typed(s)
	}
	for again := true; again; {
		again = false
		for _, s := range v.servers {
			if s.why == "" && (v.sharesRawListener(s) || v.usesRawUpstream(s)) {
				again = true
			}
		}
		for _, g := range v.upstreams {
			if why := v.rawUse(g); g.why == "" && why != "" && !g.address {
				g.why, again = why, true
			}
		}
	}
}

// sharesRawListener keeps hosts of one listener together: Fairlead gives a
// listener that has no typed default host one that refuses, and raw hosts are
// not known to it.
func (v *conversion) sharesRawListener(s *server) bool {
	if slices.Contains(s.host.ServerNames, "_") {
		return false
	}
	for _, l := range s.listens {
		for _, o := range v.servers {
			if o.why != "" && slices.ContainsFunc(o.listens, func(x listen) bool { return x.address == l.address }) {
				s.stays("it shares the listener %s with %s, which stays raw", l.address, o.label())
				return true
			}
		}
	}
	return false
}

// rawUse says why an upstream must stay raw for those who use it.
func (v *conversion) rawUse(g *group) string {
	why := "nothing uses it"
	for _, s := range v.servers {
		switch uses := slices.Contains(s.uses, strings.ToLower(g.name)); {
		case uses && s.why != "":
			return s.label() + " uses it and stays raw"
		case uses:
			why = ""
		}
	}
	return why
}

// typedUse says whether a typed host uses an upstream.
func (v *conversion) typedUse(g *group) bool {
	return slices.ContainsFunc(v.servers, func(s *server) bool {
		return s.why == "" && slices.ContainsFunc(s.uses, func(name string) bool { return v.upstreams[name] == g })
	})
}

func (v *conversion) usesRawUpstream(s *server) bool {
	for _, name := range s.uses {
		if g := v.upstreams[name]; g != nil && g.why != "" {
			s.stays("upstream %s stays raw: %s", g.name, g.why)
			return true
		}
	}
	return false
}

// emit makes the resources, once it is known what stays raw.
func (v *conversion) emit() {
	v.emitOuter()
	for _, s := range v.servers {
		if s.why != "" {
			v.emitRaw(s)
			continue
		}
		r := v.add(v.name(s.label()), s.host)
		v.result.Typed++
		for _, n := range s.notes {
			n.Resource = r.ID()
			v.result.Notes = append(v.result.Notes, n)
		}
	}
	for _, g := range v.groups() {
		if g.why == "" && (!g.address || v.rawUse(g) == "" || v.typedUse(g)) {
			v.add(g.name, g.spec)
		}
	}
}

// emitRaw keeps a server as it is, with what of http{} could not come along.
func (v *conversion) emitRaw(s *server) {
	block := *s.directive
	block.Block = v.withoutLogs(block.Block, "")
	for _, p := range v.pushed {
		if !slices.ContainsFunc(block.Block, func(d *crossplane.Directive) bool { return d.Directive == p.Directive }) {
			block.Block = append(crossplane.Directives{p}, block.Block...)
		}
	}
	r := v.raw("http", s.label(), v.absolute(crossplane.Directives{&block}))
	v.note(s.directive, r.ID(), fmt.Sprintf("host %s stays raw as %s: %s", s.label(), r.ID(), s.why))
}

// emitOuter keeps what stood in http{} itself, with the upstreams that stay
// raw. Its name sorts before all others, because a map or a zone must stand
// before what uses it.
func (v *conversion) emitOuter() {
	outer := slices.Clone(v.outer)
	for _, g := range v.groups() {
		if g.why != "" && !g.address {
			outer = append(outer, g.directive)
		}
	}
	if len(outer) > 0 {
		r := v.raw("http", "00-http", v.absolute(outer))
		v.note(outer[0], r.ID(), fmt.Sprintf("%d directives of http{} stay raw as %s and hold for all hosts", len(outer), r.ID()))
	}
}
