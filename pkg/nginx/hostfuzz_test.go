package nginx_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
)

// hostile is what people and attackers put into texts.
var hostile = []string{"", "plain", "a b", `"`, "'", `\`, "${x}", "$host", "$1", "a;b", "}", "{", "a.com; } server {", "# no", "\n", "\t", "\x00", "ü", "\xff",
	"off", "all", "/", "/a/../b", "/x$1", "=404", "$uri", "~.", "default", "*", "10.0.0.0/8", "::1", "64k", "30s", "x:1", "@a", "unix:/x", "TLSv1.3", strings.Repeat("a", 300)}

// Whatever a host says: if it is accepted, what it renders to parses, and has
// the servers, names, ports and locations that the host has.
func FuzzAcceptedHostsRenderToWhatTheySay(f *testing.F) {
	c := anyCertificate(f)
	for seed := range uint64(300) {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, seed uint64, extra string) {
		h := randomHost(rand.New(rand.NewPCG(seed, 7)), []int{80, 443}, append(slices.Clone(hostile), extra))
		b, err := nginx.Render("127.0.0.1", withNeeds(h, c))
		if err != nil {
			t.Fatalf("accepted, and not rendered: %v", err)
		}
		text := string(content(b, "http.d/virtualhost-h.conf"))
		compare(t, h, serversOf(t, text), text)
	})
}

// The renderer's own check does not trust that anybody validated: any text in
// any field is refused there too, or stays a text.
func FuzzUnvalidatedTextsNeverBecomeSyntax(f *testing.F) {
	c := anyCertificate(f)
	for i, text := range hostile {
		for seed := range uint64(20) {
			f.Add(seed, uint(i*7)+uint(seed), text)
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, field uint, text string) {
		h := randomHost(rand.New(rand.NewPCG(seed, 9)), []int{80, 443}, []string{"plain"})
		var texts []reflect.Value
		textsOf(reflect.ValueOf(h).Elem(), &texts)
		texts[field%uint(len(texts))].SetString(text)
		b, err := nginx.RenderUnvalidated("127.0.0.1", withNeeds(h, c))
		if err != nil {
			return
		}
		rendered := string(content(b, "http.d/virtualhost-h.conf"))
		compare(t, h, serversOf(t, rendered), rendered)
	})
}

func TestAcceptedHostsPassRealNginx(t *testing.T) {
	n, c := newNode(t), anyCertificate(t)
	ports := []int{n.freePort(), n.freePort()}
	for seed := range uint64(12) {
		h := randomHost(rand.New(rand.NewPCG(seed, 8)), ports, hostile)
		if _, err := n.apply(seed+1, withNeeds(h, c)...); err != nil {
			b, _ := nginx.Render(n.address, withNeeds(h, c))
			t.Errorf("seed %d: %v\n%s", seed, err, content(b, "http.d/virtualhost-h.conf"))
		}
	}
}

// withNeeds is a host with all that it may name.
func withNeeds(h *fleet.VirtualHost, c fleet.Resource) []fleet.Resource {
	up := func(port int) *fleet.Upstream {
		return &fleet.Upstream{Servers: []fleet.Server{{Address: fmt.Sprintf("127.0.0.1:%d", port)}}}
	}
	all := []fleet.Resource{resource("h", h), resource("app", up(9)), resource("b", up(10)),
		resource("s", &fleet.Split{Branches: []fleet.Branch{{Upstream: "app"}, {Upstream: "b", Percent: new(int)}}}),
		resource("p", &fleet.Policy{RateLimit: &fleet.RateLimit{Rate: "10r/s"}, Addresses: []fleet.AddressRule{{Deny: "192.0.2.1"}}})}
	if h.TLS != nil {
		all = append(all, c)
	}
	return all
}

// anyCertificate may be used by every host.
func anyCertificate(t testing.TB) fleet.Resource {
	r := certificate("c", certtest.New(t).Issue("h.example.org"))
	r.Spec.(*fleet.Certificate).AllowNames = true
	return r
}

// randomHost has features by chance, and in some fields what is hostile, as
// long as it is accepted.
func randomHost(r *rand.Rand, ports []int, hostile []string) *fleet.VirtualHost {
	maybe := func() bool { return r.IntN(3) == 0 }
	h := &fleet.VirtualHost{ServerNames: []string{"h.example.org", "*.h.example.org"}, Listen: []fleet.Listen{{Port: ports[0]}},
		Headers: map[string]string{"X-A": "a"}, Policies: []string{}}
	if maybe() {
		h.Listen = append(h.Listen, fleet.Listen{Port: ports[1], TLS: true, HTTP2: maybe()})
		h.TLS = &fleet.TLS{Certificate: "c", HSTS: &fleet.HSTS{MaxAge: "1h"}, Ciphers: []string{"HIGH", "!aNULL"}}
		if maybe() {
			h.TLS.RedirectHTTP = 301
		}
	}
	if maybe() {
		h.ServerNames = []string{"_"}
		h.Listen[0].ProxyProtocol = &fleet.ProxyProtocol{From: []string{"10.0.0.0/8", "::1"}}
	}
	if maybe() {
		h.Policies = append(h.Policies, "p")
	}
	if maybe() {
		h.Limits = &fleet.Limits{MaxBodySize: "1m", HeaderTimeout: "9s", HeaderBuffers: &fleet.HeaderBuffers{Number: 4, Size: "8k"}}
	}
	shared := func() (*fleet.BasicAuth, *fleet.CORS, *fleet.Gzip, *fleet.Log, []fleet.ErrorPage, []fleet.Rewrite, []fleet.AddressRule) {
		var a *fleet.BasicAuth
		var c *fleet.CORS
		var g *fleet.Gzip
		var l *fleet.Log
		var e []fleet.ErrorPage
		var w []fleet.Rewrite
		var x []fleet.AddressRule
		if maybe() {
			a = &fleet.BasicAuth{Realm: "r", Users: []fleet.User{{Name: "alice", Hash: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="}}}
		}
		if maybe() {
			c = &fleet.CORS{Origins: []string{"https://a.example"}, Methods: []string{"PUT"}, Headers: []string{"X-T"}, Credentials: maybe(), MaxAge: "5m"}
		}
		if maybe() {
			g = &fleet.Gzip{Types: []string{"text/css"}, Level: 3, MinLength: "1k"}
		}
		if maybe() {
			l = &fleet.Log{Format: "json", Fields: []string{"status", "uri"}, Percent: r.IntN(101)}
		}
		if maybe() {
			e = []fleet.ErrorPage{{Codes: []int{404, 502}, Text: "gone"}, {Codes: []int{403}, Path: "/403"}}
		}
		if maybe() {
			w = []fleet.Rewrite{{Match: `^/r/(\d+)$`, To: "/x/$1?y=z", Flag: "break"}}
		}
		if maybe() {
			x = []fleet.AddressRule{{Allow: "10.0.0.0/8"}, {Deny: "all"}}
		}
		return a, c, g, l, e, w, x
	}
	h.BasicAuth, h.CORS, h.Gzip, h.Log, h.ErrorPages, h.Rewrites, h.Access = shared()
	for i := range 1 + r.IntN(6) {
		l := fleet.Location{Path: fmt.Sprintf("/l%d/", i), Headers: map[string]string{"X-B": "b"}}
		if maybe() {
			l.Headers = nil
		}
		l.BasicAuth, l.CORS, l.Gzip, l.Log, l.ErrorPages, l.Rewrites, l.Access = shared()
		switch r.IntN(6) {
		case 0:
			l.Return, l.Rewrites = &fleet.Return{Code: 200, Text: "text"}, nil
		case 1:
			l.Redirect, l.Rewrites = &fleet.Redirect{To: "/to", KeepPath: maybe()}, nil
		case 2:
			l.Root, l.TryFiles, l.Index = "/srv/www", []string{"$uri", "$uri/", "=404"}, []string{"i.html"}
		case 3:
			l.Alias = "/srv/other/"
		case 4:
			l.Proxy = &fleet.Proxy{Upstream: "app", Headers: map[string]string{"X-C": "c"}, HideHeaders: []string{"X-D"}, Timeouts: &fleet.Timeouts{Read: "5s"},
				Buffering: &fleet.Buffering{Buffers: 8, Size: "8k"}, NextUpstream: &fleet.NextUpstream{On: []string{"error"}, Tries: 2}}
			l.Cache = &fleet.Cache{Valid: []fleet.CacheValid{{Time: "1m"}}, Key: []string{"host", "uri", "cookie:a"}, Bypass: []string{"header:X-E"}, Lock: true, StatusHeader: true}
		case 5:
			l.Proxy, l.Match, l.Path = &fleet.Proxy{Split: "s", Scheme: "https", Websocket: true}, "regex", fmt.Sprintf(`^/re%d/(a|b)$`, i)
		}
		h.Locations = append(h.Locations, l)
	}
	for range 20 {
		var texts []reflect.Value
		textsOf(reflect.ValueOf(h).Elem(), &texts)
		at := texts[r.IntN(len(texts))]
		was := at.String()
		at.SetString(hostile[r.IntN(len(hostile))])
		if len(resource("h", h).Validate()) > 0 || !known(h) {
			at.SetString(was)
		}
	}
	return h
}

// known says whether everything that the host names is there.
func known(h *fleet.VirtualHost) bool {
	for _, n := range h.Needs() {
		if !slices.Contains([]string{"Upstream/app", "Split/s", "Policy/p", "Certificate/c"}, n.ID()) {
			return false
		}
	}
	return h.TLS == nil || slices.Equal(h.ServerNames, []string{"_"}) || slices.Equal(h.ServerNames, []string{"h.example.org", "*.h.example.org"})
}

// textsOf are the texts that can be set, at any depth but in maps.
func textsOf(v reflect.Value, all *[]reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		*all = append(*all, v)
	case reflect.Pointer:
		if !v.IsNil() {
			textsOf(v.Elem(), all)
		}
	case reflect.Slice:
		for i := range v.Len() {
			textsOf(v.Index(i), all)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			textsOf(v.Field(i), all)
		}
	}
}

// wellFormed parses what stands in a context, as nginx 1.22 gets it.
func wellFormed(t *testing.T, context, text string) crossplane.Directives {
	t.Helper()
	p, err := crossplane.Parse("nginx.conf", &crossplane.ParseOptions{SingleFile: true, StopParsingOnError: true,
		Open: func(string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte(context + " {\n" + nginx.FilledText(text) + "\n}\n"))), nil
		}})
	if err != nil || len(p.Config) != 1 || len(p.Errors) > 0 || len(p.Config[0].Parsed) != 1 {
		t.Fatalf("%v %+v\n%s", err, p, text)
	}
	return p.Config[0].Parsed[0].Block
}

// serversOf are the servers among what stands in http.
func serversOf(t *testing.T, text string) []*crossplane.Directive {
	t.Helper()
	var servers []*crossplane.Directive
	for _, d := range wellFormed(t, "http", text) {
		switch d.Directive {
		case "server":
			servers = append(servers, d)
		case "map", "log_format", "split_clients", "proxy_cache_path", "#":
		default:
			t.Errorf("%s %q stands in http\n%s", d.Directive, d.Args, text)
		}
	}
	return servers
}

// compare holds the servers against the host.
func compare(t *testing.T, h *fleet.VirtualHost, servers []*crossplane.Directive, text string) {
	t.Helper()
	want := 1
	if h.TLS != nil && h.TLS.RedirectHTTP != 0 {
		want = 2
	}
	if len(servers) != want {
		t.Fatalf("%d servers, want %d\n%s", len(servers), want, text)
	}
	var listens, locations, wantListens, wantLocations []string
	for _, s := range servers {
		for _, d := range s.Block {
			switch {
			case d.Directive == "listen":
				listens = append(listens, fmt.Sprint(d.Args[0], slices.Contains(d.Args, "ssl"), slices.Contains(d.Args, "http2"), slices.Contains(d.Args, "proxy_protocol")))
			case d.Directive == "server_name" && !slices.Equal(d.Args, h.ServerNames):
				t.Errorf("names %q, want %q", d.Args, h.ServerNames)
			case d.Directive == "location" && !strings.HasPrefix(d.Args[0], "@fairlead_"):
				locations = append(locations, strings.Join(d.Args, " "))
			}
		}
	}
	for _, l := range h.Listen {
		address := l.Address
		if address == "" {
			address = "127.0.0.1"
		}
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		wantListens = append(wantListens, fmt.Sprint(fmt.Sprintf("%s:%d", address, l.Port), l.TLS, l.HTTP2, l.ProxyProtocol != nil))
	}
	for _, l := range h.Locations {
		wantLocations = append(wantLocations, map[string]string{"regex": "~ ", "exact": "= "}[l.Match]+l.Path)
	}
	slices.Sort(listens)
	slices.Sort(wantListens)
	if !slices.Equal(listens, wantListens) || !slices.Equal(locations, wantLocations) {
		t.Errorf("listens %q, want %q; locations %q, want %q\n%s", listens, wantListens, locations, wantLocations, text)
	}
}
