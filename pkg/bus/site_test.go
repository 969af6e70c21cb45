package bus_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// patience is how long a test waits for what should come at once.
const patience = 30 * time.Second

// site is a real broker in this process, on a port and a store that survive
// its restart.
type site struct {
	t         *testing.T
	authority *identity.Authority
	config    broker.Config
	users     map[string]*identity.Credentials
	url       string
	stop      func() // ends the broker and waits
}

// bare is a broker without any stream.
func bare(t *testing.T) *site {
	t.Helper()
	return bareWith(t, func(*broker.Config) {})
}

func bareWith(t *testing.T, change func(*broker.Config)) *site {
	t.Helper()
	s := &site{t: t, authority: newAuthority(t), users: map[string]*identity.Credentials{}}
	s.config = broker.Config{StoreDir: t.TempDir(), Sync: "2m", Drain: -1, Server: s.authority.Server(), Logger: slog.New(slog.DiscardHandler)}
	change(&s.config)
	s.start()
	return s
}

// open is a broker with all streams and buckets.
func open(t *testing.T) *site {
	t.Helper()
	s := bare(t)
	if err := s.station().EnsureStorage(t.Context(), subjects.Settings{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func newAuthority(t *testing.T) *identity.Authority {
	t.Helper()
	a, err := identity.Open(t.TempDir(), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *site) start() {
	s.t.Helper()
	b, err := broker.New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	select {
	case <-b.Ready():
	case err := <-ended:
		cancel()
		s.t.Fatalf("the broker did not start: %v", err)
	}
	s.url = b.URL()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	s.config.Port, _ = strconv.Atoi(u.Port())
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the broker ended with %v", err)
		}
	}
	s.t.Cleanup(s.stop)
}

// credentials are those of a user, made where there is none.
func (s *site) credentials(name string, role subjects.Role) *identity.Credentials {
	s.t.Helper()
	if creds := s.users[name]; creds != nil {
		return creds
	}
	user, err := s.authority.User(name, role)
	if err != nil {
		s.t.Fatal(err)
	}
	creds, err := identity.LoadCreds(user.CredsFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.users[name] = creds
	return creds
}

// tls is how the broker is trusted.
func (s *site) tls() bus.TLS { return bus.TLS{CA: s.config.Server.TLS.CA} }

func (s *site) connect(o bus.Options) *bus.Conn {
	s.t.Helper()
	o.URL, o.TLS = s.url, s.tls()
	c, err := bus.Connect(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *site) station() *bus.Conn {
	return s.connect(bus.Options{Credentials: s.credentials("station-a", subjects.Station)})
}

func (s *site) admin() *bus.Conn {
	return s.connect(bus.Options{Credentials: s.credentials("alice", subjects.Admin)})
}

func (s *site) node(name string) *bus.Conn {
	return s.connect(bus.Options{Credentials: s.credentials(name, subjects.Node)})
}

// foreign is a client as any NATS program makes one.
func (s *site) foreign(name string, role subjects.Role) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.url, nats.RootCAs(s.tls().CA), nats.TLSHandshakeFirst(), nats.UserCredentials(s.credentials(name, role).File), nats.CustomInboxPrefix(subjects.InboxOf(role, name)),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// command is a signed command of alice.
func (s *site) command(node, method string) message.Message {
	return s.signed("alice", subjects.Admin, message.Message{
		Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: method, Domain: "nginx"},
		Expires: time.Now().Add(time.Hour), Body: []byte(`{}`),
	})
}

// event is a signed event of a node.
func (s *site) event(node, method, domain string) message.Message {
	return s.signed(node, subjects.Node, message.Message{
		Subject: subjects.Subject{Node: node, Direction: subjects.Event, Method: method, Domain: domain}, Body: []byte(`{}`),
	})
}

func (s *site) signed(name string, role subjects.Role, m message.Message) message.Message {
	s.t.Helper()
	m.From = name
	if m.ID == "" {
		m.ID = message.NewID()
	}
	if err := m.Sign(s.credentials(name, role)); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func publish(t *testing.T, c *bus.Conn, m message.Message) uint64 {
	t.Helper()
	sequence, err := c.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

func flush(t *testing.T, c *bus.Conn) {
	t.Helper()
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// next is what comes next.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// all are the messages that a stream holds.
func all(t *testing.T, c *bus.Conn, stream string, o bus.ReadOptions) []bus.Item {
	t.Helper()
	var items []bus.Item
	if err := c.Read(within(t), stream, o, func(i bus.Item) error {
		items = append(items, i)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return items
}

// noise is a body that does not get smaller when it is packed.
func noise(size int) []byte {
	body := make([]byte, size)
	_, _ = rand.Read(body) // never fails
	return body
}
