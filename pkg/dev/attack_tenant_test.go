package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// Another tenant of the same broker: its administrator, and its node, which has
// the name of one of ours.
func TestAttackByAnotherTenant(t *testing.T) {
	r := newRealm(t)
	dir := filepath.Join(r.Data(), "identity")
	shop, err := identity.CreateTenant(dir, identity.Options{Tenant: "shop", Methods: handlers.All().Sent()}, identity.Quota{})
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]subjects.Role{"shop-admin": subjects.Admin, node1: subjects.Node, "shop-station": subjects.Station} {
		u, err := shop.User(name, role)
		if err != nil {
			t.Fatal(err)
		}
		c, err := identity.LoadCreds(u.CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		r.strangers["shop/"+name] = c
	}
	theirs, err := shop.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	account, err := shop.Account()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.push(account); err != nil {
		t.Fatal(err)
	}
	// hears subscribes as somebody to something, has our administrator command
	// node1, and returns what came of that.
	hears := func(who, subject string) (all []string) {
		t.Helper()
		nc, ours := r.raw(who), r.raw("vera")
		defer nc.Close()
		defer ours.Close()
		sub, err := nc.SubscribeSync(subject)
		if err != nil || nc.Flush() != nil || nc.LastError() != nil {
			t.Fatalf("%s may not subscribe to %s: %v %v", who, subject, err, nc.LastError())
		}
		control, err := ours.SubscribeSync("node1.command.>")
		if err != nil || ours.Flush() != nil {
			t.Fatal(err)
		}
		r.runs(node1)
		if _, err := control.NextMsg(patience); err != nil {
			t.Fatal("our own viewer hears nothing either:", err)
		}
		if err := nc.Flush(); err != nil { // what was on its way has come
			t.Fatal(err)
		}
		for {
			m, err := sub.NextMsg(0)
			if err != nil {
				return all
			}
			all = append(all, m.Subject)
		}
	}
	silent := func(what, who, subject string) attempt {
		return attempt{what: what, by: byBroker, says: "nothing was heard", try: func() (refuser, string) {
			if all := hears(who, subject); len(all) > 0 {
				return "", strings.Join(all, " ")
			}
			return byBroker, "nothing was heard"
		}}
	}
	answers := func(what, who, question string) attempt {
		return attempt{what: what, by: byBroker, says: "no responders", try: func() (refuser, string) {
			m, err := r.raw(who).Request(question, nil, patience)
			if err != nil {
				return byBroker, err.Error()
			}
			if strings.Contains(string(m.Data), "not found") || strings.Contains(string(m.Data), "not enabled") {
				return byBroker, "no responders: " + string(m.Data)
			}
			return "", string(m.Data)
		}}
	}
	there := func(what, subject string) attempt {
		return attempt{what: what, by: byBroker, says: "nobody took it", effect: func() string { return strings.Join(r.stored(marker), " ") },
			try: func() (refuser, string) {
				_, err := r.raw("shop/shop-admin").Request(subject, []byte(marker), patience)
				if err == nil {
					return "", "somebody took it"
				}
				return byBroker, "nobody took it: " + err.Error()
			}, control: func() { r.runs(node1) }}
	}
	r.attempts(t, []attempt{
		silent("everything, by its administrator", "shop/shop-admin", "*.>"),
		silent("all commands", "shop/shop-admin", "*.command.>"),
		silent("our node's commands, by its node of that name", "shop/node1", "node1.command.>"),
		silent("our trust set, by its node", "shop/node1", subjects.TrustShown),
		answers("our mailboxes", "shop/shop-admin", "$JS.API.STREAM.INFO.COMMANDS"),
		answers("our trust set as it is stored", "shop/node1", "$JS.API.DIRECT.GET.KV_trust.$KV.trust.set"),
		answers("our station, by its administrator", "shop/shop-admin", subjects.Query("nodes")),
		answers("our station, by its node", "shop/node1", subjects.Sync(node1)),
		answers("our node's renewal, by its node", "shop/node1", subjects.RenewOf(node1)),
		there("a command to our node", "fleet.node1.command.shellcommand.operatingsystem.x"),
		there("a resource of ours", "$KV.fleet.VirtualHost.shop"),
		{what: "its administrator's command, carried over by ours", by: byAgent, says: "is not one that node1 trusts", try: func() (refuser, string) {
			m, _ := r.touching(node1)
			m = r.signAs(m, "shop-admin", r.strangers["shop/shop-admin"])
			r.store(theAdmin, encoded(m))
			return r.rejected(m.ID, m.Subject)
		}, control: func() { r.runs(node1) }},
		{what: "its trust set in our bucket", by: byStation, says: "storing the newest again", try: func() (refuser, string) {
			mark := r.heard.len()
			r.put(subjects.Trust, subjects.TrustKey, theirs)
			return r.complains(mark, byStation, "storing the newest again")
		}, control: func() { r.runs(node1) }},
		{what: "an import that we do not export", by: byClient, says: "exports no stream", try: func() (refuser, string) {
			err := shop.Import(identity.Share{Subject: "node1.event.>", From: "main"}, false)
			if err == nil {
				return "", "it was granted"
			}
			return byClient, err.Error()
		}},
		{what: "an import put into its account by who holds the operator's key, past that", by: byBroker, says: "nothing was heard", try: func() (refuser, string) {
			r.pushForged(t, account, "operator-signing.seed", func(c *jwt.AccountClaims) {
				c.Imports.Add(&jwt.Import{Name: "theirs", Subject: "node1.command.>", Account: r.authority.TenantAccount(), LocalSubject: "live.import.main.>", Type: jwt.Stream})
			})
			if all := hears("shop/shop-admin", "live.import.>"); len(all) > 0 {
				return "", strings.Join(all, " ")
			}
			return byBroker, "nothing was heard"
		}},
		{what: "an account pushed by its administrator", by: byBroker, says: "permissions violation", try: func() (refuser, string) {
			return byBroker, strings.ToLower(r.do("shop/shop-admin", func(nc *nats.Conn) error { return nc.Publish(subjects.AccountUpdate, []byte(account)) }))
		}},
		{what: "an account that it signed itself", by: byBroker, says: "is not in force", try: func() (refuser, string) {
			// The broker may keep it, and says so; it does not believe it.
			none := func(c *jwt.AccountClaims) { c.Limits.Conn = 0 }
			_ = r.pushForged(t, account, "tenants/shop/account.seed", none)
			nc, err := r.plug(r.strangers["shop/shop-admin"])
			if err != nil {
				return "", "it is in force: " + err.Error()
			}
			nc.Close()
			if err := r.pushForged(t, account, "operator-signing.seed", none); err != nil {
				t.Fatal(err)
			}
			if nc, err := r.plug(r.strangers["shop/shop-admin"]); err == nil {
				nc.Close()
				t.Error("nor is one that the operator signed")
			}
			return byBroker, "it is not in force"
		}},
	})
}

// push hands an account to the broker, as the system's user.
func (r *realm) push(account string) error {
	r.t.Helper()
	system, err := r.authority.SystemUser()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := patient(r.t)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: r.URL(), TLS: r.TLS(), Credentials: system})
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.PushAccount(ctx, account)
	return err
}

// pushForged changes an account and signs it with some seed of the directory.
func (r *realm) pushForged(t *testing.T, account, seed string, change func(*jwt.AccountClaims)) error {
	t.Helper()
	claims, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		t.Fatal(err)
	}
	change(claims)
	text, err := os.ReadFile(filepath.Join(r.Data(), "identity", seed))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := claims.Encode(pair)
	if err != nil {
		t.Fatal(err)
	}
	return r.push(forged)
}
