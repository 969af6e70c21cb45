package client_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// patience is how long anything may take that must happen; it is only ever
// waited for when a test fails.
const patience = 60 * time.Second

// site is a real broker and a station in this process, and alice's client.
// Nodes are plain connections.
type site struct {
	t           *testing.T
	authority   *identity.Authority
	broker      broker.Config
	stop        func() // ends the broker
	stopStation func()
	url         string
	users       map[string]*identity.Credentials
	conns       map[string]*bus.Conn
	client      *client.Client
}

func open(t *testing.T) *site {
	t.Helper()
	a, err := identity.Open(filepath.Join(t.TempDir(), "identity"), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, authority: a, users: map[string]*identity.Credentials{}, conns: map[string]*bus.Conn{}}
	s.broker = broker.Config{StoreDir: filepath.Join(t.TempDir(), "broker"), Sync: "2m", Drain: -1, Plain: true, Server: a.Server(), Logger: slog.New(slog.DiscardHandler)}
	s.start()
	s.creds("bob", subjects.Admin)
	s.client = s.open("alice")
	s.creds("station-a", subjects.Station)
	s.stopStation = s.runStation(nil)
	return s
}

// runStation runs a station; change may be nil.
func (s *site) runStation(change func(*station.Config)) (stop func()) {
	s.t.Helper()
	trust, err := s.authority.TrustSet()
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := station.Config{URL: s.url, Credentials: s.users["station-a"], Trust: trust,
		Storage: subjects.Settings{LogsBytes: 1 << 30}, SweepEvery: 50 * time.Millisecond, ExpireAfter: 100 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	st, err := station.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return runs(s.t, st.Ready(), st.Run)
}

// start runs the broker, after a stop on the same port.
func (s *site) start() {
	s.t.Helper()
	b, err := broker.New(s.broker)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stop = runs(s.t, b.Ready(), b.Run)
	s.url = b.URL()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.broker.Port, err = strconv.Atoi(u.Port()); err != nil {
		s.t.Fatal(err)
	}
}

// runs starts a part and waits until it is ready; stop ends it and waits.
func runs(t *testing.T, ready <-chan struct{}, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("it ended before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return stop
}

// open is a client of an administrator.
func (s *site) open(name string) *client.Client {
	s.t.Helper()
	c, err := client.Open(s.t.Context(), client.Options{URL: s.url, Credentials: s.creds(name, subjects.Admin)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *site) creds(name string, role subjects.Role) *identity.Credentials {
	s.t.Helper()
	if c := s.users[name]; c != nil {
		return c
	}
	user, err := s.authority.User(name, role)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := identity.LoadCreds(user.CredsFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.users[name] = c
	return c
}

// conn is the connection of a node.
func (s *site) conn(name string) *bus.Conn {
	s.t.Helper()
	if c := s.conns[name]; c != nil {
		return c
	}
	c, err := bus.Connect(s.t.Context(), bus.Options{URL: s.url, Credentials: s.creds(name, subjects.Node)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	s.conns[name] = c
	return c
}

// nodes registers nodes, and waits until the station knows them.
func (s *site) nodes(labels map[string]string, names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.node(station.NodeRecord{Name: name, Labels: labels})
	}
}

func (s *site) node(r station.NodeRecord) {
	s.t.Helper()
	r.Key, r.Since = s.creds(r.Name, subjects.Node).Key, time.Now()
	if err := s.client.Register(within(s.t), r); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the station knows "+r.Name, func() bool { _, err := s.client.Node(within(s.t), r.Name); return err == nil })
}

// set reads resources as a file called site.yaml.
func set(t *testing.T, text string) manifest.Set {
	t.Helper()
	resources, err := manifest.Read("site.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return resources
}

func (s *site) plan(text string) client.Plan {
	s.t.Helper()
	p, err := s.client.Plan(within(s.t), set(s.t, text), false)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// apply carries a set out and waits for the station.
func (s *site) apply(text string) ([]client.Sent, map[string]string) {
	s.t.Helper()
	return s.carryOut(s.plan(text))
}

func (s *site) carryOut(p client.Plan) ([]client.Sent, map[string]string) {
	s.t.Helper()
	done, err := s.client.Apply(within(s.t), p)
	if err != nil {
		s.t.Fatal(err)
	}
	sent, unfit, err := s.client.Told(within(s.t), done)
	if err != nil {
		s.t.Fatal(err)
	}
	return sent, unfit
}

func (s *site) send(node string, count int) []client.Sent {
	s.t.Helper()
	commands := make([]client.Command, count)
	for i := range commands {
		commands[i] = command(node)
	}
	sent, err := s.client.Send(within(s.t), commands...)
	if err != nil {
		s.t.Fatal(err)
	}
	return sent
}

func command(node string) client.Command {
	return client.Command{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: "reload", Domain: "nginx"}}
}

// signedAnswer is a node's answer to a command, signed by whom the test wants.
func (s *site) signedAnswer(sent client.Sent, state message.State, signer string) message.Message {
	s.t.Helper()
	subject, err := subjects.Parse(sent.Subject)
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.NewAnswer(message.Message{Subject: subject, ID: sent.ID}, sent.Node, state, message.Answer{Message: "done"})
	if err := m.Sign(s.users[signer]); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// answer publishes one over the node's own connection; change, which may be
// nil, does what it will to it before.
func (s *site) answer(sent client.Sent, state message.State, signer string, change func(*message.Message)) {
	s.t.Helper()
	m := s.signedAnswer(sent, state, signer)
	if change != nil {
		change(&m)
	}
	s.publish(sent.Node, m)
}

func (s *site) publish(node string, m message.Message) {
	s.t.Helper()
	if _, err := s.conn(node).Publish(within(s.t), m); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) log(node, domain, line string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"records": []map[string]any{{"message": line}}})
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.Message{Subject: subjects.Subject{Node: node, Direction: subjects.Event, Method: subjects.MethodSyslog, Domain: domain},
		ID: message.NewID(), From: node, Body: body}
	if err := m.Sign(s.creds(node, subjects.Node)); err != nil {
		s.t.Fatal(err)
	}
	s.publish(node, m)
}

// garbage writes what nobody signed over whatever a bucket holds.
func (s *site) garbage(bucket, key, body string) {
	s.t.Helper()
	c := s.client.Conn()
	if bucket == subjects.Desired {
		var err error
		if c, err = bus.Connect(s.t.Context(), bus.Options{URL: s.url, Credentials: s.users["station-a"]}); err != nil {
			s.t.Fatal(err)
		}
		defer c.Close()
	}
	if _, err := c.Put(within(s.t), bucket, bus.Change{Key: key, Document: message.Message{Body: []byte(body)}, Expect: bus.Any}); err != nil {
		s.t.Fatal(err)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

// kind fails where an error is of another kind.
func kind(t *testing.T, err error, want fleet.Kind) {
	t.Helper()
	if fleet.KindOf(err) != want {
		t.Errorf("the error is %q (%v), want %q", fleet.KindOf(err), err, want)
	}
}

// unasked writes a resource as alice without any plan.
func (s *site) unasked(key string, subject subjects.Subject, body string) {
	s.t.Helper()
	s.put(key, message.Message{Subject: subject, Body: []byte(body)})
}

// removeUnasked deletes one.
func (s *site) removeUnasked(key string, subject subjects.Subject) {
	s.t.Helper()
	s.put(key, message.Message{Subject: subject, Operation: bus.Delete})
}

func (s *site) put(key string, m message.Message) {
	s.t.Helper()
	m.ID, m.From = message.NewID(), "alice"
	if err := m.Sign(s.users["alice"]); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.Conn().Put(within(s.t), subjects.Fleet, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
		s.t.Fatal(err)
	}
}
