package nginx_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

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
