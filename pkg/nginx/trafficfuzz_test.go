package nginx_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// Whatever upstreams, streams and splits say: if they are accepted, what they
// render to parses, and has the servers, ports, names, routes, shares and
// rules that they have.
func FuzzAcceptedTrafficRendersToWhatItSays(f *testing.F) {
	c := anyCertificate(f)
	for seed := range uint64(100) {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, seed uint64, extra string) {
		all := randomTraffic(rand.New(rand.NewPCG(seed, 11)), "127.0.0.1", []int{1000, 1001, 1002}, append(slices.Clone(hostile), extra), c)
		b, err := nginx.Render("127.0.0.1", all)
		if err != nil {
			t.Fatalf("accepted, and not rendered: %v", err)
		}
		compareTraffic(t, all, b)
	})
}

func TestAcceptedTrafficPassesRealNginx(t *testing.T) {
	n, c := newNode(t), anyCertificate(t)
	for seed := range uint64(12) {
		ports := []int{n.freePort(), n.freePort(), n.freePort()}
		all := randomTraffic(rand.New(rand.NewPCG(seed, 12)), n.address, ports, hostile, c)
		if _, err := n.apply(seed+1, all...); err != nil {
			b, _ := nginx.Render(n.address, all)
			t.Errorf("seed %d: %v\n%s", seed, err, trafficText(b))
		}
	}
}

// A name is part of variables, and nginx has to have room for the longest.
func TestTheLongestNamesPassRealNginx(t *testing.T) {
	n, ports := newNode(t), []int{}
	for range 2 {
		ports = append(ports, n.freePort())
	}
	name := strings.Repeat("long-", 12) + "est"
	n.mustApply(1, serversAt(name, "127.0.0.1:9"), resource(name, &fleet.Stream{Listen: []fleet.StreamListen{{Port: ports[0]}}, Routes: map[string]string{strings.Repeat("a.", 126) + "a": name}}),
		resource(name, &fleet.Split{Branches: []fleet.Branch{{Upstream: name}}, When: []fleet.SplitRule{{Header: "X-" + strings.Repeat("h", 40), Value: strings.Repeat("v", 200), Upstream: name}},
			Sticky: &fleet.Sticky{By: "cookie"}}),
		resource(name, &fleet.VirtualHost{Listen: []fleet.Listen{{Port: ports[1]}}, ServerNames: []string{"_"}, Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Split: name}}}}))
}

// trafficText is all that was rendered for traffic.
func trafficText(b nginx.Bundle) string {
	text := ""
	for _, f := range b.Files {
		if strings.HasPrefix(f.Path, "stream.d/") || strings.HasPrefix(f.Path, "http.d/split-") || strings.HasPrefix(f.Path, "http.d/upstream-") {
			text += string(f.Content)
		}
	}
	return text
}

// trafficNames are names that could mean something else where they are rendered.
var trafficNames = []string{"app", "App2", "a-b", "a_b", "default", "hostnames", "include", "volatile", "off", "unix", "8080", "0", "backup", "http",
	"s", "s_drawn", "s_kept", "s_branch", "s_cookie", "s_secure", "s_when0", "s-when0", strings.Repeat("long", 15)}

// randomTraffic has features by chance, and in some fields what is hostile, as
// long as it is accepted.
func randomTraffic(r *rand.Rand, address string, ports []int, texts []string, c fleet.Resource) []fleet.Resource {
	names := slices.Clone(trafficNames)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var all []fleet.Resource
	web := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: ports[0]}}, ServerNames: []string{"h.example.org"}}
	uses := func(p fleet.Proxy) {
		web.Locations = append(web.Locations, fleet.Location{Path: fmt.Sprintf("/%d/", len(web.Locations)), Proxy: &p})
	}
	ups, anywhere := names[:4], 2 // the first two are for streams too
	for i, name := range ups {
		all = append(all, resource(name, randomUpstream(r, i < anywhere)))
		uses(fleet.Proxy{Upstream: name})
	}
	for _, name := range names[4:7] {
		all = append(all, resource(name, randomSplit(r, ups)))
		uses(fleet.Proxy{Split: name})
	}
	all = append(all, resource(names[7], randomStream(r, ports[1], ups[:anywhere], texts)), resource("udp", &fleet.Stream{Protocol: "udp",
		Listen: []fleet.StreamListen{{Port: ports[2]}}, Upstream: ups[0], Responses: r.IntN(3), SendProxyProtocol: r.IntN(2) == 0}), resource("web", web), c)
	for range 30 {
		one := all[r.IntN(len(all)-2)] // neither the host nor the certificate
		var fields []reflect.Value
		textsOf(reflect.ValueOf(one.Spec).Elem(), &fields)
		at := fields[r.IntN(len(fields))]
		was := at.String()
		at.SetString(texts[r.IntN(len(texts))])
		if len(one.Validate()) > 0 {
			at.SetString(was)
		} else if _, err := nginx.Render(address, all); err != nil { // it clashes with another
			at.SetString(was)
		}
	}
	return all
}

func pick[T any](r *rand.Rand, some ...T) T { return some[r.IntN(len(some))] }

func randomUpstream(r *rand.Rand, stream bool) *fleet.Upstream {
	u := &fleet.Upstream{Strategy: pick(r, "", "roundRobin", "leastConn", "random", "hash")}
	if !stream && r.IntN(4) == 0 {
		u.Strategy = "ipHash"
	}
	if u.Strategy == "hash" {
		u.Hash = &fleet.Hash{By: "client", Consistent: r.IntN(2) == 0}
		if !stream {
			u.Hash = pick(r, u.Hash, &fleet.Hash{By: "uri"}, &fleet.Hash{By: "header", Name: "X-Key"}, &fleet.Hash{By: "cookie", Name: "a_b"}, &fleet.Hash{By: "host"})
		}
	}
	addresses := []string{"127.0.0.1:9", "[::1]:9", "unix:/run/some.sock", "app.example.org:80", "192.0.2.7:65535", "localhost:1"}
	r.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	for i, address := range addresses[:1+r.IntN(4)] {
		s := fleet.Server{Address: address, Weight: pick(r, 0, 1, 7), Down: r.IntN(4) == 0, MaxConns: pick(r, 0, 0, 9), FailTimeout: pick(r, "", "3s")}
		if r.IntN(3) == 0 {
			s.MaxFails = new(pick(r, 0, 2))
		}
		s.Backup = i > 0 && slices.Contains([]string{"", "roundRobin", "leastConn"}, u.Strategy) && r.IntN(3) == 0
		u.Servers = append(u.Servers, s)
	}
	if r.IntN(2) == 0 {
		u.Keepalive, u.KeepaliveTimeout, u.KeepaliveRequests = 8, pick(r, "", "30s"), pick(r, 0, 100)
	}
	return u
}

func randomSplit(r *rand.Rand, ups []string) *fleet.Split {
	s := &fleet.Split{}
	left := 100
	for i := range 1 + r.IntN(len(ups)) {
		share := r.IntN(left + 1)
		left -= share
		s.Branches = append(s.Branches, fleet.Branch{Upstream: ups[i], Percent: &share})
	}
	last := &s.Branches[r.IntN(len(s.Branches))]
	if *last.Percent += left; r.IntN(2) == 0 {
		last.Percent = nil
	}
	for i := range r.IntN(4) {
		rule := fleet.SplitRule{Value: fmt.Sprintf("v%d.x", i), Upstream: pick(r, ups...)}
		if r.IntN(2) == 0 {
			rule.Header = pick(r, "X-Beta", "User-Agent")
		} else {
			rule.Cookie = pick(r, "beta", "a_b")
		}
		s.When = append(s.When, rule)
	}
	switch r.IntN(3) {
	case 0:
		s.Sticky = &fleet.Sticky{By: "client"}
	case 1:
		s.Sticky = &fleet.Sticky{By: "cookie", Cookie: pick(r, "", "visitor"), For: pick(r, "", "1h")}
	}
	return s
}

func randomStream(r *rand.Rand, port int, ups, texts []string) *fleet.Stream {
	s := &fleet.Stream{Listen: []fleet.StreamListen{{Port: port}}, Upstream: pick(r, ups...), Protocol: pick(r, "", "tcp"), AcceptProxyProtocol: r.IntN(2) == 0,
		SendProxyProtocol: r.IntN(2) == 0, ConnectTimeout: pick(r, "", "1s"), IdleTimeout: pick(r, "", "90m")}
	if r.IntN(2) == 0 {
		s.Listen = append(s.Listen, fleet.StreamListen{Address: "::1", Port: port}, fleet.StreamListen{Address: "127.0.0.1", Port: port})
	}
	if r.IntN(3) == 0 {
		s.TLS = &fleet.StreamTLS{Certificate: "c"}
		return s
	}
	if r.IntN(2) == 0 {
		s.Upstream, s.Routes, s.Otherwise = "", map[string]string{"a.example.org": ups[0]}, pick(r, "", ups[0], ups[1])
		for range r.IntN(8) {
			name := pick(r, append(texts, "default", "Hostnames", "include", "volatile", "*.t.example.org", "T", "x.example.org")...)
			s.Routes[name] = pick(r, ups...)
			if len(resource("x", s).Validate()) > 0 {
				delete(s.Routes, name)
			}
		}
	}
	return s
}

// compareTraffic holds what was rendered against what was written.
func compareTraffic(t *testing.T, all []fleet.Resource, b nginx.Bundle) {
	t.Helper()
	variables := variablesOf(t, b)
	for _, r := range all {
		switch spec := r.Spec.(type) {
		case *fleet.Upstream:
			compareUpstream(t, "http", r.Metadata.Name, spec, b)
			if inStream(all, r.Metadata.Name) {
				compareUpstream(t, "stream", r.Metadata.Name, spec, b)
			}
		case *fleet.Stream:
			compareStream(t, r.Metadata.Name, spec, b)
		case *fleet.Split:
			compareSplit(t, r.Metadata.Name, spec, all, variables)
		}
	}
}

func inStream(all []fleet.Resource, upstream string) bool {
	return slices.ContainsFunc(all, func(r fleet.Resource) bool {
		s, ok := r.Spec.(*fleet.Stream)
		return ok && slices.ContainsFunc(s.Needs(), func(n fleet.Need) bool { return n.ID() == "Upstream/"+upstream })
	})
}

// block is what stands in a block: lines of words, with their order.
type block struct {
	words []string // that open it
	lines [][]string
}

// blocksOf reads a file that has blocks without blocks in them, as nginx's own
// reader would; crossplane has to agree that it is well formed.
func blocksOf(t *testing.T, b nginx.Bundle, path string) (all []block) {
	t.Helper()
	text := string(content(b, path))
	wellFormed(t, strings.TrimSuffix(path[:strings.IndexByte(path, '/')], ".d"), text)
	open := false
	for _, words := range tokenise(t, text) {
		switch {
		case words[0] == "}":
			open = false
		case !open:
			all, open = append(all, block{words: words}), true
		default:
			last := &all[len(all)-1]
			last.lines = append(last.lines, words)
		}
	}
	return all
}

// take removes the lines of a directive from a block, and gives their parameters.
func (b *block) take(name string) (found []string) {
	b.lines = slices.DeleteFunc(b.lines, func(words []string) bool {
		if words[0] == name {
			found = append(found, strings.Join(words[1:], " "))
		}
		return words[0] == name
	})
	return found
}

// want checks the parameters of a directive: one line of it each.
func (b *block) want(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := b.take(name); !slices.Equal(got, want) {
		t.Errorf("%q: %s is %q, want %q", b.words, name, got, want)
	}
}

// wantNothing checks that no line is left.
func (b *block) wantNothing(t *testing.T) {
	t.Helper()
	if len(b.lines) > 0 {
		t.Errorf("%q has %q", b.words, b.lines)
	}
}

func some(is bool, text string) []string {
	if is {
		return []string{text}
	}
	return nil
}

func compareUpstream(t *testing.T, context, name string, u *fleet.Upstream, b nginx.Bundle) {
	t.Helper()
	blocks := blocksOf(t, b, context+".d/upstream-"+name+".conf")
	if len(blocks) != 1 || !slices.Equal(blocks[0].words, []string{"upstream", name}) {
		t.Fatalf("upstream %s in %s is %q", name, context, blocks)
	}
	is := blocks[0]
	strategy := map[string]string{"leastConn": "least_conn", "ipHash": "ip_hash", "random": "random two least_conn"}[u.Strategy]
	if u.Hash != nil {
		key := map[string]string{"uri": "$request_uri", "host": "$host", "client": "$remote_addr", "header": "$http_" + strings.ToLower(strings.ReplaceAll(u.Hash.Name, "-", "_")),
			"cookie": "$cookie_" + u.Hash.Name}[u.Hash.By]
		if strategy = "hash " + key; u.Hash.Consistent {
			strategy += " consistent"
		}
	}
	if strategy != "" {
		if first := slices.IndexFunc(is.lines, func(words []string) bool { return words[0] != "zone" }); strings.Join(is.lines[first], " ") != strategy {
			t.Errorf("upstream %s begins with %q, want %q", name, is.lines[first], strategy)
		}
		is.take(strings.Fields(strategy)[0])
	}
	var servers []string
	for _, s := range u.Servers {
		line := s.Address
		for _, p := range []struct {
			is   bool
			text string
		}{{s.Weight > 1, fmt.Sprintf("weight=%d", s.Weight)}, {s.MaxConns > 0, fmt.Sprintf("max_conns=%d", s.MaxConns)}, {s.FailTimeout != "", "fail_timeout=" + s.FailTimeout},
			{s.Backup, "backup"}, {s.Down, "down"}} {
			if s.MaxFails != nil && p.text == "fail_timeout="+s.FailTimeout {
				line += fmt.Sprintf(" max_fails=%d", *s.MaxFails)
			}
			if p.is {
				line += " " + p.text
			}
		}
		servers = append(servers, line)
	}
	is.want(t, "server", servers...)
	if zones := is.take("zone"); len(zones) > 1 || len(zones) == 0 && len(servers) > 1 {
		t.Errorf("upstream %s has the zones %q", name, zones)
	}
	keeps := context == "http" && u.Keepalive > 0
	is.want(t, "keepalive", some(keeps, fmt.Sprint(u.Keepalive))...)
	is.want(t, "keepalive_timeout", some(keeps && u.KeepaliveTimeout != "", u.KeepaliveTimeout)...)
	is.want(t, "keepalive_requests", some(keeps && u.KeepaliveRequests > 0, fmt.Sprint(u.KeepaliveRequests))...)
	is.wantNothing(t)
}

func compareStream(t *testing.T, name string, s *fleet.Stream, b nginx.Bundle) {
	t.Helper()
	blocks := blocksOf(t, b, "stream.d/stream-"+name+".conf")
	to := s.Upstream
	if len(s.Routes) > 0 {
		chosen := blocks[0]
		if len(chosen.words) != 3 || chosen.words[0] != "map" || chosen.words[1] != "$ssl_preread_server_name" {
			t.Fatalf("stream %s is routed by %q", name, chosen.words)
		}
		to, blocks = chosen.words[2], blocks[1:]
		otherwise := s.Otherwise
		if otherwise == "" {
			otherwise = "fairlead.nowhere"
			if nowhere := blocksOf(t, b, "stream.d/nowhere.conf"); len(nowhere) != 1 || !slices.Equal(nowhere[0].words, []string{"upstream", otherwise}) || fmt.Sprint(nowhere[0].lines) != "[[server 127.0.0.1:1 down]]" {
				t.Errorf("nowhere is %q", nowhere)
			}
		}
		chosen.want(t, "hostnames", "")
		chosen.want(t, "default", otherwise)
		routes := map[string]string{}
		for _, words := range chosen.lines {
			if slices.Contains([]string{"include", "volatile"}, words[0]) || len(words) != 2 {
				t.Errorf("stream %s has the line %q", name, words)
			}
			routes[strings.TrimPrefix(words[0], `\`)] = words[len(words)-1]
		}
		if !maps.Equal(routes, s.Routes) || len(routes) != len(chosen.lines) {
			t.Errorf("stream %s has the routes %q, want %q", name, routes, s.Routes)
		}
	}
	if len(blocks) != 1 || !slices.Equal(blocks[0].words, []string{"server"}) {
		t.Fatalf("stream %s is %q", name, blocks)
	}
	is := blocks[0]
	var listens []string
	for _, l := range s.Listen {
		text := fmt.Sprintf("127.0.0.1:%d", l.Port)
		if l.Address != "" {
			text = netip.AddrPortFrom(netip.MustParseAddr(l.Address), uint16(l.Port)).String()
		}
		for _, p := range []struct {
			is   bool
			text string
		}{{s.Protocol == "udp", " udp reuseport"}, {s.TLS != nil, " ssl"}, {s.AcceptProxyProtocol, " proxy_protocol"}} {
			if p.is {
				text += p.text
			}
		}
		if !slices.Contains(listens, text) {
			listens = append(listens, text)
		}
	}
	is.want(t, "listen", listens...)
	is.want(t, "proxy_pass", to)
	is.want(t, "ssl_preread", some(len(s.Routes) > 0, "on")...)
	if s.TLS != nil {
		for name, ext := range map[string]string{"ssl_certificate": "crt", "ssl_certificate_key": "key"} {
			if got := is.take(name); len(got) != 1 || !strings.HasSuffix(got[0], "/ssl/"+s.TLS.Certificate+"."+ext) {
				t.Errorf("%s is %q", name, got)
			}
		}
		is.want(t, "ssl_protocols", "TLSv1.2 TLSv1.3")
	}
	is.want(t, "proxy_connect_timeout", orElse(s.ConnectTimeout, "10s"))
	is.want(t, "proxy_timeout", orElse(s.IdleTimeout, "10m"))
	is.want(t, "proxy_protocol", some(s.SendProxyProtocol, "on")...)
	is.want(t, "proxy_responses", some(s.Responses > 0, fmt.Sprint(s.Responses))...)
	is.wantNothing(t)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// variablesOf are the maps and draws of all files in http, by the variable
// that they make. None may be made twice.
func variablesOf(t *testing.T, b nginx.Bundle) map[string]block {
	t.Helper()
	all := map[string]block{}
	for _, f := range b.Files {
		if !strings.HasPrefix(f.Path, "http.d/split-") {
			continue
		}
		for _, is := range blocksOf(t, b, f.Path) {
			if len(is.words) != 3 || is.words[0] != "map" && is.words[0] != "split_clients" {
				t.Fatalf("%s has the block %q", f.Path, is.words)
			}
			if _, twice := all[is.words[2]]; twice {
				t.Errorf("%s is made twice, the second time in %s", is.words[2], f.Path)
			}
			all[is.words[2]] = is
		}
	}
	return all
}

// compareSplit asks the rendered variables as nginx would, for each visitor
// that the split tells apart.
func compareSplit(t *testing.T, name string, s *fleet.Split, all []fleet.Resource, variables map[string]block) {
	t.Helper()
	cookie, cookieName := "", ""
	if s.Sticky != nil && s.Sticky.By == "cookie" {
		cookieName = orElse(s.Sticky.Cookie, "fairlead_split")
		cookie = "$cookie_" + cookieName
	}
	lines, err := nginx.SplitLines("127.0.0.1", all, name)
	if err != nil || len(lines) != 1+len(some(cookie != "", "")) {
		t.Fatalf("%q, %v", lines, err)
	}
	variable := strings.TrimSuffix(strings.TrimPrefix(lines[len(lines)-1], "proxy_pass http://"), ";")
	key := map[bool]string{true: "$remote_addr", false: "$request_id"}[s.Sticky != nil && s.Sticky.By == "client"]
	v := visitor{t: t, variables: variables, name: name, key: key + " " + name}

	// Without anything a visitor goes where the draw says: each percent once.
	got := map[string]int{}
	for percent := range 100 {
		v.set, v.draw = map[string]string{}, percent
		got[v.value(variable)]++
	}
	want := map[string]int{}
	rest := 100
	for _, branch := range s.Branches {
		if branch.Percent != nil && *branch.Percent > 0 {
			want[branch.Upstream] = *branch.Percent
			rest -= *branch.Percent
		}
	}
	for _, branch := range s.Branches {
		if branch.Percent == nil && rest > 0 {
			want[branch.Upstream] = rest
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("split %s sends %v, want %v", name, got, want)
	}
	drawn := v.value(variable) // of the last draw

	// A visitor who is drawn gets a cookie, which keeps everybody on a branch,
	// also on one that draws nobody any more.
	if cookie != "" {
		gets := strings.TrimSuffix(strings.TrimPrefix(lines[0], "add_header Set-Cookie "), " always;")
		age := "86400"
		if s.Sticky.For != "" {
			d, err := time.ParseDuration(s.Sticky.For)
			if err != nil {
				t.Fatal(err)
			}
			age = fmt.Sprint(int(d.Seconds()))
		}
		id, rest, _ := strings.Cut(strings.TrimPrefix(v.value(gets), cookieName+"="), "; ")
		if rest != "Path=/; Max-Age="+age+"; HttpOnly; SameSite=Lax" {
			t.Errorf("split %s gives the cookie %q", name, v.value(gets))
		}
		v.set = map[string]string{cookie: id, "$https": "on"}
		if got := v.value(variable); got != drawn || v.value(gets) != "" {
			t.Errorf("split %s sends who was drawn for %s to %s, with another cookie %q", name, drawn, got, v.value(gets))
		}
		for _, branch := range s.Branches {
			v.set = map[string]string{cookie: v.cookieOf(variable, cookie, branch.Upstream)}
			if got := v.value(variable); got != branch.Upstream {
				t.Errorf("split %s sends a visitor of %s to %s", name, branch.Upstream, got)
			}
		}
		v.set = map[string]string{cookie: "forged", "$https": "on"}
		if got := v.value(variable); got != drawn || v.value(gets) != cookieName+"="+id+"; "+rest+"; Secure" {
			t.Errorf("split %s sends a forged cookie to %s, drawn is %s; it gets %q", name, got, drawn, v.value(gets))
		}
	}

	// Of the rules the first that matches counts, whatever the cookie says.
	for _, rule := range s.When {
		from := "$cookie_" + rule.Cookie
		if rule.Header != "" {
			from = "$http_" + strings.ToLower(strings.ReplaceAll(rule.Header, "-", "_"))
		}
		for value, matches := range map[string]bool{rule.Value: true, rule.Value + "x": false, strings.ToUpper(rule.Value) + "Y": false} {
			v.set = map[string]string{from: value}
			want := drawn
			if from == cookie { // which then is no sticky one
				want = ""
			}
			if matches {
				first := slices.IndexFunc(s.When, func(w fleet.SplitRule) bool {
					return w.Value == value && (w.Cookie != "" && "$cookie_"+w.Cookie == from || w.Header != "" && "$http_"+strings.ToLower(strings.ReplaceAll(w.Header, "-", "_")) == from)
				})
				want = s.When[first].Upstream
			}
			if got := v.value(variable); want != "" && got != want {
				t.Errorf("split %s sends %s=%q to %s, want %s", name, from, value, got, want)
			}
		}
	}
}

// cookieOf is the cookie that leads to a branch.
func (v visitor) cookieOf(variable, cookie, upstream string) string {
	for _, is := range v.variables {
		if is.words[0] != "map" || is.words[1] != cookie {
			continue
		}
		for _, words := range is.lines {
			v.set = map[string]string{cookie: words[0]}
			if words[0] != "default" && v.value(variable) == upstream {
				return words[0]
			}
		}
	}
	return ""
}

// visitor is a request, as far as splits see it.
type visitor struct {
	t         *testing.T
	variables map[string]block
	name, key string            // of the split, and of its draw
	set       map[string]string // headers and cookies
	draw      int               // 0 to 99
}

var interpolated = regexp.MustCompile(`\$\{?[A-Za-z0-9_]+\}?`)

// text puts the values of variables in the place of their names.
func (v visitor) text(s string) string {
	return interpolated.ReplaceAllStringFunc(s, func(name string) string { return v.value("$" + strings.Trim(name, "${}")) })
}

// value is a variable's, as nginx evaluates maps and draws.
func (v visitor) value(name string) string {
	is, ok := v.variables[name]
	if !ok {
		return v.set[name]
	}
	if is.words[0] == "split_clients" {
		if is.words[1] != v.key {
			v.t.Errorf("split %s is drawn by %q, want %q", v.name, is.words[1], v.key)
		}
		below := 0
		for _, words := range is.lines {
			percent := 100
			if words[0] != "*" {
				if _, err := fmt.Sscanf(words[0], "%d%%", &percent); err != nil {
					v.t.Fatal(err)
				}
			}
			if below += percent; v.draw < below {
				return words[1]
			}
		}
		return ""
	}
	from, otherwise := v.text(is.words[1]), ""
	for _, words := range is.lines {
		key, expression := strings.CutPrefix(words[0], "~")
		switch {
		case len(words) != 2:
			v.t.Fatalf("the map of %s has the line %q", name, words)
		case words[0] == "default":
			otherwise = words[1]
		case expression && regexp.MustCompile(key).MatchString(from), !expression && strings.EqualFold(key, from):
			return v.text(words[1])
		}
	}
	return v.text(otherwise)
}
