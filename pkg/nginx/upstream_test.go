package nginx_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestStrategiesChooseAsTheySay(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	with := func(revision uint64, u fleet.Upstream) {
		u.Servers = []fleet.Server{{Address: one.address}, {Address: two.address}}
		u.Keepalive, u.KeepaliveTimeout, u.KeepaliveRequests = 4, "30s", 10
		n.mustApply(revision, proxied("web", port, "app"), resource("app", &u))
	}
	for i, strategy := range []string{"roundRobin", "leastConn", "random"} {
		with(uint64(i+1), fleet.Upstream{Strategy: strategy})
		if got := n.servedBy(port, 40); got != "one two" {
			t.Errorf("%s is served by %q", strategy, got)
		}
	}
	with(4, fleet.Upstream{Strategy: "ipHash"})
	if got := n.servedBy(port, 20); strings.Contains(got, " ") || got == "" {
		t.Errorf("ipHash is served by %q", got)
	}
	for i, h := range []fleet.Hash{
		{By: "uri"}, {By: "client", Consistent: true}, {By: "host"}, {By: "header", Name: "X-User-ID", Consistent: true}, {By: "cookie", Name: "user_1"},
	} {
		with(uint64(i+5), fleet.Upstream{Strategy: "hash", Hash: &h})
		turns := h.Name != "" // requests without the header or cookie
		if got := n.servedBy(port, 20); strings.Contains(got, " ") != turns || got == "" {
			t.Errorf("hash by %s is served by %q", h.By, got)
		}
	}
	with(20, fleet.Upstream{Strategy: "hash", Hash: &fleet.Hash{By: "header", Name: "X-User-ID"}})
	var seen []string
	for _, user := range strings.Split("abcdefghijklmnop", "") {
		seen = append(seen, n.answerTo(t, port, http.Header{"X-User-Id": {user}}))
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 2 {
		t.Errorf("sixteen users are served by %v", seen)
	}
}

func TestServersOutForMaintenanceTakeNoRequests(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port, fails := n.freePort(), 2
	n.mustApply(1, proxied("web", port, "app"), resource("app", &fleet.Upstream{Servers: []fleet.Server{
		{Address: one.address, Down: true}, {Address: two.address, MaxFails: &fails, FailTimeout: "3s", MaxConns: 50, Weight: 2}}}))
	if got := n.servedBy(port, 10); got != "two" {
		t.Errorf("served by %q", got)
	}
	n.mustApply(2, proxied("web", port, "app"), resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: one.address, Down: true}}}))
	if got := n.get(port, "web.example.org", "/"); !strings.HasPrefix(got, "502 ") {
		t.Errorf("with all of them out: %q", got)
	}
}

// answerTo is the body of the answer to a request with headers.
func (n *node) answerTo(t *testing.T, port int, headers http.Header) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+n.address+":"+strconv.Itoa(port)+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Header = "web.example.org", headers
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 100)
	size, _ := resp.Body.Read(body)
	return string(body[:size])
}

// Whatever stands in an upstream or a stream: it is refused, or rendered with
// the same directives as harmless values.
func FuzzUpstreamsAndStreamsNeverBecomeSyntax(f *testing.F) {
	for _, s := range []string{"a.example.org", "x; } server {", "$host", "unix:/run/a b", "\n", "10s;", "default", "t"} {
		f.Add(s, s, s, s)
	}
	shapeOf := func(b nginx.Bundle) (names []string) {
		for _, path := range []string{"http.d/upstream-u.conf", "stream.d/upstream-u.conf", "stream.d/stream-s.conf"} {
			for _, d := range tokenise(f, string(content(b, path))) {
				if strings.HasPrefix(path, "stream.d/stream-") && len(d) == 2 && (d[1] == "u") && d[0] != "default" && d[0] != "proxy_pass" {
					d[0] = "NAME"
				}
				names = append(names, d[0])
			}
		}
		return names
	}
	render := func(validated bool, address, key, duration, name string) (nginx.Bundle, error) {
		resources := []fleet.Resource{proxied("h", 80, "u"),
			resource("u", &fleet.Upstream{Servers: []fleet.Server{{Address: "127.0.0.1:1"}, {Address: address, FailTimeout: duration}},
				Strategy: "leastConn", Keepalive: 1, KeepaliveTimeout: duration}),
			resource("v", &fleet.Upstream{Servers: []fleet.Server{{Address: "127.0.0.1:1"}}, Strategy: "hash", Hash: &fleet.Hash{By: "header", Name: key}}),
			resource("w", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 81}}, ServerNames: []string{"w"}, Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Upstream: "v"}}}}),
			streamOf("s", &fleet.Stream{Listen: []fleet.StreamListen{{Port: 82}}, Routes: map[string]string{name: "u"}, IdleTimeout: duration, ConnectTimeout: duration})}
		if validated {
			return nginx.Render("127.0.0.1", resources)
		}
		return nginx.RenderUnvalidated("127.0.0.1", resources)
	}
	plain, err := render(true, "127.0.0.2:80", "X-User", "3s", "a.example.org")
	if err != nil {
		f.Fatal(err)
	}
	want := shapeOf(plain)
	f.Fuzz(func(t *testing.T, address, key, duration, name string) {
		for _, validated := range []bool{true, false} {
			b, err := render(validated, address, key, duration, name)
			if err != nil {
				continue // refused, which is always safe
			}
			got := shapeOf(b)
			if duration == "" || !slices.Equal(got, want) {
				if duration == "" && len(got) <= len(want) {
					continue
				}
				t.Errorf("%q %q %q %q: directives %q, want %q", address, key, duration, name, got, want)
			}
			if hash := tokenise(t, string(content(b, "http.d/upstream-v.conf"))); len(hash) != 4 {
				t.Errorf("key %q gives %q", key, hash)
			}
		}
	})
}
