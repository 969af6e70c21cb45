package announce_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/announce"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// patience is how long anything may take that takes a moment.
const patience = 20 * time.Second

// site is a broker, and the identity directory that it runs with.
type site struct {
	t    *testing.T
	au   *identity.Authority
	url  string
	tls  bus.TLS
	opts identity.Options

	store string // of the brokers
	stop  func() // the first of them
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, opts: identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}}}
	s.au = s.load(filepath.Join(t.TempDir(), "identity"), "main")
	var b *broker.Broker
	b, s.stop = s.broker(0, s.au.Server())
	s.url, s.tls = b.URL(), bus.TLS{CA: s.au.CAFile()}
	s.storage(s.au)
	return s
}

// broker runs a broker on a port, 0 for any, with what the site's brokers have
// stored; stop ends it.
func (s *site) broker(port int, server identity.Server) (b *broker.Broker, stop func()) {
	s.t.Helper()
	if s.store == "" {
		s.store = filepath.Join(s.t.TempDir(), "broker")
	}
	b, err := broker.New(broker.Config{StoreDir: s.store, Port: port, Sync: "2m", Drain: -1, Server: server, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	return b, s.run("the broker", b.Ready(), b.Run)
}

// run runs a part until stop is called or the test ends, once it is ready.
func (s *site) run(what string, ready <-chan struct{}, run func(context.Context) error) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v", what, err)
		}
	})
	s.t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		s.t.Fatalf("%s did not start: %v", what, err)
	case <-time.After(patience):
		s.t.Fatalf("%s is not ready", what)
	}
	return stop
}

// load opens a tenant with its administrator and a station.
func (s *site) load(dir, tenant string) *identity.Authority {
	s.t.Helper()
	o := s.opts
	o.Tenant = tenant
	au, err := identity.Open(dir, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.user(au, "admin", subjects.Admin)
	s.user(au, "station", subjects.Station)
	return au
}

func (s *site) user(au *identity.Authority, name string, role subjects.Role) *identity.Credentials {
	s.t.Helper()
	u, err := au.User(name, role)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) connect(au *identity.Authority, name string, role subjects.Role) *bus.Conn {
	s.t.Helper()
	c, err := bus.Connect(s.t.Context(), bus.Options{URL: s.url, TLS: s.tls, Credentials: s.user(au, name, role)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *site) storage(au *identity.Authority) {
	s.t.Helper()
	if err := s.connect(au, "station", subjects.Station).EnsureStorage(s.t.Context(), subjects.Settings{LogsBytes: 1 << 20}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) options(au *identity.Authority) bus.Options {
	s.t.Helper()
	writer, err := announce.Writer(au)
	if err != nil {
		s.t.Fatal(err)
	}
	return bus.Options{URL: s.url, TLS: s.tls, Credentials: writer}
}

func (s *site) push(au *identity.Authority) {
	s.t.Helper()
	text, err := au.Account()
	if err != nil {
		s.t.Fatal(err)
	}
	if told, err := announce.Accounts(s.t.Context(), au, bus.Options{URL: s.url, TLS: s.tls}, text); err != nil || !slices.Equal(told, []string{"fairlead"}) {
		s.t.Fatal(told, err)
	}
}

// tell stores what the directory says, and asserts whether it learned.
func (s *site) tell(au *identity.Authority, learns bool, renewed ...identity.User) {
	s.t.Helper()
	if learned, err := announce.Trust(s.t.Context(), au, s.options(au), renewed...); err != nil || learned != learns {
		s.t.Fatalf("it learned: %v, want %v: %v", learned, learns, err)
	}
}

// plain is a connection as any NATS program makes one.
func (s *site) plain(au *identity.Authority, name string, role subjects.Role) *nats.Conn {
	s.t.Helper()
	c := s.user(au, name, role)
	nc, err := nats.Connect(s.url, nats.UserCredentials(c.File), nats.RootCAs(s.tls.CA), nats.TLSHandshakeFirst(), nats.CustomInboxPrefix(c.Inbox()),
		nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

func TestARevokedUserIsCutOffAndBelievedNoMore(t *testing.T) {
	s := open(t)
	mallory := s.plain(s.au, "mallory", subjects.Admin)
	closed := make(chan struct{})
	mallory.SetClosedHandler(func(*nats.Conn) { close(closed) })
	s.tell(s.au, false)
	u, err := s.au.Revoke("mallory", "stolen")
	if err != nil {
		t.Fatal(err)
	}
	s.push(s.au)
	s.tell(s.au, false)
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("mallory is connected still")
	}
	stored, err := s.connect(s.au, "admin", subjects.Admin).StoredTrust(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set, err := message.OpenTrust(stored)
	if err != nil || !slices.ContainsFunc(set.Revoked, func(r message.RevokedKey) bool { return r.Key == u.Key && r.Reason == "stolen" }) {
		t.Errorf("the stored set names %+v, %v", set.Revoked, err)
	}
}

// Stations issue JWTs with their own clock, and until they have heard of it to a
// key that was taken back this moment. Brokers take none of them.
func TestARevocationHoldsForJWTsThatAreIssuedLater(t *testing.T) {
	s := open(t)
	ship, sound := s.user(s.au, "ship1", subjects.Node), s.user(s.au, "ship2", subjects.Node)
	s.opts.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	behind := s.load(s.au.Dir(), "main")
	if _, err := behind.Revoke("ship1", "stolen"); err != nil {
		t.Fatal(err)
	}
	s.push(behind)
	for _, c := range []*identity.Credentials{ship, sound} {
		token, err := s.au.Issuer().Issue(subjects.Node, c.Name, c.Key, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.url, nats.UserJWT(func() (string, error) { return token, nil }, c.Sign),
			nats.RootCAs(s.tls.CA), nats.TLSHandshakeFirst(), nats.NoReconnect())
		if err == nil {
			nc.Close()
		}
		if in := err == nil; in != (c == sound) {
			t.Errorf("the broker lets %s in: %v, %v", c.Name, in, err)
		}
	}
}

func TestWhoReadsWhenRevokedIsToldWhy(t *testing.T) {
	s := open(t)
	olga := s.connect(s.au, "olga", subjects.Admin)
	ended, reads := make(chan error, 1), make(chan struct{})
	s.tell(s.au, false)
	go func() {
		begun := sync.OnceFunc(func() { close(reads) })
		ended <- olga.Read(t.Context(), subjects.BucketStream(subjects.Trust), bus.ReadOptions{Follow: true}, func(bus.Item) error { begun(); return nil })
	}()
	<-reads
	if _, err := s.au.Revoke("olga", ""); err != nil {
		t.Fatal(err)
	}
	s.push(s.au)
	select {
	case err := <-ended:
		if fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), `the broker does not take the credentials of "olga"`) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("olga reads still")
	}
}

// A directory from a backup knows fewer versions than the brokers have. What it
// says next follows the newest, and no revocation is lost by it.
func TestADirectoryFromABackupTakesOverWhatTheBrokersHave(t *testing.T) {
	s := open(t)
	mallory := filepath.Join(t.TempDir(), "mallory.creds")
	if text, err := os.ReadFile(s.user(s.au, "mallory", subjects.Admin).File); err != nil || os.WriteFile(mallory, text, 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := s.au.TrustSet(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(s.au.Dir())); err != nil {
		t.Fatal(err)
	}
	u, err := s.au.Revoke("mallory", "")
	if err != nil {
		t.Fatal(err)
	}
	s.tell(s.au, false)
	restored := s.load(backup, "main")
	if _, err := restored.Create(identity.New{Name: "carol", Role: subjects.Viewer}); err != nil {
		t.Fatal(err)
	}
	bob, err := restored.User("bob", subjects.Viewer)
	if err == nil {
		_, err = restored.Revoke("bob", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.tell(restored, true)
	s.tell(restored, false)
	m, err := s.connect(s.au, "admin", subjects.Admin).StoredTrust(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set, err := message.OpenTrust(m)
	if err != nil || !slices.ContainsFunc(set.Keys, func(k message.TrustedKey) bool { return k.Name == "carol" }) ||
		!slices.ContainsFunc(set.Revoked, func(r message.RevokedKey) bool { return r.Key == u.Key }) ||
		!slices.ContainsFunc(set.Revoked, func(r message.RevokedKey) bool { return r.Key == bob.Key }) {
		t.Errorf("version %d: keys %+v, revoked %+v, %v", set.Version, set.Keys, set.Revoked, err)
	}
	// The broker hears it too, from an account that is younger than the one that
	// revoked mallory first.
	s.push(restored)
	if nc, err := nats.Connect(s.url, nats.UserCredentials(mallory), nats.RootCAs(s.tls.CA), nats.TLSHandshakeFirst()); err == nil {
		nc.Close()
		t.Error("the broker lets mallory in")
	}
	if _, err := restored.Find("mallory"); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("the directory has mallory still: %v", err)
	}
}

func TestARenewedJWTReachesWhoseItIs(t *testing.T) {
	s := open(t)
	u, err := s.au.Renew("admin", 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ship := s.user(s.au, "ship1", subjects.Node)
	node, err := s.au.Find("ship1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is once
		s.tell(s.au, false, u, node)
	}
	c := s.connect(s.au, "admin", subjects.Admin)
	m, err := c.Renewed(t.Context(), u.Key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := message.OpenTrust(mustTrust(t, s.au))
	if err != nil {
		t.Fatal(err)
	}
	if token, err := message.OpenRenewed(m, u.Key, set.Signers); err != nil || token != u.JWT() {
		t.Errorf("%q, %v", token, err)
	}
	if _, err := c.Renewed(t.Context(), ship.Key); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("a node's, which asks for its own: %v", err)
	}
}

func mustTrust(t *testing.T, au *identity.Authority) message.Message {
	t.Helper()
	m, err := au.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Whose key of a role is replaced stays connected, and is cut off when the old
// key is dropped and he has no JWT by the new one.
func TestNobodyIsCutOffWhileTheKeysOfRolesAreReplaced(t *testing.T) {
	s := open(t)
	olga := s.plain(s.au, "olga", subjects.Operator)
	closed := make(chan struct{})
	olga.SetClosedHandler(func(*nats.Conn) { close(closed) })
	for range 2 { // again before the first is finished
		if err := s.au.RotateRoles(subjects.Roles()...); err != nil {
			t.Fatal(err)
		}
		s.push(s.au)
		if err := olga.Flush(); err != nil {
			t.Fatalf("olga is cut off: %v", err)
		}
	}
	s.plain(s.au, "olga", subjects.Operator) // with the new JWT
	if gone, err := s.au.FinishRoles(); err != nil || len(gone) != 2*len(subjects.Roles()) {
		t.Fatal(gone, err)
	}
	s.push(s.au)
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("who came with the old key is connected still")
	}
	s.plain(s.au, "olga", subjects.Operator)
}

// One tenant hears of another exactly what was exported and imported, for as
// long as it is.
func TestOnlyWhatIsImportedCrossesFromTenantToTenant(t *testing.T) {
	s := open(t)
	shop := s.load(s.au.Dir(), "shop")
	s.push(shop)
	hears := func(au *identity.Authority) *nats.Subscription {
		t.Helper()
		sub, err := s.plain(au, "admin", subjects.Admin).SubscribeSync("*.>")
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	ship := s.plain(s.au, "ship1", subjects.Node)
	says := func(method string) {
		t.Helper()
		event := subjects.Subject{Node: "ship1", Direction: subjects.Event, Method: method, Domain: "nginx"}
		err := ship.Publish(subjects.Stored(event, message.NewID()), []byte(method))
		if err = errors.Join(err, ship.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	next := func(sub *nats.Subscription) string {
		t.Helper()
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		return m.Subject
	}
	mine, theirs := hears(s.au), hears(shop)
	flush := func() {
		t.Helper()
		// What the broker has shown to one tenant it has offered to the other.
		says(subjects.MethodHealth)
		for next(mine) != "ship1.event.healthreport.nginx" {
		}
	}
	flush()
	if n, _, _ := theirs.Pending(); n != 0 {
		t.Error("the other tenant hears what nobody shares with it")
	}
	health := identity.Share{Subject: "*.event.healthreport.*", From: "main"}
	if err := s.au.Export(health, false); err != nil {
		t.Fatal(err)
	}
	s.push(s.au)
	flush()
	if n, _, _ := theirs.Pending(); n != 0 {
		t.Error("the other tenant hears what it was not granted")
	}
	if err := shop.Import(health, false); err != nil {
		t.Fatal(err)
	}
	s.push(shop)
	says(subjects.MethodSyslog) // not shared
	says(subjects.MethodHealth)
	if got := next(theirs); got != subjects.Imported("main", "ship1.event.healthreport.nginx") {
		t.Errorf("the other tenant hears %s", got)
	}
	if err := shop.Import(health, true); err != nil {
		t.Fatal(err)
	}
	s.push(shop)
	before, _, _ := theirs.Pending()
	flush()
	if n, _, _ := theirs.Pending(); n != before {
		t.Error("the other tenant hears what was taken away again")
	}
}

func TestARemovedTenantIsCutOff(t *testing.T) {
	s := open(t)
	shop := s.load(s.au.Dir(), "shop")
	s.push(shop)
	nc := s.plain(shop, "admin", subjects.Admin)
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	deletion, err := shop.RemoveTenant()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := announce.Deletion(t.Context(), s.au, bus.Options{URL: s.url, TLS: s.tls}, deletion); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("its administrator is connected still")
	}
}

func TestWhatIsDueIsRenewedByItself(t *testing.T) {
	s := open(t)
	guest, err := s.au.Create(identity.New{Name: "guest", Role: subjects.Viewer, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	o := s.opts
	o.Now = func() time.Time { return time.Now().Add(50 * time.Minute) }
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		announce.Renewals(ctx, s.au.Dir(), o, bus.Options{URL: s.url, TLS: s.tls}, slog.New(slog.DiscardHandler))
	}()
	heard := make(chan struct{}, 1)
	c := s.connect(s.au, "admin", subjects.Admin)
	sub, err := c.FollowRenewed(guest.Key, func() { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Stop()
	if _, err := c.Renewed(t.Context(), guest.Key); err != nil { // it may have been there before
		select {
		case <-heard:
		case <-time.After(patience):
			t.Fatal("nothing was renewed")
		}
	}
	cancel()
	<-over
	if u, err := s.au.Find("guest"); err != nil || !u.Expires.After(guest.Expires) {
		t.Errorf("%+v, %v", u, err)
	}
}
