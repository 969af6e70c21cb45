package adopt

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// scope is a block with what it inherits.
type scope struct {
	conversion *conversion
	server     *server
	outer      *scope
	here       map[string]crossplane.Directives
	block      crossplane.Directives
}

// newScope is a block's scope; the outermost inherits from http{}.
func newScope(v *conversion, s *server, outer *scope, http crossplane.Directives) *scope {
	if outer == nil {
		outer = &scope{conversion: v, server: s, here: byName(http)}
	}
	return &scope{conversion: v, server: s, outer: outer, here: map[string]crossplane.Directives{}}
}

func byName(all crossplane.Directives) map[string]crossplane.Directives {
	names := map[string]crossplane.Directives{}
	for _, d := range all {
		names[d.Directive] = append(names[d.Directive], d)
	}
	return names
}

// enter reads a block; a directive that is not among known keeps the server raw.
func (s *scope) enter(block crossplane.Directives, known map[string]bool) {
	s.block = block
	for _, d := range block {
		if d.Directive == "access_log" || d.Directive == "error_log" {
			s.server.later(d, text(d)+" is left out: Fairlead forwards nginx's logs, see fairlead logs")
			continue
		}
		if !known[d.Directive] {
			s.server.stays("%q has no typed form", text(d))
		}
		s.here[d.Directive] = append(s.here[d.Directive], d)
	}
}

// all are the directives of a name that hold here: those of the innermost
// block that has any.
func (s *scope) all(name string) crossplane.Directives {
	for ; s != nil; s = s.outer {
		if found := s.here[name]; len(found) > 0 {
			return found
		}
	}
	return nil
}

// get is the one directive of a name that holds here, nil for none.
func (s *scope) get(name string) *crossplane.Directive {
	if all := s.all(name); len(all) > 0 {
		return all[0]
	}
	return nil
}

// own is the one directive of a name in the block itself, nil for none.
func (s *scope) own(name string) *crossplane.Directive {
	if all := s.here[name]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// headers are those that the block itself adds.
func (s *scope) headers() map[string]string {
	var headers map[string]string
	for _, d := range s.here["add_header"] {
		switch {
		case len(d.Args) < 2 || strings.Contains(d.Args[1], "$"):
			s.server.stays("%q has no typed form", text(d))
			continue
		case strings.EqualFold(d.Args[0], "Content-Type"):
			s.server.stays("%q sends a second content type", text(d))
			continue
		case len(d.Args) == 2:
			s.server.later(d, "header "+d.Args[0]+" is sent with errors too")
		}
		if headers == nil {
			headers = map[string]string{}
		}
		if _, twice := headers[d.Args[0]]; twice {
			s.server.stays("header %s is added twice", d.Args[0])
		}
		headers[d.Args[0]] = value(d.Args[1])
	}
	return headers
}

// files is a location that serves files.
func (s *scope) files(l *fleet.Location) {
	if len(s.conversion.pushed) > 0 {
		s.server.stays("it serves files, and the types of files are not Fairlead's")
	}
	if index := s.get("index"); index != nil {
		l.Index = index.Args
	}
	if alias := s.own("alias"); alias != nil && len(alias.Args) == 1 {
		l.Alias = value(alias.Args[0])
		if relative(l.Alias) {
			l.Alias = join(s.conversion.config.Prefix, l.Alias)
		}
		if s.get("try_files") != nil {
			s.server.stays("alias with try_files")
		}
		return
	}
	if try := s.get("try_files"); try != nil {
		for _, arg := range try.Args {
			l.TryFiles = append(l.TryFiles, value(arg))
		}
	}
	root := s.get("root")
	if root == nil || len(root.Args) != 1 {
		return
	}
	l.Root = value(root.Args[0])
	if relative(l.Root) {
		l.Root = join(s.conversion.config.Prefix, l.Root)
	}
	l.Root = strings.TrimSuffix(l.Root, "/")
}

// limits are what a client may send.
func (s *scope) limits(l *fleet.Location) {
	if size := s.get("client_max_body_size"); size != nil && len(size.Args) == 1 {
		l.Limits = &fleet.Limits{MaxBodySize: strings.ToLower(size.Args[0])}
	}
}

// access is who may come. A location that answers by itself does so before
// nginx looks at that.
func (s *scope) access(l *fleet.Location) {
	if s.own("return") != nil {
		return
	}
	for _, d := range s.server.ordered(s, "allow", "deny") {
		if len(d.Args) != 1 {
			s.server.stays("%q has no typed form", text(d))
			continue
		}
		rule := fleet.AddressRule{Allow: d.Args[0]}
		if d.Directive == "deny" {
			rule = fleet.AddressRule{Deny: d.Args[0]}
		}
		l.Access = append(l.Access, rule)
	}
}

// ordered are a block's directives of some names, in their order.
func (s *server) ordered(in *scope, names ...string) (all crossplane.Directives) {
	for _, d := range in.block {
		if slices.Contains(names, d.Directive) {
			all = append(all, d)
		}
	}
	return all
}

// returns is a location that answers by itself.
func (s *scope) returns(d *crossplane.Directive, l *fleet.Location) {
	if len(d.Args) == 0 {
		s.server.stays("an empty return")
		return
	}
	code, err := strconv.Atoi(d.Args[0])
	if err != nil { // return URL;
		code = 302
		d = &crossplane.Directive{Directive: "return", Args: []string{"302", d.Args[0]}}
	}
	said := ""
	if len(d.Args) > 1 {
		said = value(d.Args[1])
	}
	switch code {
	case 301, 302, 303, 307, 308:
		l.Redirect = &fleet.Redirect{Code: code, To: said}
		if rest, ok := strings.CutSuffix(said, "$request_uri"); ok && !strings.HasSuffix(rest, "/") {
			l.Redirect.To, l.Redirect.KeepPath = rest, true
		}
		if strings.HasPrefix(said, "/") {
			s.server.stays("a redirect to a path bears the host's name, a typed one does not")
		}
		said = l.Redirect.To
	case 444:
		s.server.stays("return 444 has no typed form")
	default:
		l.Return = &fleet.Return{Code: code, Text: said, ContentType: "text/plain"}
		if t := s.get("default_type"); t != nil {
			l.Return.ContentType = t.Args[0]
		} else if len(s.conversion.pushed) == 0 {
			l.Return.ContentType = ownHTTP["default_type"]
		} else {
			s.server.stays("it answers a text, and the types of answers are not Fairlead's")
		}
		if said == "" {
			l.Return.ContentType = ""
		}
	}
	if strings.Contains(said, "$") {
		s.server.stays("%q holds a variable", text(d))
	}
}

// What a typed proxy location tells its upstream by itself.
var proxyHeaders = map[string]string{
	"host": "$host", "x-forwarded-for": "$proxy_add_x_forwarded_for", "x-forwarded-proto": "$scheme", "x-real-ip": "$remote_addr", "connection": "",
}

// proxies is a location that passes to an upstream.
func (s *scope) proxies(d *crossplane.Directive, l *fleet.Location) {
	target, ok := strings.CutPrefix(d.Args[0], "http://")
	if !ok || strings.Contains(target, "$") {
		s.server.stays("%q has no typed form", text(d))
		return
	}
	path := ""
	if i := strings.IndexByte(target, '/'); i >= 0 {
		target, path = target[:i], target[i:]
	}
	group := s.conversion.group(target)
	l.Proxy = &fleet.Proxy{Upstream: group.name, Path: path, Timeouts: s.timeouts()}
	missing := maps.Clone(proxyHeaders)
	for _, h := range s.all("proxy_set_header") {
		if len(h.Args) != 2 {
			s.server.stays("%q has no typed form", text(h))
			continue
		}
		name, told := strings.ToLower(h.Args[0]), value(h.Args[1])
		usual, known := proxyHeaders[name]
		delete(missing, name)
		switch {
		case name == "upgrade" && told == "$http_upgrade":
			l.Proxy.Websocket = true
		case name == "connection" && (told == "upgrade" || told == "Upgrade" || told == "$connection_upgrade"):
			l.Proxy.Websocket = true
		case known && (told == usual || name == "host" && told == "$http_host"):
		case strings.Contains(told, "$") || told == "":
			s.server.stays("%q has no typed form", text(h))
		default:
			if l.Proxy.Headers == nil {
				l.Proxy.Headers = map[string]string{}
			}
			l.Proxy.Headers[h.Args[0]] = told
		}
	}
	if _, ok := missing["host"]; ok {
		s.server.stays("location %s tells its upstream the upstream's name as host", l.Path)
	}
	delete(missing, "connection")
	if l.Proxy.Websocket && l.Proxy.Timeouts == nil { // a typed one waits for an hour
		l.Proxy.Timeouts = &fleet.Timeouts{Read: "60s", Send: "60s"}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		s.server.later(d, "upstream "+group.name+" is told "+name+" too")
	}
}

// timeouts are those of the upstream, nil where nginx's own hold.
func (s *scope) timeouts() *fleet.Timeouts {
	var t fleet.Timeouts
	for name, field := range map[string]*string{"proxy_connect_timeout": &t.Connect, "proxy_send_timeout": &t.Send, "proxy_read_timeout": &t.Read} {
		if d := s.get(name); d != nil && len(d.Args) == 1 {
			*field = d.Args[0]
			if strings.Trim(*field, "0123456789") == "" {
				*field += "s"
			}
		}
	}
	if t == (fleet.Timeouts{}) {
		return nil
	}
	return &t
}

// value is a parameter as nginx takes it: the parser keeps its escapes.
func value(arg string) string { return escapes.Replace(arg) }

var escapes = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t")
