package station_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// patience is how long anything may take that must happen; it is only ever
// waited for when a test fails.
const patience = 60 * time.Second

// untrusted has a place at the broker and nobody's trust.
const untrusted = "mallory"

// site is a real broker in this process, an administrator called alice, and
// what a test adds: stations, and nodes that are plain connections.
type site struct {
	t         testing.TB
	authority *identity.Authority
	url       string
	users     map[string]*identity.Credentials
	conns     map[string]*bus.Conn
	client    *client.Client
	stations  int
	trust     message.Message // without the untrusted
}

func open(t testing.TB) *site {
	t.Helper()
	a, err := identity.Open(filepath.Join(t.TempDir(), "identity"), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, authority: a, users: map[string]*identity.Credentials{}, conns: map[string]*bus.Conn{}}
	b, err := broker.New(broker.Config{StoreDir: filepath.Join(t.TempDir(), "broker"), Sync: "2m", Drain: -1, Plain: true, Server: a.Server(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, b.Ready(), b.Run)
	s.url = b.URL()
	for name, role := range map[string]subjects.Role{"alice": subjects.Admin, "olga": subjects.Operator, "vera": subjects.Viewer,
		"station-a": subjects.Station, "station-b": subjects.Station} {
		s.creds(name, role)
	}
	if s.trust, err = a.TrustSet(); err != nil {
		t.Fatal(err)
	}
	s.creds(untrusted, subjects.Admin)
	if err := s.conn("station-a", subjects.Station).EnsureStorage(t.Context(), subjects.Settings{LogsBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if s.client, err = client.Open(t.Context(), client.Options{URL: s.url, Credentials: s.users["alice"]}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// running is a site with a station.
func running(t testing.TB) *site {
	t.Helper()
	s := open(t)
	s.station(nil)
	return s
}

// runs starts a part and waits until it is ready; stop ends it and waits.
func runs(t testing.TB, ready <-chan struct{}, run func(context.Context) error) (stop func()) {
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

func (s *site) config() station.Config {
	return station.Config{URL: s.url, Credentials: s.users["station-a"], Trust: s.trust, SweepEvery: 50 * time.Millisecond,
		Storage: subjects.Settings{LogsBytes: 1 << 30}}
}

// station runs one in this process; change may be nil.
func (s *site) station(change func(*station.Config)) (stop func()) {
	s.t.Helper()
	_, stop = s.run(change)
	return stop
}

func (s *site) run(change func(*station.Config)) (st *station.Station, stop func()) {
	s.t.Helper()
	cfg := s.config()
	if change != nil {
		change(&cfg)
	}
	st, err := station.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	end := runs(s.t, st.Ready(), st.Run)
	s.stations++
	return st, func() {
		s.stations--
		end()
	}
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

func (s *site) conn(name string, role subjects.Role) *bus.Conn {
	s.t.Helper()
	if c := s.conns[name]; c != nil {
		return c
	}
	c, err := bus.Connect(s.t.Context(), bus.Options{URL: s.url, Credentials: s.creds(name, role)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	s.conns[name] = c
	return c
}

// nodes registers nodes with the same labels, and waits until a station that
// runs knows them: it believes the answers of nobody else.
func (s *site) nodes(labels map[string]string, names ...string) {
	s.t.Helper()
	for _, name := range names {
		r := station.NodeRecord{Name: name, Key: s.creds(name, subjects.Node).Key, Labels: labels, Since: time.Now()}
		if err := s.client.Register(within(s.t), r); err != nil {
			s.t.Fatal(err)
		}
		if s.stations > 0 {
			eventually(s.t, "a station knows "+name, func() bool { _, err := s.client.Node(within(s.t), name); return err == nil })
		}
	}
}

// put writes to a bucket as somebody's document: signed by signer where one is
// given, and over whatever is there.
func (s *site) put(as string, role subjects.Role, bucket, key string, subject subjects.Subject, body []byte, signer *identity.Credentials, change func(*message.Message)) uint64 {
	s.t.Helper()
	m := message.Message{Subject: subject, ID: message.NewID(), Body: body}
	if signer != nil {
		m.From = signer.Name
		if change != nil {
			change(&m)
		}
		if err := m.Sign(signer); err != nil {
			s.t.Fatal(err)
		}
	}
	sequence, err := s.conn(as, role).Put(within(s.t), bucket, bus.Change{Key: key, Document: m, Expect: bus.Any})
	if err != nil {
		s.t.Fatal(err)
	}
	return sequence
}

// resource writes a resource that signer signs, nobody where nil.
func (s *site) resource(r fleet.Resource, signer *identity.Credentials) uint64 {
	s.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put("alice", subjects.Admin, subjects.Fleet, subjects.ResourceKey(r.Kind, r.Metadata.Name),
		message.ResourceSubject(r.Kind, r.Metadata.Name), body, signer, nil)
}

// apply writes resources as alice, and waits until a station has compiled them.
func (s *site) apply(resources ...fleet.Resource) {
	s.t.Helper()
	var sequence uint64
	for _, r := range resources {
		sequence = s.resource(r, s.users["alice"])
	}
	s.compiled(sequence)
}

// remove deletes a resource as alice.
func (s *site) remove(r fleet.Resource) {
	s.t.Helper()
	s.compiled(s.put("alice", subjects.Admin, subjects.Fleet, subjects.ResourceKey(r.Kind, r.Metadata.Name),
		message.ResourceSubject(r.Kind, r.Metadata.Name), nil, s.users["alice"], func(m *message.Message) { m.Operation = bus.Delete }))
}

func (s *site) compiled(sequence uint64) []station.CompiledNode {
	s.t.Helper()
	var a station.CompiledAnswer
	if err := s.ask(station.QueryCompiled, station.CompiledQuestion{Sequence: sequence}, &a); err != nil {
		s.t.Fatal(err)
	}
	return a.Nodes
}

func (s *site) ask(what string, question, answer any) error {
	s.t.Helper()
	return s.conn("alice", subjects.Admin).Ask(within(s.t), subjects.Query(what), question, answer)
}

// desired is a node's desired state, false where it has none, or lacks parts of it.
func (s *site) desired(name string) (nginx.Desired, bool) {
	s.t.Helper()
	d, err := s.client.Desired(within(s.t), name)
	if kind := fleet.KindOf(err); err != nil && kind != fleet.Unknown && kind != fleet.Invalid && kind != fleet.Unavailable {
		s.t.Fatal(err)
	}
	return d, err == nil
}

func (s *site) node(name string) station.NodeDetail {
	s.t.Helper()
	d, err := s.client.Node(within(s.t), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// items are what a stream holds under a filter.
func (s *site) items(stream, filter string) []bus.Item {
	s.t.Helper()
	var all []bus.Item
	err := s.conn("alice", subjects.Admin).Read(within(s.t), stream, bus.ReadOptions{Filter: filter}, func(i bus.Item) error {
		all = append(all, i)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// told are the ids of all nginxconfig commands that a node was ever sent.
func (s *site) told(name string) []string {
	s.t.Helper()
	var ids []string
	for _, i := range s.items(subjects.Audit, subjects.CommandsTo(name)) {
		d := message.ReceiveCopied(i.Stored, i.Origin)
		if d.Message.Subject.Method == handlers.MethodNginxConfig {
			ids = append(ids, d.Message.ID)
		}
	}
	return ids
}

// copied waits until the audit has everything that commands and events hold.
func (s *site) copied() {
	s.t.Helper()
	c := s.conn("alice", subjects.Admin)
	for _, from := range []struct{ stream, filter string }{{subjects.Commands, subjects.CopiedCommands}, {subjects.Events, "*.event.*.*"}} {
		state, err := c.State(within(s.t), from.stream)
		if err != nil {
			s.t.Fatal(err)
		}
		eventually(s.t, "the audit has copied "+from.stream, func() bool {
			sequence, err := c.CopiedUpTo(within(s.t), subjects.Audit, from.filter)
			if err != nil {
				s.t.Fatal(err)
			}
			return sequence >= state.Last
		})
	}
}

// send stores commands of a method to a node and returns them as they went.
func (s *site) send(node, method string, count int, expires time.Duration, body []byte) []client.Sent {
	s.t.Helper()
	commands := make([]client.Command, count)
	for i := range commands {
		commands[i] = client.Command{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: method, Domain: "nginx"},
			Expires: expires, Body: body}
	}
	sent, err := s.client.Send(within(s.t), commands...)
	if err != nil {
		s.t.Fatal(err)
	}
	return sent
}

// signedAnswer is a node's answer to a command, signed by whom the test wants.
func (s *site) signedAnswer(sent client.Sent, state message.State, signer *identity.Credentials) message.Message {
	s.t.Helper()
	subject, err := subjects.Parse(sent.Subject)
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.NewAnswer(message.Message{Subject: subject, ID: sent.ID}, sent.Node, state, message.Answer{Message: "done"})
	if signer != nil {
		if err := m.Sign(signer); err != nil {
			s.t.Fatal(err)
		}
	}
	return m
}

// answer publishes one over the node's own connection.
func (s *site) answer(sent client.Sent, state message.State, signer *identity.Credentials) error {
	s.t.Helper()
	_, err := s.conn(sent.Node, subjects.Node).Publish(within(s.t), s.signedAnswer(sent, state, signer))
	return err
}

// end answers a command as its node does.
func (s *site) end(sent ...client.Sent) {
	s.t.Helper()
	for _, one := range sent {
		if err := s.answer(one, message.Succeeded, s.creds(one.Node, subjects.Node)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// lifecycle is an event by which a node tells of its coming and going.
func (s *site) lifecycle(name string, l message.Lifecycle) {
	s.t.Helper()
	s.event(name, subjects.MethodLifecycle, message.LifecycleDomain, l)
}

func (s *site) health(name string, every float64) {
	s.t.Helper()
	s.event(name, subjects.MethodHealth, "operatingsystem", map[string]any{"everySeconds": every})
}

func (s *site) event(name, method, domain string, body any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.Message{Subject: subjects.Subject{Node: name, Direction: subjects.Event, Method: method, Domain: domain}, ID: message.NewID(), From: name, Body: text}
	if err := m.Sign(s.creds(name, subjects.Node)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.conn(name, subjects.Node).Publish(within(s.t), m); err != nil {
		s.t.Fatal(err)
	}
}

// report is what a node says that it is.
func (s *site) report(name string, r handlers.Reported) {
	s.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(name, subjects.Node, subjects.Reported, subjects.StateKey(name, handlers.MethodNginxConfig, "nginx"),
		message.ReportedSubject(name, handlers.MethodNginxConfig, "nginx"), body, s.creds(name, subjects.Node), nil)
}

// state is how far a command has come.
func (s *site) state(id string) message.State {
	s.t.Helper()
	a, err := s.client.Command(within(s.t), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.State
}

// sync asks for a node's waiting commands, page by page.
func (s *site) sync(name string) (ids []string, pages int) {
	s.t.Helper()
	after := uint64(0)
	for {
		reply, err := s.page(name, after)
		if err != nil {
			s.t.Fatal(err)
		}
		pages++
		for _, stored := range reply.Messages {
			ids = append(ids, message.Receive(stored).Message.ID)
			after = max(after, stored.Sequence)
		}
		if !reply.More {
			return ids, pages
		}
	}
}

func (s *site) page(name string, after uint64) (reply message.SyncReply, err error) {
	s.t.Helper()
	err = s.conn(name, subjects.Node).Ask(within(s.t), subjects.Sync(name), message.SyncRequest{After: after}, &reply)
	return reply, err
}

func ids(sent []client.Sent) []string {
	all := make([]string, len(sent))
	for i, one := range sent {
		all[i] = one.ID
	}
	return all
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it holds.
func eventually(t testing.TB, what string, holds func() bool) {
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

// host is a virtual host that answers with a text.
func host(name, selector, text string) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: name},
		Spec: &fleet.VirtualHost{Selector: selector, Listen: []fleet.Listen{{Port: 8080}}, ServerNames: []string{name + ".example.org"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}}}}
}

// proxy is a virtual host that passes to an upstream.
func proxy(name, selector, upstream string) fleet.Resource {
	r := host(name, selector, "")
	r.Spec.(*fleet.VirtualHost).Locations = []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Upstream: upstream}}}
	return r
}

func upstream(name, server string) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "Upstream", Metadata: fleet.Metadata{Name: name},
		Spec: &fleet.Upstream{Servers: []fleet.Server{{Address: server}}}}
}

func file(name, content string) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "ConfigFile", Metadata: fleet.Metadata{Name: name},
		Spec: &fleet.ConfigFile{Context: "http", Content: content}}
}

// noise is a body that does not get smaller when it is packed.
func noise(size int) []byte {
	body := make([]byte, size)
	_, _ = rand.Read(body) // never fails
	return body
}
