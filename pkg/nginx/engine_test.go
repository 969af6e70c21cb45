package nginx_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// node is one nginx in directories of its own, on a loopback address of its own.
type node struct {
	*nginx.Engine
	t       *testing.T
	cfg     nginx.Config
	address string
	cancel  context.CancelFunc
	ended   chan struct{}
	events  *eventLog
}

// eventLog keeps what the engines of a node told.
type eventLog struct {
	mu  sync.Mutex
	all []string // "<event>: <text>"
}

func (l *eventLog) add(event, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, event+": "+text)
}

// wantEvent waits for an event that begins so and contains the parts.
func (n *node) wantEvent(event string, parts ...string) {
	n.t.Helper()
	eventually(n.t, event+" is told", func() bool {
		n.events.mu.Lock()
		defer n.events.mu.Unlock()
		return slices.ContainsFunc(n.events.all, func(line string) bool {
			missing := func(part string) bool { return !strings.Contains(line, part) }
			return strings.HasPrefix(line, event+": ") && !slices.ContainsFunc(parts, missing)
		})
	})
}

var nextAddress atomic.Int32

// ownAddress is a loopback address that no other test of this process has.
func ownAddress() string {
	i := nextAddress.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 77+i/250, os.Getpid()%250, 1+i%250)
}

// newNode makes directories that the worker user can reach, with short names:
// the path of a socket has 107 bytes at most.
func newNode(t *testing.T) *node {
	t.Helper()
	dir := newDir(t)
	return newNodeIn(t, dir, filepath.Join(dir, "run"))
}

func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newNodeIn has its files in dir, which it removes in the end, and its sockets in run.
func newNodeIn(t *testing.T, dir, run string) *node {
	t.Helper()
	n := &node{t: t, address: ownAddress(), events: new(eventLog)}
	n.cfg = nginx.Config{
		State: filepath.Join(dir, "state"), Conf: filepath.Join(dir, "conf"),
		Run: run, Logs: filepath.Join(dir, "logs"),
		Workers: 2, Logger: slog.New(slog.NewTextHandler(&testLog{t: t}, nil)), Event: n.events.add, Open: openForTest,
	}
	t.Cleanup(func() {
		n.crash() // the engine, so that Stop has it alone
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	n.start()
	return n
}

// start is run, and waits until the engine is ready.
func (n *node) start() {
	n.t.Helper()
	n.run()
	select {
	case <-n.Ready():
	case <-n.ended:
		n.t.Fatal("the engine ended")
	case <-time.After(time.Minute):
		n.t.Fatal("the engine is not ready")
	}
}

// run makes a new engine over the same directories and runs it.
func (n *node) run() {
	n.t.Helper()
	e, err := nginx.New(n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.Engine, n.cancel, n.ended = e, cancel, make(chan struct{})
	go func() {
		defer close(n.ended)
		if err := e.Run(ctx); err != nil {
			n.t.Errorf("run: %v", err)
		}
	}()
}

// crash ends the engine and leaves nginx alone.
func (n *node) crash() {
	n.cancel()
	<-n.ended
}

// apply renders and applies.
func (n *node) apply(revision uint64, resources ...fleet.Resource) (nginx.Verdict, error) {
	n.t.Helper()
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.Apply(n.t.Context(), revision, b)
}

func (n *node) mustApply(revision uint64, resources ...fleet.Resource) nginx.Verdict {
	n.t.Helper()
	v, err := n.apply(revision, resources...)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

func (n *node) status() nginx.Status {
	n.t.Helper()
	s, err := n.Status(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// workers is the pids of the workers that take connections, as text. Old ones
// may take their time to end.
func (n *node) workers() string {
	n.t.Helper()
	pids, err := host.Children(n.status().PID)
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(slices.DeleteFunc(pids, func(pid int) bool {
		title, err := host.Title(pid)
		return err != nil || title != "nginx: worker process"
	}))
}

// freePort is a port that nobody listens on at the node's address.
func (n *node) freePort() int {
	n.t.Helper()
	l, err := net.Listen("tcp", n.address+":0")
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// takenUDP is a UDP port that somebody has, and resources that want it: what
// fails at the reload alone.
func (n *node) takenUDP() (taken net.PacketConn, resources []fleet.Resource) {
	n.t.Helper()
	taken, err := net.ListenPacket("udp", n.address+":0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { taken.Close() })
	port := taken.LocalAddr().(*net.UDPAddr).Port
	return taken, []fleet.Resource{
		resource("other", &fleet.Stream{Listen: []fleet.StreamListen{{Port: port}}, Upstream: "other", Protocol: "udp"}),
		resource("other", &fleet.Upstream{Servers: []fleet.Server{{Address: n.address + ":9"}}}),
	}
}

// get asks the site; the answer is "<status> <body>".
func (n *node) get(port int, name, path string) string {
	resp, body, err := n.fetch(port, name, path)
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(resp.StatusCode) + " " + body
}

func (n *node) fetch(port int, name, path string) (*http.Response, string, error) {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d%s", n.address, port, path), nil)
	if err != nil {
		return nil, "", err
	}
	req.Host = name
	return do(req)
}

// do sends a request and reads the whole answer.
func do(req *http.Request) (*http.Response, string, error) {
	resp, err := direct.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

var direct = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// eventually waits for real state that sends no event.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-limit.C:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func resource(name string, spec fleet.Spec) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: name}, Spec: spec}
}

// site answers one text on every path.
func site(name string, port int, text string) fleet.Resource {
	return resource(name, &fleet.VirtualHost{
		Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{name + ".example.org"},
		Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}},
	})
}

func raw(name, content string) fleet.Resource {
	return resource(name, &fleet.ConfigFile{Context: "http", Content: content})
}

// testLog writes to the test's log until the test has ended.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func replaceByFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var bg = context.Background()

// within is a context that outlives the test's own, for clean-ups.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(bg, d)
}
