package announce_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/announce"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// asBefore rewrites an account in the directory as it was made before stations heard
// of connections, and returns it.
func asBefore(t *testing.T, dir, path string) string {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	c, err := jwt.DecodeAccountClaims(read(path))
	if err != nil {
		t.Fatal(err)
	}
	c.Imports, c.Exports = nil, nil
	for _, scope := range c.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok {
			s.Template.Sub.Allow = slices.DeleteFunc(s.Template.Sub.Allow, func(subject string) bool { return strings.HasPrefix(subject, "live.link.") })
		}
	}
	pair, err := nkeys.FromSeed([]byte(read("operator-signing.seed")))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second is over", func() bool { return time.Now().Unix() > c.IssuedAt })
	text, err := c.Encode(pair)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain for this: " + what)
		}
	}
}

func TestAccountsThatAreOlderHearOfConnectionsOnceTheyArePushed(t *testing.T) {
	s := open(t)
	to := bus.Options{URL: s.url, TLS: s.tls}
	old := []string{asBefore(t, s.au.Dir(), "system/account.jwt"), asBefore(t, s.au.Dir(), "tenants/main/account.jwt")}
	if _, err := announce.Accounts(t.Context(), s.au, to, old...); err != nil {
		t.Fatal(err)
	}
	heard := make(chan bus.Link, 1024)
	run, err := s.connect(s.au, "station", subjects.Station).Beats(func(string, []byte) {}, func(l bus.Link) { heard <- l })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()

	ship := s.user(s.au, "ship1", subjects.Node)
	visit := func() {
		c, err := bus.Connect(t.Context(), bus.Options{URL: s.url, TLS: s.tls, Credentials: ship, Instance: "one"})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	visit()
	if len(heard) > 0 {
		t.Fatal("the old account hears of connections: this test shows nothing")
	}
	upgraded, err := identity.Open(s.au.Dir(), s.opts)
	if err != nil {
		t.Fatal(err)
	}
	system, err := upgraded.SystemAccountJWT()
	if err != nil {
		t.Fatal(err)
	}
	account, err := upgraded.Account()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := announce.Accounts(t.Context(), upgraded, to, system, account); err != nil {
		t.Fatal(err)
	}
	var all []bus.Link
	mine := func(up bool) bool {
		return slices.ContainsFunc(all, func(l bus.Link) bool {
			return l.Up == up && l.Key == ship.Key && l.User == "ship1" && l.Instance == "one" && l.Host == "127.0.0.1" && l.Server != "" && l.ID > 0
		})
	}
	eventually(t, "a connection's begin and end are heard", func() bool {
		visit() // the broker has the station connect anew, with what it may hear now
		for len(heard) > 0 {
			all = append(all, <-heard)
		}
		return mine(true) && mine(false)
	})
}

// Two tenants share a broker: neither hears of the other's connections.
func TestATenantHearsOfItsOwnConnectionsAlone(t *testing.T) {
	s := open(t)
	shop := s.load(s.au.Dir(), "shop")
	s.push(shop)
	heard := make(chan bus.Link, 1024)
	station := s.connect(shop, "station", subjects.Station)
	run, err := station.Beats(func(string, []byte) {}, func(l bus.Link) { heard <- l })
	if err == nil {
		err = station.Flush(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	fence := func(au *identity.Authority, name string) string {
		c := s.user(au, name, subjects.Node)
		conn, err := bus.Connect(t.Context(), bus.Options{URL: s.url, TLS: s.tls, Credentials: c})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		return c.Key
	}
	other := fence(s.au, "ship1")
	own := fence(shop, "till1")
	limit := time.After(patience)
	for done := false; !done; {
		select {
		case l := <-heard:
			if l.Key == other {
				t.Error("a tenant hears of another's connection")
			}
			done = l.Key == own && !l.Up
		case <-limit:
			t.Fatal("the tenant does not hear of its own connections")
		}
	}
}
