package health_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/health"
)

var quiet = slog.New(slog.DiscardHandler)

// server answers with a status that a test sets, and counts.
type server struct {
	*httptest.Server
	status atomic.Int64
	asked  atomic.Int64
}

func newServer(t *testing.T, handlers ...http.HandlerFunc) *server {
	s := new(server)
	s.status.Store(200)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		for _, h := range handlers {
			h(w, r)
		}
		w.WriteHeader(int(s.status.Load()))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) address() string { return s.Listener.Addr().String() }

// fast is a check every few milliseconds.
func fast(change func(*health.Check)) health.Check {
	c := health.CheckOf(fleet.Check{Timeout: "2s", Fails: 2, Passes: 3})
	c.Interval = 4 * time.Millisecond
	if change != nil {
		change(&c)
	}
	return c
}

// run starts a monitor; the function ends it.
func run(t *testing.T, file string, targets ...health.Target) (*health.Monitor, func()) {
	t.Helper()
	m := health.New(file, quiet)
	m.Restore()
	m.Watch(targets)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { m.Run(ctx); close(ended) }()
	stop := func() { cancel(); <-ended }
	t.Cleanup(stop)
	return m, stop
}

// until waits for changes until the failing servers are these.
func until(t *testing.T, m *health.Monitor, want string) []health.Server {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		all := m.Failing()
		var got []string
		for _, s := range all {
			got = append(got, fmt.Sprintf("%s %v %s", s.Group, s.Down, s.Reason))
		}
		if strings.Join(got, ", ") == want {
			return all
		}
		select {
		case <-m.Changed():
		case <-limit:
			t.Fatalf("failing are %q, want %q", got, want)
		}
	}
}

func TestServerIsDownAfterSomeFailuresAndUpAfterSomePasses(t *testing.T) {
	ill, well := newServer(t), newServer(t)
	check := fast(nil)
	m, _ := run(t, filepath.Join(t.TempDir(), "f"), health.Target{Group: "a", Address: ill.address(), Check: check}, health.Target{Group: "a", Address: well.address(), Check: check})
	ill.status.Store(503)
	down := until(t, m, "a true answers 503")
	if down[0].Address != ill.address() || time.Since(down[0].Since) > time.Minute {
		t.Errorf("%+v", down)
	}
	ill.status.Store(204)
	until(t, m, "")
}

// Every second answer is bad: two in a row never are, so it is never down.
func TestAServerThatFlapsIsLeftAlone(t *testing.T) {
	var turn atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if turn.Add(1)%2 == 0 {
			w.WriteHeader(500)
		}
	})
	well := newServer(t)
	m, _ := run(t, filepath.Join(t.TempDir(), "f"), health.Target{Group: "a", Address: s.address(), Check: fast(nil)}, health.Target{Group: "a", Address: well.address(), Check: fast(nil)})
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for s.asked.Load() < 40 {
		<-look.C
		if all := m.Failing(); len(all) > 0 {
			t.Fatalf("%+v", all)
		}
	}
}

func TestAGroupIsNeverAllDown(t *testing.T) {
	one, two, other := newServer(t), newServer(t), newServer(t)
	check := fast(nil)
	m, _ := run(t, filepath.Join(t.TempDir(), "f"),
		health.Target{Group: "a", Address: one.address(), Check: check}, health.Target{Group: "a", Address: two.address(), Check: check}, health.Target{Group: "b", Address: other.address(), Check: check})
	one.status.Store(500)
	until(t, m, "a true answers 500")
	two.status.Store(500)
	until(t, m, "a false answers 500, a false answers 500")
	two.status.Store(200)
	until(t, m, "a true answers 500")
}

func TestWhatWasDownStaysDownAcrossARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	ill, well := newServer(t), newServer(t)
	ill.status.Store(500)
	targets := []health.Target{{Group: "a", Address: ill.address(), Check: fast(nil)}, {Group: "a", Address: well.address(), Check: fast(nil)}}
	m, stop := run(t, file, targets...)
	since := until(t, m, "a true answers 500")[0].Since
	stop()
	m = health.New(file, quiet)
	m.Restore()
	m.Watch(targets)
	if all := m.Failing(); len(all) != 1 || !all[0].Down || !all[0].Since.Equal(since) {
		t.Errorf("after the restart %+v", all)
	}
	if err := os.WriteFile(file, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = health.New(file, quiet)
	m.Restore()
	m.Watch(targets)
	if all := m.Failing(); len(all) != 0 {
		t.Errorf("from a broken file %+v", all)
	}
}

func TestServersThatAreNotWatchedAnyMoreAreForgotten(t *testing.T) {
	ill, well := newServer(t), newServer(t)
	ill.status.Store(500)
	keep := health.Target{Group: "a", Address: well.address(), Check: fast(nil)}
	m, _ := run(t, filepath.Join(t.TempDir(), "f"), keep, health.Target{Group: "a", Address: ill.address(), Check: fast(nil)})
	until(t, m, "a true answers 500")
	m.Watch([]health.Target{keep})
	if all := m.Failing(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

func TestChecksAskAsTheyAreTold(t *testing.T) {
	var host, path, agent atomic.Value
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		path.Store(r.URL.RequestURI())
		agent.Store(r.UserAgent())
	})
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(secure.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	socket := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(unix, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(func() { unix.Close() })
	port := s.Listener.Addr().(*net.TCPAddr).Port

	for name, c := range map[string]struct {
		address string
		change  func(*health.Check)
		want    string
	}{
		"http":             {s.address(), func(c *health.Check) { c.Path, c.Host = "/health?full=1", "app.example.org" }, ""},
		"another port":     {silent.Addr().String(), func(c *health.Check) { c.Port = port }, ""},
		"status":           {s.address(), func(c *health.Check) { c.Status = [][2]int{{204, 204}} }, "answers 200"},
		"tls":              {secure.Listener.Addr().String(), func(c *health.Check) { c.TLS = true }, ""},
		"tls, and is not":  {s.address(), func(c *health.Check) { c.TLS = true }, "http: server gave HTTP response to HTTPS client"},
		"tcp":              {silent.Addr().String(), func(c *health.Check) { c.TCP = true }, ""},
		"tcp with tls":     {secure.Listener.Addr().String(), func(c *health.Check) { c.TCP, c.TLS = true, true }, ""},
		"tcp, closed":      {closed.Addr().String(), func(c *health.Check) { c.TCP = true }, "connect: connection refused"},
		"silent":           {silent.Addr().String(), func(c *health.Check) { c.Timeout = 20 * time.Millisecond }, "does not answer within 20ms"},
		"unix":             {"unix:" + socket, nil, ""},
		"unix, is missing": {"unix:" + socket + "x", nil, "connect: no such file or directory"},
	} {
		if got := health.Ask(fast(c.change), c.address); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	health.Ask(fast(func(c *health.Check) { c.Path, c.Host = "/health?full=1", "app.example.org" }), s.address())
	if host.Load() != "app.example.org" || path.Load() != "/health?full=1" || agent.Load() != "fairlead-check" {
		t.Errorf("asked %v%v as %v", host.Load(), path.Load(), agent.Load())
	}
}

func TestRedirectsAreAnswersOfTheirOwn(t *testing.T) {
	s := newServer(t)
	away := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusFound))
	t.Cleanup(away.Close)
	if got := health.Ask(fast(nil), away.Listener.Addr().String()); got != "" || s.asked.Load() != 0 {
		t.Errorf("got %q, and the redirect was followed %d times", got, s.asked.Load())
	}
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	if got := health.Ask(fast(nil), endless.Listener.Addr().String()); got != "" {
		t.Errorf("got %q", got)
	}
}
