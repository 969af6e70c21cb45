package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// site is a running broker and its authority.
type site struct {
	*broker.Broker
	*identity.Authority
	config broker.Config
	dir    string // of the identities, where a test needs it
	at     string // the URL of one that is not in this process
	stop   func() // ends the broker and waits
}

func (s *site) URL() string {
	if s.Broker == nil {
		return s.at
	}
	return s.Broker.URL()
}

// start runs a broker of an authority of its own.
func start(t testing.TB, change func(*broker.Config)) *site {
	t.Helper()
	return startOf(t, authority(t, t.TempDir(), identity.Options{}), change)
}

// startOf runs a broker that syncs seldom and takes its own port; change may
// say otherwise.
func startOf(t testing.TB, a *identity.Authority, change func(*broker.Config)) *site {
	t.Helper()
	c := broker.Config{StoreDir: t.TempDir(), Server: a.Server(), Sync: "2m", Drain: -1, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	select {
	case <-b.Ready():
	case err := <-ended:
		cancel()
		t.Fatalf("the broker did not start: %v", err)
	}
	s := &site{Broker: b, Authority: a, config: c}
	s.stop = func() {
		cancel()
		if err, open := <-ended; open {
			close(ended)
			if err != nil {
				t.Errorf("the broker ended with %v", err)
			}
		}
	}
	t.Cleanup(s.stop)
	return s
}

func authority(t testing.TB, dir string, o identity.Options) *identity.Authority {
	t.Helper()
	a, err := identity.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func user(t testing.TB, a *identity.Authority, name string, role subjects.Role) identity.User {
	t.Helper()
	u, err := a.User(name, role)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// trusts says how to trust the brokers of an authority.
func trusts(a *identity.Authority) bus.TLS { return bus.TLS{CA: a.Server().TLS.CA} }

// secure is the same for a client of nats.go.
func secure(a *identity.Authority) nats.Option {
	return func(o *nats.Options) error {
		return errors.Join(nats.RootCAs(a.Server().TLS.CA)(o), nats.TLSHandshakeFirst()(o))
	}
}

// connect is a client as any NATS program makes one.
func (s *site) connect(t *testing.T, name string, role subjects.Role) *nats.Conn {
	t.Helper()
	return dial(t, s, user(t, s.Authority, name, role))
}

func dial(t *testing.T, s *site, u identity.User) *nats.Conn {
	t.Helper()
	// Within the process there is no TLS: a server waits 50 ms for it and then speaks
	// first, and over a pipe without a buffer both would wait for the other to read.
	way := secure(s.Authority)
	if s.URL() == "" {
		way = nats.InProcessServer(s)
	}
	nc, err := nats.Connect(s.URL(), way, nats.UserCredentials(u.CredsFile),
		nats.CustomInboxPrefix(subjects.InboxOf(u.Role, u.Name)),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ensureStorage makes all streams and buckets.
func (s *site) ensureStorage(t testing.TB) {
	t.Helper()
	ensureStorage(t, s.URL(), s.Authority)
}

func ensureStorage(t testing.TB, url string, a *identity.Authority) {
	t.Helper()
	creds, err := identity.LoadCreds(user(t, a, "station-a", subjects.Station).CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Options{URL: url, TLS: trusts(a), Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.EnsureStorage(t.Context(), subjects.Settings{}); err != nil {
		t.Fatal(err)
	}
}

// next waits for a message.
func next(t *testing.T, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	msg, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func subscribe(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err := errors.Join(err, nc.Flush(), nc.LastError()); err != nil {
		t.Fatal(err)
	}
	return sub
}
