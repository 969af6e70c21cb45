package broker_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/broker"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// fails runs a broker that cannot start and returns its error.
func fails(t *testing.T, c broker.Config) error {
	t.Helper()
	if c.Server.OperatorJWT == "" {
		c.Server = authority(t, t.TempDir(), identity.Options{}).Server()
	}
	c.Logger = slog.New(slog.DiscardHandler)
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err = b.Run(ctx); err == nil {
		t.Fatal("the broker ran")
	}
	return err
}

func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q\nsays nothing of %q", err, part)
		}
	}
}

func TestAWrongConfigNamesAllFaults(t *testing.T) {
	_, err := broker.New(broker.Config{Port: 70000, Sync: "often", MonitorAddr: "0.0.0.0:8222", MaxStore: -1})
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatal(err)
	}
	says(t, err, "server: ", "store: ", "port: ", "sync: ", "maxStore: ", "monitor: ")
}

func TestAPortInUseNamesItsOwner(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.Name = "first" })
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL(), "tls://"), ":")
	taken, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	err = fails(t, broker.Config{StoreDir: t.TempDir(), Port: taken})
	says(t, err, "in use by NATS server \"first\"", "another port")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // any program that does not greet
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	defer l.Close()
	err = fails(t, broker.Config{StoreDir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port})
	says(t, err, "in use by another program")
}

func TestAStoreInUseNamesItsOwner(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.Name = "first" })
	err := fails(t, broker.Config{StoreDir: s.config.StoreDir})
	if fleet.KindOf(err) != fleet.Conflict {
		t.Error(fleet.KindOf(err))
	}
	says(t, err, s.config.StoreDir, `broker "first", process `, "another directory")
}

func TestAStoreThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, fails(t, broker.Config{StoreDir: filepath.Join(file, "store")}), "store directory", file)
}

func TestRunIsForOnce(t *testing.T) {
	s := start(t, nil)
	says(t, s.Run(t.Context()), "twice")
}

func TestClientsAreToldOfTheEnd(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.Drain = 0 })
	told, gone := make(chan struct{}), make(chan struct{})
	nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserCredentials(user(t, s.Authority, "alice", subjects.Admin).CredsFile),
		nats.NoReconnect(), nats.LameDuckModeHandler(func(*nats.Conn) { close(told) }),
		nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s.stop()
	<-told
	<-gone
}

func TestStatsAndMonitorTellOfConnections(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.MonitorAddr = "127.0.0.1:0" })
	s.connect(t, "alice", subjects.Admin)
	stats, err := s.Stats()
	if err != nil || stats.Connections != 1 || stats.Memory == 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	reply, err := http.Get(s.MonitorURL() + "/healthz")
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatal(reply, err)
	}
	reply.Body.Close()
}

func TestTheServersLogGoesToTheLogger(t *testing.T) {
	var log safeBuffer
	s := start(t, func(c *broker.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if nc, err := nats.Connect(s.URL(), secure(s.Authority)); err == nil {
		nc.Close()
		t.Fatal("an anonymous client connected")
	}
	s.stop()
	for _, line := range []string{`level=INFO msg="broker is ready"`, "level=DEBUG msg=nats-server", "level=ERROR msg=nats-server"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("no line has %s:\n%s", line, log.String())
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
