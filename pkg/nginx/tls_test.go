package nginx_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
)

// secure is a host on two ports: TLS, and plain for redirects.
func (n *node) secure(tlsPort, plainPort int, t *fleet.TLS) *fleet.VirtualHost {
	return &fleet.VirtualHost{ServerNames: []string{"h.example.org"}, TLS: t,
		Listen:    []fleet.Listen{{Port: tlsPort, TLS: true, HTTP2: true}, {Port: plainPort}},
		Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: "secret"}}, {Path: "/own", Headers: map[string]string{"X-Own": "1"}, Return: &fleet.Return{Code: 200, Text: "own"}}}}
}

func TestTLSHostServesItsCertificateAndSendsPlainClientsThere(t *testing.T) {
	n := newNode(t)
	authority := certtest.New(t)
	port, plain := n.freePort(), n.freePort()
	n.mustApply(1, certificate("c", authority.Issue("h.example.org")), resource("h", n.secure(port, plain, &fleet.TLS{Certificate: "c", RedirectHTTP: 308,
		Ciphers: []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"}, HSTS: &fleet.HSTS{MaxAge: "8760h", IncludeSubDomains: true, Preload: true}})))
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{ServerName: "h.example.org", RootCAs: authority.Pool()}}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/", "/own"} {
		req, err := http.NewRequest("GET", "https://"+n.listen(port)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "h.example.org"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains; preload" || resp.ProtoMajor != 2 {
			t.Errorf("%s: %s, HSTS %q", path, resp.Proto, got)
		}
	}
	got := n.send("GET", plain, "/a%20b?c=d")
	if want := fmt.Sprintf("https://h.example.org:%d/a%%20b?c=d", port); got.status != 308 || got.header.Get("Location") != want || got.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("plain: %+v, want %s", got, want)
	}
	conn, err := tls.Dial("tcp", n.listen(port), &tls.Config{ServerName: "other.example.org", InsecureSkipVerify: true})
	if err == nil {
		conn.Close()
		t.Error("a name that nobody owns gets a certificate")
	}
	conn, err = tls.Dial("tcp", n.listen(port), &tls.Config{ServerName: "h.example.org", RootCAs: authority.Pool(), MaxVersion: tls.VersionTLS12})
	if err != nil || conn.ConnectionState().CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 {
		t.Fatalf("TLS 1.2: %v", err)
	}
	conn.Close()
}

func TestHSTSIsNotSentWithoutTLS(t *testing.T) {
	n := newNode(t)
	port, plain := n.freePort(), n.freePort()
	n.mustApply(1, certificate("c", certtest.New(t).Issue("h.example.org")),
		resource("h", n.secure(port, plain, &fleet.TLS{Certificate: "c", Versions: []string{"TLSv1.3"}, HSTS: &fleet.HSTS{MaxAge: "1h"}})))
	if got := n.send("GET", plain, "/"); got.status != 200 || got.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("plain: %+v", got)
	}
	if conn, err := tls.Dial("tcp", n.listen(port), &tls.Config{ServerName: "h.example.org", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken where only 1.3 is wanted")
	}
	conn, err := tls.Dial("tcp", n.listen(port), &tls.Config{ServerName: "h.example.org", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h.example.org\r\nConnection: close\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.Header.Get("Strict-Transport-Security") != "max-age=3600" {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestUpstreamsOverTLSAreVerifiedByName(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	authority := certtest.New(t)
	pair := authority.Issue("up.example.org")
	keys, err := tls.X509KeyPair(pair.Chain, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{keys}}
	s.StartTLS()
	defer s.Close()
	ca := string(certtest.PEM(authority.Root))
	proxy := func(path string, t *fleet.ProxyTLS) fleet.Location {
		return fleet.Location{Path: path, Proxy: &fleet.Proxy{Upstream: "app", Scheme: "https", TLS: t}}
	}
	n.mustApply(1, resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: s.Listener.Addr().String()}}}), resource("h", n.host(port,
		proxy("/good", &fleet.ProxyTLS{Name: "up.example.org", Verify: true, CA: ca}),
		proxy("/wrong", &fleet.ProxyTLS{Name: "down.example.org", Verify: true, CA: ca}),
		proxy("/stranger", &fleet.ProxyTLS{Name: "up.example.org", Verify: true}),
		proxy("/any", nil))))
	for path, want := range map[string]string{"/good": "200 up.example.org", "/wrong": "502", "/stranger": "502", "/any": "200 h.example.org"} {
		if got := n.get(port, "h.example.org", path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestKeptConnectionsAreNotSharedAcrossWaysOfTLS(t *testing.T) {
	h := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 80}}, ServerNames: []string{"h.example.org"}, Locations: []fleet.Location{
		{Path: "/a", Proxy: &fleet.Proxy{Upstream: "app", Scheme: "https"}},
		{Path: "/b", Proxy: &fleet.Proxy{Upstream: "app", Scheme: "https", TLS: &fleet.ProxyTLS{Name: "up.example.org", Verify: true}}}}}
	up := &fleet.Upstream{Servers: []fleet.Server{{Address: "127.0.0.1:9"}}, Keepalive: 8}
	_, err := nginx.Render("", []fleet.Resource{resource("h", h), resource("app", up)})
	if err == nil || !strings.Contains(err.Error(), "VirtualHost/h: spec.locations[1].proxy: speaks to Upstream/app with") {
		t.Error(err)
	}
	up.Keepalive = 0
	if _, err := nginx.Render("", []fleet.Resource{resource("h", h), resource("app", up)}); err != nil {
		t.Error(err)
	}
}

func TestProxyProtocolIsBelievedFromLoadBalancersAlone(t *testing.T) {
	n := newNode(t)
	port, other := n.freePort(), n.freePort()
	h := n.host(port, fleet.Location{Path: "/", Return: &fleet.Return{Code: 200, Text: "in"}, Access: []fleet.AddressRule{{Allow: "192.0.2.7"}, {Deny: "all"}}})
	h.Listen = []fleet.Listen{{Port: port, ProxyProtocol: &fleet.ProxyProtocol{From: []string{"127.0.0.0/8"}}}}
	strict := n.host(other, h.Locations...)
	strict.Listen = []fleet.Listen{{Port: other, ProxyProtocol: &fleet.ProxyProtocol{From: []string{"10.0.0.0/8"}}}}
	n.mustApply(1, resource("h", h), resource("strict", strict))
	for _, c := range []struct {
		port   int
		client string
		status int
	}{{port, "192.0.2.7", 200}, {port, "192.0.2.8", 403}, {other, "192.0.2.7", 403}} {
		conn, err := net.Dial("tcp", n.listen(c.port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 1234 80\r\nGET / HTTP/1.1\r\nHost: h.example.org\r\nConnection: close\r\n\r\n", c.client)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s on %d: %v, %v", c.client, c.port, resp, err)
		}
		conn.Close()
	}
}

func TestHostsOfAListenerSayTheSameOfIt(t *testing.T) {
	host := func(name string, change func(*fleet.VirtualHost)) fleet.Resource {
		r := site(name, 443, "x")
		change(r.Spec.(*fleet.VirtualHost))
		return r
	}
	overTLS := func(h *fleet.VirtualHost) { h.Listen[0].TLS, h.TLS = true, &fleet.TLS{Certificate: "c"} }
	pair := certificate("c", certtest.New(t).Issue("a.example.org", "b.example.org"))
	for name, change := range map[string]func(*fleet.VirtualHost){
		"without tls":                           func(*fleet.VirtualHost) {},
		"with tls (TLSv1.3)":                    func(h *fleet.VirtualHost) { overTLS(h); h.TLS.Versions = []string{"TLSv1.3"} },
		"with tls (TLSv1.2, TLSv1.3) and http2": func(h *fleet.VirtualHost) { overTLS(h); h.Listen[0].HTTP2 = true },
		"and proxyProtocol": func(h *fleet.VirtualHost) {
			overTLS(h)
			h.Listen[0].ProxyProtocol = &fleet.ProxyProtocol{From: []string{"10.0.0.0/8"}}
		},
	} {
		_, err := nginx.Render("", []fleet.Resource{pair, host("a", overTLS), host("b", change)})
		want := "VirtualHost/b: spec.listen[0]: VirtualHost/a listens on 0.0.0.0:443 with tls (TLSv1.2, TLSv1.3), this is "
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := nginx.Render("", []fleet.Resource{pair, host("a", overTLS), host("b", overTLS)}); err != nil {
		t.Error(err)
	}
}

func TestLogsGoWhereTheyAreSent(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	quiet, json := say("/quiet", "x"), say("/json", "x")
	quiet.Log = &fleet.Log{Target: "off"}
	json.Log = &fleet.Log{Target: "file", Format: "json", Fields: []string{"status", "request_uri"}}
	sampled := say("/sampled", "x")
	sampled.Log = &fleet.Log{Percent: 50}
	h := n.host(port, quiet, json, sampled, say("/plain", "x"))
	h.Log = &fleet.Log{Target: "file", Fields: []string{"remote_addr", "request_uri"}}
	n.mustApply(1, resource("h", h))
	for _, path := range []string{"/quiet", "/plain", "/json?a=%22", "/sampled"} {
		n.send("GET", port, path)
	}
	want := "\"127.0.0.1\" \"/plain\"\n{\"status\":\"200\",\"request_uri\":\"/json?a=%22\"}\n"
	// nginx answers before it logs, and different workers in any order.
	path := filepath.Join(n.cfg.Logs, "h.access.log")
	eventually(t, "both lines are there", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && len(text) >= len(want)
	})
	text, err := os.ReadFile(path)
	lines := slices.Sorted(strings.Lines(string(text)))
	if err != nil || strings.Join(lines, "") != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
}
