package nginx_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestQuotedTextIsServedByteForByte(t *testing.T) {
	texts := map[string]string{
		"syntax":    "$host ${host} $1 ; { } \" ' \\ \\n \\\" # // \n\r\n\ttabs\n",
		"dollars":   "$$ $fairlead_dollar ${fairlead_dollar} $",
		"backslash": `ends with \`,
		"holders":   nginx.Placeholders,
		"bytes":     allBytes(),
		"long":      strings.Repeat("0123456789$\"\\\n", 250),
	}
	n := newNode(t)
	port := n.freePort()
	host := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"t.example.org"},
		Headers: map[string]string{"X-Host": `$host; "q" 'r' \ {} ${x}`}}
	for name, text := range texts {
		host.Locations = append(host.Locations,
			fleet.Location{Path: "/" + name + ".html", Match: "exact", Return: &fleet.Return{Code: 203, Text: text, ContentType: "text/x-test; charset=utf-8"}})
	}
	b, err := nginx.RenderUnvalidated(n.address, []fleet.Resource{resource("t", host)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context(), 1, b); err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		resp, body, err := n.fetch(port, "t.example.org", "/"+name+".html")
		if err != nil {
			t.Fatal(err)
		}
		if body != text || resp.StatusCode != 203 || resp.Header.Get("Content-Type") != "text/x-test; charset=utf-8" {
			t.Errorf("%s: got %s %q of type %q\nwant %q", name, resp.Status, body, resp.Header.Get("Content-Type"), text)
		}
		if got := resp.Header.Get("X-Host"); got != host.Headers["X-Host"] {
			t.Errorf("header is %q", got)
		}
	}
}

func TestEveryKindOfLocationWorks(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s host=%s proto=%s for=%t extra=%s conn=%q", r.Proto, r.Host, r.Header.Get("X-Forwarded-Proto"),
			r.Header.Get("X-Forwarded-For") != "", r.Header.Get("X-Extra"), r.Header.Get("Connection"))
	}))
	defer backend.Close()
	n := newNode(t)
	port := n.freePort()
	www := filepath.Join(filepath.Dir(n.cfg.State), "www")
	if err := os.MkdirAll(filepath.Join(www, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(www, "files", "index.htm"), []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.mustApply(1,
		resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: backend.Listener.Addr().String()}}, Strategy: "leastConn", Keepalive: 4}),
		resource("all", &fleet.VirtualHost{
			Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"_"}, Headers: map[string]string{"X-Base": "b", "X-Who": "host"},
			Locations: []fleet.Location{
				{Path: "/", Return: &fleet.Return{Code: 404, Text: "no"}},
				{Path: "/files", Root: www, Index: []string{"index.htm"}, Headers: map[string]string{"x-who": "location"}},
				{Path: "/app", Proxy: &fleet.Proxy{Upstream: "app", Headers: map[string]string{"X-Extra": "5;"}}},
				{Path: `^/n/\d{2}$`, Match: "regex", Return: &fleet.Return{Code: 200, Text: "two digits"}},
				{Path: "/r", Redirect: &fleet.Redirect{To: "https://else.example.org/", Code: 308, KeepPath: true}},
				{Path: "/s", Match: "exact", Redirect: &fleet.Redirect{To: "/t"}},
			}}))
	for path, want := range map[string]string{
		"/files/": "200 a file",
		"/app/x":  `200 HTTP/1.1 host=name.example.org proto=http for=true extra=5; conn=""`,
		"/n/42":   "200 two digits",
		"/n/421":  "404 no",
	} {
		if got := n.get(port, "name.example.org", path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{"/r/a?b=c": "308 https://else.example.org/r/a?b=c", "/s": "302 /t"} {
		resp, _, err := n.fetch(port, "x", path)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location")); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	resp, _, err := n.fetch(port, "x", "/files/")
	if err != nil || resp.Header.Get("X-Base") != "b" || strings.Join(resp.Header.Values("X-Who"), ",") != "location" {
		t.Errorf("headers %v, %v", resp.Header, err)
	}
}

func TestEveryAddressIncludesIPv6(t *testing.T) {
	n := newNode(t)
	n.address = ""
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	n.mustApply(1, site("web", port, "hello"))
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		n.address = address
		if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestAccessLogReachesTheSyslogSocket(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.get(port, "web.example.org", "/unheard") // nobody listens yet, and nothing breaks
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.cfg.SyslogSocket(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := os.Chmod(n.cfg.SyslogSocket(), 0o666); err != nil {
		t.Fatal(err)
	}
	n.get(port, "web.example.org", "/heard")
	line := make([]byte, 4096)
	size, err := conn.Read(line)
	if err == nil && strings.Contains(string(line[:size]), "/unheard") { // nginx logs after it has answered
		size, err = conn.Read(line)
	}
	if err != nil || !strings.Contains(string(line[:size]), `"GET /heard HTTP/1.1" 200 5`) {
		t.Errorf("got %q, %v", line[:size], err)
	}
}

// allBytes is every byte but NUL, which no configuration file may have.
func allBytes() string {
	var all []byte
	for b := 1; b < 256; b++ {
		all = append(all, byte(b))
	}
	return string(all)
}
