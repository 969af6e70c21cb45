package nginx_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"fairlead/pkg/fleet"
)

// answer is what a request got; header is without the hop's own.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request with headers given as "Name: value".
func (n *node) send(method string, port int, path string, headers ...string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://%s:%d%s", n.address, port, path), strings.NewReader(body(method)))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = "h.example.org"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := direct.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func body(method string) string {
	if method == http.MethodPost {
		return "five!"
	}
	return ""
}

// host is one host with these locations.
func (n *node) host(port int, locations ...fleet.Location) *fleet.VirtualHost {
	return &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"h.example.org"}, Locations: locations}
}

// application answers what it was asked, and counts.
func application(t *testing.T) (fleet.Resource, *atomic.Int32) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		w.Header().Set("X-Secret", "s")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "%d %s %s", n, r.RequestURI, r.Header.Get("X-Extra"))
	}))
	t.Cleanup(s.Close)
	return resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: s.Listener.Addr().String()}}}), &asked
}

func say(path, text string) fleet.Location {
	return fleet.Location{Path: path, Return: &fleet.Return{Code: 200, Text: text}}
}

func TestPasswordsAndAddressesGuardReturnsToo(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	users := &fleet.BasicAuth{Realm: "shop", Users: []fleet.User{
		{Name: "alice", Hash: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="},                            // secret
		{Name: "bob", Hash: "$apr1$hUTTN4Uj$EzMsHRqWLaVaNhTVEyNKD."},                          // wrong on purpose
		{Name: "carol", Hash: "$2y$05$abcdefghijklmnopqrstuuGHrXqs6sV0zZ1fJ2N0Y3T0u3Vb8m9mK"}, // never asked
	}}
	secret, closed, open, redirected := say("/secret", "in"), say("/closed", "in"), say("/open", "in"), fleet.Location{Path: "/go", Redirect: &fleet.Redirect{To: "/there"}}
	closed.Access = []fleet.AddressRule{{Deny: "127.0.0.0/8"}, {Allow: "all"}}
	closed.Headers = map[string]string{"X-Where": "closed"}
	open.BasicAuth = &fleet.BasicAuth{Off: true}
	h := n.host(port, secret, closed, open, redirected)
	h.BasicAuth = users
	h.ErrorPages = []fleet.ErrorPage{{Codes: []int{403}, Text: "not you"}}
	n.mustApply(1, resource("h", h))
	for _, c := range []struct {
		path, auth string
		status     int
		body       string
	}{
		{"/secret", "", 401, ""}, {"/secret", "alice:secret", 200, "in"}, {"/secret", "alice:wrong", 401, ""}, {"/secret", "bob:secret", 401, ""},
		{"/go", "", 401, ""}, {"/go", "alice:secret", 302, ""},
		{"/open", "", 200, "in"}, {"/closed", "alice:secret", 403, "not you"},
	} {
		var headers []string
		if c.auth != "" {
			req, _ := http.NewRequest("GET", "/", nil)
			req.SetBasicAuth(strings.Split(c.auth, ":")[0], strings.Split(c.auth, ":")[1])
			headers = append(headers, "Authorization: "+req.Header.Get("Authorization"))
		}
		got := n.send("GET", port, c.path, headers...)
		if got.status != c.status || c.body != "" && got.body != c.body {
			t.Errorf("%s as %q: %d %q, want %d %q", c.path, c.auth, got.status, got.body, c.status, c.body)
		}
		if c.path == "/closed" && got.header.Get("X-Where") != "closed" {
			t.Errorf("the error page lacks the location's header: %v", got.header)
		}
	}
}

func TestCORSAnswersOnlyOriginsThatAreNamed(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	app, asked := application(t)
	api := fleet.Location{Path: "/api", Proxy: &fleet.Proxy{Upstream: "app"}, Headers: map[string]string{"X-Own": "1"},
		CORS: &fleet.CORS{Origins: []string{"https://shop.example.org", "http://localhost:3000"}, Methods: []string{"GET", "PUT"},
			Headers: []string{"X-Token"}, ExposeHeaders: []string{"X-Own"}, Credentials: true, MaxAge: "10m"}}
	open := say("/open", "x")
	open.CORS = &fleet.CORS{Origins: []string{"*"}}
	h := n.host(port, api, open)
	h.Headers = map[string]string{"X-Host": "h"}
	n.mustApply(1, app, resource("h", h))

	got := n.send("OPTIONS", port, "/api/x", "Origin: https://shop.example.org", "Access-Control-Request-Method: PUT")
	want := map[string]string{"Access-Control-Allow-Origin": "https://shop.example.org", "Access-Control-Allow-Methods": "GET, PUT",
		"Access-Control-Allow-Headers": "X-Token", "Access-Control-Max-Age": "600", "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
	for name, value := range want {
		if got.header.Get(name) != value {
			t.Errorf("preflight: %s is %q, want %q", name, got.header.Get(name), value)
		}
	}
	if got.status != 204 || asked.Load() != 0 {
		t.Errorf("preflight: %d, the upstream was asked %d times", got.status, asked.Load())
	}
	got = n.send("GET", port, "/api/x", "Origin: https://shop.example.org")
	if v := got.header.Values("Access-Control-Allow-Origin"); len(v) != 1 || v[0] != "https://shop.example.org" || got.header.Get("Access-Control-Allow-Methods") != "" ||
		got.header.Get("X-Own") != "1" || got.header.Get("X-Host") != "h" || got.header.Get("Access-Control-Expose-Headers") != "X-Own" {
		t.Errorf("named origin: %v", got.header)
	}
	for _, origin := range []string{"https://evil.example.org", "https://shop.example.org.evil.org", "null"} {
		got := n.send("GET", port, "/api/x", "Origin: "+origin)
		if got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", origin, got.header)
		}
	}
	if got := n.send("GET", port, "/open", "Origin: https://anyone.example"); got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("open: %v", got.header)
	}
	if got := n.send("GET", port, "/open"); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origin: %v", got.header)
	}
}

func TestProxyChangesPathsAndHidesHeaders(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	app, _ := application(t)
	proxy := func(path, to string, change func(*fleet.Location)) fleet.Location {
		l := fleet.Location{Path: path, Proxy: &fleet.Proxy{Upstream: "app", Path: to}}
		if change != nil {
			change(&l)
		}
		return l
	}
	n.mustApply(1, app, resource("s", &fleet.Split{Branches: []fleet.Branch{{Upstream: "app"}, {Upstream: "app2", Percent: new(int)}}}),
		resource("app2", app.Spec.(*fleet.Upstream)),
		resource("h", n.host(port,
			proxy("/keep/", "", nil), proxy("/strip/", "/", nil), proxy("/add/", "/v1/", nil),
			proxy("/split/", "/v2/", func(l *fleet.Location) { l.Proxy.Upstream, l.Proxy.Split = "", "s" }),
			proxy("/one", "/two", func(l *fleet.Location) { l.Match, l.Proxy.Upstream, l.Proxy.Split = "exact", "", "s" }),
			proxy("/users/", "", func(l *fleet.Location) {
				l.Rewrites = []fleet.Rewrite{{Match: `^/users/(\d+)/(.*)$`, To: "/u/$2?id=$1", Flag: "break"}}
			}),
			proxy("/full", "", func(l *fleet.Location) {
				l.Proxy.HideHeaders = []string{"X-Secret"}
				l.Proxy.Timeouts = &fleet.Timeouts{Connect: "1s", Send: "5s", Read: "500ms"}
				l.Proxy.Buffering = &fleet.Buffering{Buffers: 4, Size: "8k", RequestOff: true}
				l.Proxy.NextUpstream = &fleet.NextUpstream{On: []string{"error", "http_502"}, Tries: 2, Timeout: "3s"}
				l.Proxy.Headers = map[string]string{"X-Extra": "e"}
			}),
			proxy("/missing", "", func(l *fleet.Location) {
				l.Proxy.InterceptErrors = true
				l.ErrorPages = []fleet.ErrorPage{{Codes: []int{404, 502}, Text: `{"error": "gone"}`, ContentType: "application/json"}}
			}))))
	for path, want := range map[string]string{
		"/keep/a%20b?c=d": "/keep/a%20b?c=d", "/strip/a%20b?c=d": "/a%20b?c=d", "/add/x": "/v1/x", "/split/a%20b?c=d": "/v2/a%20b?c=d",
		"/split/a%0Ab": "/v2/a%0Ab", "/one?c": "/two?c", "/users/5/x?y=z": "/u/x?id=5&y=z", "/full": "/full e",
	} {
		got := n.send("GET", port, path)
		if _, rest, _ := strings.Cut(got.body, " "); strings.TrimSpace(rest) != want {
			t.Errorf("%s: the upstream saw %q, want %q", path, rest, want)
		}
		if hidden := got.header.Get("X-Secret") == ""; hidden != (path == "/full") {
			t.Errorf("%s: headers %v", path, got.header)
		}
	}
	if got := n.send("GET", port, "/missing"); got.status != 404 || got.body != `{"error": "gone"}` || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("intercepted: %+v", got)
	}
}

func TestCacheAnswersWithoutTheUpstreamAndKeepsSecretsOut(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	app, asked := application(t)
	l := fleet.Location{Path: "/", Proxy: &fleet.Proxy{Upstream: "app"}, Cache: &fleet.Cache{
		Size: "1m", MaxSize: "10m", Inactive: "1h", Valid: []fleet.CacheValid{{Codes: []int{200, 301}, Time: "10m"}, {Time: "1m"}},
		Key: []string{"host", "uri", "header:Accept-Language"}, Bypass: []string{"header:X-Fresh", "cookie:session"}, NoStore: []string{"cookie:session"},
		UseStale: []string{"error", "updating"}, Lock: true, StatusHeader: true}}
	n.mustApply(1, app, resource("h", n.host(port, l)))
	step := func(status string, times int32, headers ...string) {
		t.Helper()
		got := n.send("GET", port, "/page", headers...)
		if got.header.Get("X-Cache") != status || asked.Load() != times {
			t.Errorf("X-Cache %q, asked %d times, want %s and %d", got.header.Get("X-Cache"), asked.Load(), status, times)
		}
	}
	step("MISS", 1)
	step("HIT", 1)
	step("MISS", 2, "Accept-Language: de")
	step("BYPASS", 3, "X-Fresh: 1")
	step("BYPASS", 4, "Authorization: Bearer x")
	step("BYPASS", 5, "Cookie: session=1")
	step("HIT", 5)
}

func TestCachesOfKeptVersionsStayAndOthersGo(t *testing.T) {
	n := newNode(t)
	n.crash()
	n.cfg.KeepVersions = 1
	n.start()
	port := n.freePort()
	app, _ := application(t)
	cached := func(path string) fleet.Resource {
		return resource("h", n.host(port, fleet.Location{Path: path, Proxy: &fleet.Proxy{Upstream: "app"}, Cache: &fleet.Cache{}}))
	}
	dirs := func() int {
		found, _ := filepath.Glob(filepath.Join(n.cfg.State, "temp", "cache_h_*"))
		return len(found)
	}
	for i, path := range []string{"/a", "/b", "/c", "/d"} {
		n.mustApply(uint64(i+1), app, cached(path))
	}
	eventually(t, "the caches of the version that serves and of the one kept are left", func() bool { return dirs() == 2 })
}

func TestFilesAreTriedAndAliasesStayInside(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	www := filepath.Join(filepath.Dir(n.cfg.State), "www")
	for path, text := range map[string]string{"index.html": "index", "page.html": "page", "pub/a.txt": "a", "pub2/secret": "secret", "404.html": "none"} {
		file := filepath.Join(www, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := n.host(port, fleet.Location{Path: "/", Root: www, TryFiles: []string{"$uri", "$uri.html", "/index.html"}},
		fleet.Location{Path: "/strict/", Root: www, TryFiles: []string{"$uri", "=404"}},
		fleet.Location{Path: "/files/", Alias: www + "/pub/"},
		fleet.Location{Path: "/old/", Root: www, Rewrites: []fleet.Rewrite{{Match: "^/old/(.*)$", To: "/files/$1"}}})
	h.Rewrites = []fleet.Rewrite{{Match: "^/very/old$", To: "/page"}}
	h.ErrorPages = []fleet.ErrorPage{{Codes: []int{404}, Path: "/404.html"}}
	n.mustApply(1, resource("h", h))
	for path, want := range map[string]string{
		"/": "200 index", "/page": "200 page", "/nothing": "200 index", "/strict/x": "404 none", "/files/a.txt": "200 a",
		"/files../pub2/secret": "200 index", "/files/../pub2/secret": "200 secret", "/old/a.txt": "200 a", "/very/old": "200 page",
	} {
		if got := n.get(port, "h.example.org", path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestGzipLimitsAndErrorPagesHold(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	big := say("/big", strings.Repeat("text ", 500))
	small := say("/plain", strings.Repeat("text ", 500))
	small.Gzip = &fleet.Gzip{Off: true}
	app, _ := application(t)
	upload := fleet.Location{Path: "/upload", Proxy: &fleet.Proxy{Upstream: "app"}, Limits: &fleet.Limits{MaxBodySize: "4"}}
	h := n.host(port, big, small, upload)
	h.Gzip = &fleet.Gzip{Types: []string{"text/plain", "text/html"}, Level: 5, MinLength: "1k"}
	h.Limits = &fleet.Limits{MaxBodySize: "1m", BodyBuffer: "16k", BodyTimeout: "10s", SendTimeout: "10s", HeaderTimeout: "5s", Keepalive: "30s",
		HeaderBuffers: &fleet.HeaderBuffers{Number: 4, Size: "16k"}}
	h.ErrorPages = []fleet.ErrorPage{{Codes: []int{413, 502}, Text: "sorry"}}
	n.mustApply(1, app, resource("h", h))
	if got := n.send("GET", port, "/big", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "gzip" || got.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("big: %v", got.header)
	}
	if got := n.send("GET", port, "/plain", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "" {
		t.Errorf("plain: %v", got.header)
	}
	if got := n.send("POST", port, "/upload"); got.status != 413 || got.body != "sorry" {
		t.Errorf("too large: %+v", got)
	}
	if got := n.send("GET", port, "/big", "X-Long: "+strings.Repeat("x", 12000)); got.status != 200 {
		t.Errorf("a header of 12 kB: %d", got.status)
	}
	if got := n.send("GET", port, "/big", "X-Long: "+strings.Repeat("x", 17000)); got.status != 400 {
		t.Errorf("a header of 17 kB: %d", got.status)
	}
}

func TestWebsocketsPass(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "upgrade" {
			http.Error(w, fmt.Sprint(r.Header), http.StatusBadRequest)
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		rw.WriteString("echo " + line)
		rw.Flush()
	}))
	defer s.Close()
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: s.Listener.Addr().String()}}}),
		resource("h", n.host(port, fleet.Location{Path: "/", Proxy: &fleet.Proxy{Upstream: "app", Websocket: true}})))
	conn, err := net.Dial("tcp", n.listen(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h.example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	fmt.Fprintf(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestFileOfPasswordsIsHealedSoThatWorkersReadItAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	h := n.host(port, say("/", "in"))
	h.BasicAuth = &fleet.BasicAuth{Users: []fleet.User{{Name: "alice", Hash: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="}}} // secret
	n.mustApply(1, resource("h", h))
	n.looked() // what workers share is no drift
	found, err := filepath.Glob(n.version() + "/auth/*")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the password is taken", func() bool {
		return n.send("GET", port, "/", "Authorization: Basic YWxpY2U6c2VjcmV0").status == 200
	})
	if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o640 {
		t.Error(info, err)
	}
}
