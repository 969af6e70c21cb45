package join_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
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
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// patience is how long anything may take that must happen; it is only ever
// waited for when a test fails.
const patience = 60 * time.Second

// site is a real broker in this process, people, and stations as a test wants.
type site struct {
	t         *testing.T
	authority *identity.Authority
	url       string
	trust     message.Message
	client    *client.Client // alice's, an administrator
}

// untrusted is a station for the broker and for nobody else.
const untrusted = "mallory"

func open(t *testing.T) *site {
	t.Helper()
	a, err := identity.Open(filepath.Join(t.TempDir(), "identity"), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, authority: a}
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
	s.creds(untrusted, subjects.Station)
	if err := s.conn("station-a", subjects.Station).EnsureStorage(t.Context(), subjects.Settings{LogsBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	s.client = s.as("alice", subjects.Admin)
	return s
}

// running is a site with a station.
func running(t *testing.T, change ...func(*station.Config)) *site {
	t.Helper()
	s := open(t)
	s.station("station-a", change...)
	return s
}

func (s *site) station(name string, change ...func(*station.Config)) (stop func()) {
	s.t.Helper()
	cfg := station.Config{URL: s.url, Credentials: s.creds(name, subjects.Station), Trust: s.trust, SweepEvery: 50 * time.Millisecond,
		Storage: subjects.Settings{LogsBytes: 1 << 30}, Issuer: s.authority.Issuer()}
	for _, c := range change {
		c(&cfg)
	}
	st, err := station.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return runs(s.t, st.Ready(), st.Run)
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

func (s *site) creds(name string, role subjects.Role) *identity.Credentials {
	s.t.Helper()
	u, err := s.authority.User(name, role)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) conn(name string, role subjects.Role) *bus.Conn {
	s.t.Helper()
	return s.connect(s.creds(name, role))
}

func (s *site) connect(c bus.Credentials) *bus.Conn {
	s.t.Helper()
	conn, err := bus.Connect(s.t.Context(), bus.Options{URL: s.url, Credentials: c})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

func (s *site) as(name string, role subjects.Role) *client.Client {
	s.t.Helper()
	c, err := client.Open(s.t.Context(), client.Options{URL: s.url, Credentials: s.creds(name, role), Trust: s.trust})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// pushTrust stores the newest trust set, but does not push the account.
func (s *site) pushTrust() {
	s.t.Helper()
	set, err := s.authority.TrustSet()
	var lists [][]byte
	if err == nil {
		lists, err = s.authority.RevokedNodes()
	}
	if err == nil {
		err = s.client.Conn().PutTrust(within(s.t), set, lists...)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// record is a token for one node.
func record(change ...func(*station.TokenRecord)) station.TokenRecord {
	r := station.TokenRecord{Uses: 1}
	for _, c := range change {
		c(&r)
	}
	return r
}

func named(name string) func(*station.TokenRecord) {
	return func(r *station.TokenRecord) { r.Node = name }
}

// token makes one as alice.
func (s *site) token(change ...func(*station.TokenRecord)) identity.Token {
	s.t.Helper()
	return s.tokenOf(s.client, time.Hour, change...)
}

func (s *site) tokenOf(c *client.Client, life time.Duration, change ...func(*station.TokenRecord)) identity.Token {
	s.t.Helper()
	key, seed, err := identity.NewUserKey()
	if err != nil {
		s.t.Fatal(err)
	}
	r := record(change...)
	r.Key = key
	_, jwt, err := c.MakeToken(within(s.t), r, life)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.complete(identity.Token{JWT: jwt, Seed: string(seed)})
}

// complete is a token with what it says of the fleet.
func (s *site) complete(t identity.Token) identity.Token {
	s.t.Helper()
	set, err := message.OpenTrust(s.trust)
	if err != nil {
		s.t.Fatal(err)
	}
	t.URL, t.Account, t.Signers, t.Version = s.url, set.Account, set.Signers, set.Version
	return t
}

// join joins with a new directory.
func (s *site) join(t identity.Token, name string, change ...func(*join.Options)) (join.Joined, error) {
	s.t.Helper()
	o := join.Options{Token: t, Name: name, Dir: filepath.Join(s.t.TempDir(), "identity"), AskEvery: 10 * time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	j, err := join.Join(within(s.t), o)
	if _, there := os.Stat(filepath.Join(o.Dir, "node.creds")); (there == nil) != (err == nil) {
		s.t.Errorf("%s: %v, and node.creds: %v", name, err, there)
	}
	return j, err
}

// refused checks that a join is, for a reason.
func (s *site) refused(what string, kind fleet.Kind, say string, err error) {
	s.t.Helper()
	if fleet.KindOf(err) != kind || !strings.Contains(err.Error(), say) {
		s.t.Errorf("%s: %v (%s); want %s: %q", what, err, fleet.KindOf(err), kind, say)
	}
}

// told waits for an event about a node's identity in the audit, whose text holds
// something.
func (s *site) told(node, event, text string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(within(s.t))
	defer cancel()
	found := false
	err := s.client.Conn().Read(ctx, subjects.Audit, bus.ReadOptions{Filter: subjects.LifecycleOf(node), Follow: true}, func(i bus.Item) error {
		d := message.ReceiveCopied(i.Stored, i.Origin)
		var l message.Lifecycle
		if found || d.Fault != nil || d.Message.Subject.Domain != message.IdentityDomain || json.Unmarshal(d.Message.Body, &l) != nil {
			return nil
		}
		if found = l.Event == event && strings.Contains(l.Message, text); found {
			if !s.client.Proven(ctx, d) {
				s.t.Errorf("the event %q of %s is not proven", event, node)
			}
			cancel()
		}
		return nil
	})
	if !found {
		s.t.Errorf("the audit has no %q of %s about %q: %v", event, node, text, err)
	}
}

// used is how many uses of a token were taken.
func (s *site) used(t identity.Token) int {
	s.t.Helper()
	all, err := s.client.Tokens(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, k := range all {
		if k.ID == t.ID() {
			return k.Used
		}
	}
	s.t.Fatalf("there is no token %s", t.ID())
	return 0
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
