package nginx_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

func TestServerThatFailsItsChecksTakesNoRequestsUntilItIsWell(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	v := n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	eventually(t, "both serve", func() bool { return n.servedBy(port, 20) == "one two" })

	one.fail.Store(true)
	eventually(t, "one is out", func() bool { return n.serverStates() == "app "+one.address+" down" && n.servedBy(port, 20) == "two" })
	n.wantEvent("serverdown", "Upstream/app: "+one.address+" takes no more requests: answers 500")
	s := n.status()
	if s.Running != v.Digest || s.Disk != v.Digest || s.Revision != 1 || s.Servers[0].Since.IsZero() {
		t.Errorf("another bundle is meant to serve: %+v", s)
	}
	if v := n.mustApply(2, proxied("web", port, "app"), checked("app", one, two)); v.Changed {
		t.Error("the same resources are another change while a server is down")
	}

	one.fail.Store(false)
	eventually(t, "it is in again", func() bool { return n.serverStates() == "" && n.servedBy(port, 20) == "one two" })
	n.wantEvent("serverup", "Upstream/app: "+one.address+" takes requests again")
}

func TestServersOfAnUpstreamAreNeverAllDown(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	one.fail.Store(true)
	two.fail.Store(true)
	eventually(t, "both are in panic", func() bool {
		states := n.serverStates()
		return strings.Count(states, "panic") == 2
	})
	n.wantEvent("serverdown", "fails, as all servers do: requests go on to all of them")
	one.checksOnly.Store(true) // well for people, ill for checks
	eventually(t, "requests still reach them", func() bool { return strings.Contains(n.servedBy(port, 20), "one") })
}

func TestServerThatWasDownStaysDownAcrossARestartOfTheAgent(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	one.fail.Store(true)
	eventually(t, "one is out", func() bool { return n.down("app") == 1 })
	n.wantEvent("serverdown", one.address) // nginx uses it by now
	eventually(t, "the old workers are gone", func() bool {
		s := n.status()
		return s.Workers == 2 && s.Draining == 0 && len(strings.Fields(n.workers())) == 2
	})
	workers := n.workers()
	n.crash()
	n.start()
	if got := n.serverStates(); got != "app "+one.address+" down" {
		t.Errorf("after the restart: %q", got)
	}
	if now := n.workers(); now != workers {
		t.Errorf("the restart reloaded nginx: workers %s, before %s", now, workers)
	}
	one.fail.Store(false)
	eventually(t, "it is in again", func() bool { return n.servedBy(port, 20) == "one two" })
	n.wantEvent("serverup", one.address)
}

func TestManyServersThatFailTogetherAreOneReload(t *testing.T) {
	n := newNode(t)
	well := newBackend(t, n.address, "well")
	var all []*backend
	for range 8 {
		all = append(all, newBackend(t, n.address, "ill"))
	}
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", append(all, well)...))
	for _, b := range all {
		b.fail.Store(true)
	}
	eventually(t, "all eight are out", func() bool { return n.down("app") == 8 })
	if got := n.servedBy(port, 20); got != "well" {
		t.Errorf("served by %q", got)
	}
	versions, _ := filepath.Glob(filepath.Join(n.cfg.State, "versions", "1-*"))
	if len(versions) > 4 { // checks are spread over half a second, changes gather for a fifth of one
		t.Errorf("eight failures made %d versions", len(versions))
	}
}

func TestReloadsForServersArePaced(t *testing.T) {
	got := fmt.Sprint(nginx.Budget(0, 0, 0, 0, time.Minute, time.Minute))
	if got != "[0s 0s 0s 10s 0s 0s]" {
		t.Errorf("waits %s", got)
	}
}

func TestUpstreamFileEditedByHandIsNotMistakenForThisNodesView(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftReport), proxied("web", port, "app"), checked("app", one, two))
	versions, _ := filepath.Glob(filepath.Join(n.cfg.State, "versions", "1-*", "http.d", "virtualhost-web.conf"))
	if len(versions) != 1 {
		t.Fatalf("versions %v", versions)
	}
	replaceByFile(t, filepath.Join(filepath.Dir(filepath.Dir(versions[0])), "mime.types"), "types { }\n")
	one.fail.Store(true)
	eventually(t, "it fails", func() bool { return n.serverStates() != "" })
	n.wantEvent("serverdown", one.address)
	if all, _ := filepath.Glob(filepath.Join(n.cfg.State, "versions", "1-*")); len(all) != 1 {
		t.Errorf("a version was made from files that somebody changed: %v", all)
	}
}

// The key of a certificate is sealed in the desired state, which refresh does
// not have: it is taken from the version that serves.
func TestServersAreTakenOutBesideCertificates(t *testing.T) {
	n := newNode(t)
	n.crash()
	n.cfg.Open = openForTest
	n.start()
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	authority := certtest.New(t)
	port, tlsPort := n.freePort(), n.freePort()
	resources := []fleet.Resource{proxied("web", port, "app"), checked("app", one, two), certificate("app", authority.Issue("app.example.org")),
		streamOf("s", &fleet.Stream{Listen: []fleet.StreamListen{{Port: tlsPort}}, Upstream: "lines", TLS: &fleet.StreamTLS{Certificate: "app"}}),
		serversAt("lines", lineServer(t, n.address, "line"))}
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		t.Fatal(err)
	}
	n.mustApply(1, resources...)
	versions, _ := filepath.Glob(filepath.Join(n.cfg.State, "versions", "1-*"))
	if err := nginx.ReadsBack(versions[0], b); err != nil {
		t.Error(err)
	}
	one.fail.Store(true)
	n.wantEvent("serverdown", one.address)
	if n.down("app") != 1 || n.servedBy(port, 4) != "two" {
		t.Errorf("%d servers are out", n.down("app"))
	}
	c, err := tls.Dial("tcp", net.JoinHostPort(n.address, fmt.Sprint(tlsPort)), &tls.Config{ServerName: "app.example.org", RootCAs: authority.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "hello")
	answer := make([]byte, 100)
	size, _ := c.Read(answer)
	if string(answer[:size]) != "line got hello\n" {
		t.Errorf("the stream with TLS answers %q", answer[:size])
	}
}

// The agent died after it had linked another view of the same bundle, before
// nginx was told: nginx and the link say different things, the digest does not.
func TestViewThatNginxWasNotToldOfIsUndone(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	link := filepath.Join(n.cfg.Conf, "nginx.conf")
	before, err := os.Readlink(link)
	if err != nil {
		t.Fatal(err)
	}
	one.fail.Store(true)
	n.wantEvent("serverdown", one.address)
	after, _ := os.Readlink(link)
	n.crash()
	if err := errors.Join(os.Remove(link), os.Symlink(before, link)); err != nil || before == after {
		t.Fatal(before, after, err)
	}
	n.start()
	if now, _ := os.Readlink(link); now != after || n.down("app") != 1 {
		t.Errorf("%s is linked, nginx runs %s", now, after)
	}
}

func TestServersAreTakenOutOnAHostThatKeepsItsNginxConf(t *testing.T) {
	n, port := included(t, func(conf string) string { return "include " + conf + "/fairlead.con[f];" })
	<-n.Ready()
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	one.fail.Store(true)
	n.wantEvent("serverdown", one.address)
	if got := n.servedBy(port, 6); got != "two" || n.get(port, "own.example.org", "/") != "200 own" {
		t.Errorf("served by %q", got)
	}
	one.fail.Store(false)
	n.wantEvent("serverup", one.address)
	_, err := n.apply(2, streamOf("s", &fleet.Stream{Listen: []fleet.StreamListen{{Port: n.freePort()}}, Upstream: "app"}), checked("app", one, two))
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "Stream/s: this host keeps its own nginx.conf") {
		t.Errorf("a stream: %v", err)
	}
}

// An agent before this one staged what serves: nginx answers the digest alone.
func TestVersionOfAnOlderAgentIsAdoptedAsItRuns(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	before, pid := n.workers(), n.status().PID
	conf, err := filepath.EvalSymlinks(filepath.Join(n.cfg.Conf, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	edit(t, conf, `(?m)^.*/generation.*\n`, "")
	edit(t, filepath.Join(filepath.Dir(conf), "manifest.json"), `"tells": true,`, "")
	must(t, os.RemoveAll(filepath.Join(n.cfg.State, "pristine")))
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nginx has read it", func() bool { return n.childrenOf(pid) != before && len(strings.Fields(n.childrenOf(pid))) == 2 })
	before = n.childrenOf(pid)
	n.start()
	if n.status().PID != pid || n.workers() != before {
		t.Errorf("process %d with workers %s, before %d with %s", n.status().PID, n.workers(), pid, before)
	}
	if v := n.mustApply(2, site("web", port, "hello")); v.Revision != 2 || n.get(port, "web.example.org", "/") != "200 hello" {
		t.Errorf("%+v", v)
	}
}

func TestViewThatNginxRefusesIsNotServedAndNotTriedInALoop(t *testing.T) {
	n := newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	real, err := host.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(n.cfg.State), "nginx")
	data, err := os.ReadFile(real)
	if err == nil {
		err = writeProgram(binary, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.cfg.Binary = binary
	var refusals count
	n.cfg.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(&testLog{t: t}, &refusals), nil))
	n.start()
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	n.mustApply(1, proxied("web", port, "app"), checked("app", one, two))
	script := "#!/bin/sh\necho 'nginx: [emerg] no' >&2\nexit 1\n"
	if err := errors.Join(writeProgram(binary+".new", []byte(script)), os.Rename(binary+".new", binary)); err != nil {
		t.Fatal(err)
	}
	one.fail.Store(true)
	n.wantEvent("serverdown", one.address)
	n.ResolveNow() // a second look
	eventually(t, "two is in trouble as well", func() bool { two.fail.Store(true); return strings.Contains(n.serverStates(), "panic") })
	if n.down("app") != 0 || !n.status().Up || n.status().Revision != 1 {
		t.Errorf("what was refused is linked: %s", n.upstreamText("app"))
	}
	if tried := refusals.of.Load(); tried != 1 {
		t.Errorf("tested %d times", tried)
	}
	if err := errors.Join(writeProgram(binary+".new", data), os.Rename(binary+".new", binary)); err != nil {
		t.Fatal(err)
	}
}

// count counts the lines in which a view of servers was refused.
type count struct{ of atomic.Int64 }

func (c *count) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("what was found out about servers does not take effect")) {
		c.of.Add(1)
	}
	return len(p), nil
}

// edit replaces what an expression matches in a file.
func edit(t *testing.T, path, expression, by string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, regexp.MustCompile(expression).ReplaceAll(data, []byte(by)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) childrenOf(pid int) string {
	pids, err := host.Children(pid)
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(pids)
}

// backend is an HTTP server that says its name.
type backend struct {
	address    string
	fail       atomic.Bool // answers 500
	checksOnly atomic.Bool // to checks alone
}

func newBackend(t *testing.T, address, name string) *backend {
	return backendOn(t, listenAt(t, address), name)
}

func newBackendAt(t *testing.T, address, name string) *backend {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return backendOn(t, l, name)
}

func backendOn(t *testing.T, l net.Listener, name string) *backend {
	b := &backend{address: l.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.fail.Load() && (r.URL.Path == "/health" || !b.checksOnly.Load()) {
			http.Error(w, "ill", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, name)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return b
}

// checked is an upstream of backends that the agent checks, as fast as may be.
func checked(name string, backends ...*backend) fleet.Resource {
	u := &fleet.Upstream{Check: &fleet.Check{Path: "/health", Interval: "500ms", Timeout: "400ms", Fails: 2, Passes: 2}}
	zero := 0
	for _, b := range backends {
		u.Servers = append(u.Servers, fleet.Server{Address: b.address, MaxFails: &zero}) // nginx itself takes none out
	}
	return resource(name, u)
}

// proxied is a site that passes everything to an upstream.
func proxied(name string, port int, upstream string) fleet.Resource {
	return resource(name, &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{name + ".example.org"},
		Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Upstream: upstream}}}})
}

// servedBy is who answered so many requests with 200, sorted.
func (n *node) servedBy(port, requests int) string {
	var all []string
	for range requests {
		if body, ok := strings.CutPrefix(n.get(port, "web.example.org", "/"), "200 "); ok && !slices.Contains(all, body) {
			all = append(all, body)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// serverStates is what status says of servers.
func (n *node) serverStates() string {
	var all []string
	for _, s := range n.status().Servers {
		all = append(all, fmt.Sprintf("%s %s %s", s.Upstream, s.Server, s.State))
	}
	return strings.Join(all, ", ")
}

// down is how many servers of an upstream nginx was told to leave out.
func (n *node) down(name string) int { return strings.Count(n.upstreamText(name), " down;") }

// upstreamText is the file of an upstream that nginx loaded.
func (n *node) upstreamText(name string) string {
	n.t.Helper()
	target, err := os.Readlink(filepath.Join(n.cfg.Conf, "nginx.conf"))
	if err != nil {
		n.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(target), "http.d", "upstream-"+name+".conf"))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}
