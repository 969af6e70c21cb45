package nginx_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

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
