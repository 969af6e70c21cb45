package dev_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Who has a token, or hangs around where tokens are used.
func TestAttackWithATokenToJoin(t *testing.T) {
	r := newRealm(t)
	used := r.newToken(func(k *station.TokenRecord) {})
	if err := r.join(used, "guest"); err != nil {
		t.Fatal(err)
	}
	refused := func(try func() error) func() (refuser, string) {
		return func() (refuser, string) {
			err := try()
			if err == nil {
				return "", "it joined"
			}
			by := byStation
			if fleet.KindOf(err) == fleet.Unavailable {
				by = ""
			}
			return by, err.Error()
		}
	}
	joins := func(t identity.Token, name string) func() (refuser, string) {
		return refused(func() error { return r.join(t, name) })
	}
	fresh := 0
	control := func() { // and a good one works
		fresh++
		if err := r.join(r.newToken(func(*station.TokenRecord) {}), fmt.Sprintf("fresh%d", fresh)); err != nil {
			t.Error("nor can who may:", err)
		}
	}
	ship := r.newToken(func(k *station.TokenRecord) { k.Node = "ship*" })
	labelled := r.newToken(func(k *station.TokenRecord) { k.Own = []string{"site"} })
	removed := r.newToken(func(*station.TokenRecord) {})
	ctx, cancel := patient(t)
	defer cancel()
	if _, err := r.client.RemoveToken(ctx, removed.ID()); err != nil {
		t.Fatal(err)
	}
	r.attempts(t, []attempt{
		{what: "a token that was used", by: byStation, says: "used already", try: joins(used, "guest2"), effect: r.stranger("guest2"), control: control},
		{what: "a token for other names", by: byStation, says: "is for ship*", try: joins(ship, "plane1"), effect: r.stranger("plane1"), control: func() {
			if err := r.join(ship, "ship7"); err != nil {
				t.Error(err)
			}
		}},
		{what: "a token that was removed", by: byStation, says: "there is no token", try: joins(removed, "ghost"), effect: r.stranger("ghost")},
		{what: "the name of a node", by: byStation, says: "there is a node node1 already", try: joins(r.newToken(func(*station.TokenRecord) {}), node1), effect: r.known(node1)},
		{what: "a label that it may not choose", by: byStation, says: `choose its label "env"`, effect: r.stranger("lab1"), try: refused(func() error {
			return r.join(labelled, "lab1", func(o *join.Options) { o.Labels = map[string]string{"env": "prod"} })
		})},
		{what: "a key that it does not hold", by: byStation, says: "does not prove to hold key", effect: r.stranger("thief"), try: refused(func() error {
			k, other := newSigner(t), newSigner(t)
			return r.asksToJoin(r.newToken(func(*station.TokenRecord) {}), "thief", k.PublicKey(), other)
		})},
		{what: "the key of an administrator", by: byStation, says: "is admin's", effect: r.stranger("thief"), try: refused(func() error {
			return r.asksToJoin(r.newToken(func(*station.TokenRecord) {}), "thief", r.holder(theAdmin).PublicKey(), r.holder(theAdmin))
		})},
		{what: "the key of another node", by: byStation, says: "is that of node node3", effect: r.stranger("thief"), try: refused(func() error {
			return r.asksToJoin(r.newToken(func(*station.TokenRecord) {}), "thief", r.holder(node3).PublicKey(), r.holder(node3))
		})},
		{what: "a name with a wildcard", by: byStation, says: "node name", try: refused(func() error {
			k := newSigner(t)
			return r.asksToJoin(r.newToken(func(*station.TokenRecord) {}), "*", k.PublicKey(), k)
		})},
		{what: "a name of several words", by: byStation, says: "node name", try: refused(func() error {
			k := newSigner(t)
			return r.asksToJoin(r.newToken(func(*station.TokenRecord) {}), "node1.event", k.PublicKey(), k)
		})},
		{what: "a token whose time is over", by: byStation, says: "the token was good until", effect: r.stranger("late"), try: refused(func() error {
			return r.join(r.writtenToken(theAdmin, time.Now().Add(-time.Hour)), "late")
		})},
		{what: "a token that a viewer wrote", by: byStation, says: "vera is viewer", effect: r.stranger("late"), try: refused(func() error {
			return r.join(r.writtenToken("vera", time.Now().Add(time.Hour)), "late")
		}), control: control},
		{what: "two hosts at once with one token", by: byStation, says: "used already", try: func() (refuser, string) {
			token := r.newToken(func(*station.TokenRecord) {})
			ends := make(chan error, 2)
			for _, name := range []string{"racer1", "racer2"} {
				go func() { ends <- r.join(token, name) }()
			}
			first, second := <-ends, <-ends
			if (first == nil) == (second == nil) {
				return "", fmt.Sprintf("%v and %v", first, second)
			}
			return byStation, errors.Join(first, second).Error()
		}},
		{what: "a broker with another authority", by: byClient, says: "another certificate than the token names", effect: r.stranger("lured"), try: func() (refuser, string) {
			token := r.newToken(func(*station.TokenRecord) {})
			token.CA = strings.Repeat("0", 64)
			err := r.join(token, "lured")
			if err == nil {
				return "", "it joined"
			}
			return byClient, err.Error()
		}},
		{what: "another key's renewal", by: byStation, says: "the register has another key for node1", effect: r.known(node1), try: refused(func() error {
			k := newSigner(t) // and a JWT of node1's name, by who has a station's keys
			token, err := r.authority.Issuer().Issue(subjects.Node, node1, k.PublicKey(), time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return r.renews(ctx, assembled{k, token, node1, subjects.NodeInbox(node1)}, message.RenewRequest{Key: k.PublicKey()})
		})},
		{what: "a new key that it does not hold", by: byStation, says: "does not prove to hold key", effect: r.known(node3), try: refused(func() error {
			return r.renews(ctx, r.holder(node3), message.RenewRequest{Key: newSigner(t).PublicKey()})
		}), control: func() {
			if err := r.renews(ctx, r.holder(node3), message.RenewRequest{Key: r.holder(node3).PublicKey()}); err != nil {
				t.Error("nor is it renewed as it is:", err)
			}
		}},
	})
	t.Run("what else a token may do", func(t *testing.T) {
		token := r.newToken(func(*station.TokenRecord) {})
		c, err := token.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		r.strangers["the token's holder"] = c
		own := subjects.JoinWith(token.ID())
		r.refuses("the token's holder", []forbidden{
			{what: "to join with another token", subject: subjects.JoinWith(used.ID()), control: own},
			{what: "an event", subject: "fleet.node1.event.healthreport.nginx._", control: own},
			{what: "a renewal", subject: subjects.RenewOf(node1), control: own},
			{what: "the trust set", subject: "$JS.API.DIRECT.GET.KV_trust.$KV.trust.set", control: own},
			{what: "a question of people", subject: subjects.Query("nodes"), control: own},
			{what: "who else joins", subject: subjects.JoinAll, hear: true, control: "_INBOX." + token.ID() + ".>"},
			{what: "others' replies", subject: "_INBOX.>", hear: true, control: "_INBOX." + token.ID() + ".>"},
			{what: "commands", subject: "*.command.>", hear: true, control: "_INBOX." + token.ID() + ".>"},
		})
	})
	t.Run("what else a JWT to renew with may do", func(t *testing.T) {
		cfg, err := r.AgentConfig(r.nodes[2])
		if err != nil {
			t.Fatal(err)
		}
		id := cfg.Credentials.(*identity.Node)
		token, err := r.authority.Issuer().Issue(subjects.Renew, node3, id.PublicKey(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		r.strangers["node3, late"] = assembled{id, token, node3, subjects.NodeInbox(node3)}
		own := subjects.RenewOf(node3)
		r.refuses("node3, late", []forbidden{
			{what: "an event", subject: "fleet.node3.event.healthreport.nginx._", control: own},
			{what: "a report", subject: "$KV.reported.node3.attack.x", control: own},
			{what: "its waiting commands", subject: subjects.Sync(node3), control: own},
			{what: "its desired state", subject: "$JS.API.DIRECT.GET.KV_desired.$KV.desired.node3.nginxconfig.nginx", control: own},
			{what: "its commands", subject: "node3.command.>", hear: true, control: "_INBOX_NODE.node3.>"},
		})
	})
}

// assembled are credentials that somebody put together.
type assembled struct {
	message.Signer
	token, name, inbox string
}

func (f assembled) UserName() string { return f.name }
func (f assembled) UserJWT() string  { return f.token }
func (f assembled) Inbox() string    { return f.inbox }

// newSigner is a key of one's own.
func newSigner(t *testing.T) message.Signer {
	t.Helper()
	n, err := identity.NewNode(filepath.Join(t.TempDir(), "k"), "A", "x")
	if err != nil {
		t.Fatal(err)
	}
	k, err := n.Wanted(true)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newToken is a good token of the administrator's for one node.
func (r *realm) newToken(change func(*station.TokenRecord)) identity.Token {
	r.t.Helper()
	key, seed, err := identity.NewUserKey()
	if err != nil {
		r.t.Fatal(err)
	}
	record := station.TokenRecord{Key: key, Uses: 1}
	change(&record)
	ctx, cancel := patient(r.t)
	defer cancel()
	_, jwt, err := r.client.MakeToken(ctx, record, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.complete(identity.Token{JWT: jwt, Seed: string(seed)})
}

// writtenToken is one that somebody wrote past the broker's permissions, with a
// JWT as only a station can make it.
func (r *realm) writtenToken(by string, expires time.Time) identity.Token {
	r.t.Helper()
	key, seed, err := identity.NewUserKey()
	if err != nil {
		r.t.Fatal(err)
	}
	record := station.TokenRecord{Key: key, Uses: 1, Expires: expires}
	m, err := station.SignToken(record, by, r.holder(by))
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(subjects.Tokens, record.ID(), m)
	jwt, err := r.authority.Issuer().Issue(subjects.Join, record.ID(), key, time.Now().Add(time.Hour))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.complete(identity.Token{JWT: jwt, Seed: string(seed)})
}

func (r *realm) complete(t identity.Token) identity.Token {
	r.t.Helper()
	set, err := message.OpenTrust(r.trust())
	if err != nil {
		r.t.Fatal(err)
	}
	ca, err := os.ReadFile(r.TLS().CA)
	if err != nil {
		r.t.Fatal(err)
	}
	if t.CA, err = bus.Fingerprints(ca); err != nil {
		r.t.Fatal(err)
	}
	t.URL, t.Account, t.Signers, t.Version = r.URL(), set.Account, set.Signers, set.Version
	return t
}

// join joins with a directory of its own.
func (r *realm) join(token identity.Token, name string, change ...func(*join.Options)) error {
	ctx, cancel := patient(r.t)
	defer cancel()
	o := join.Options{Token: token, Name: name, Dir: filepath.Join(r.t.TempDir(), "identity")}
	for _, c := range change {
		c(&o)
	}
	_, err := join.Join(ctx, o)
	return err
}

// asksToJoin is a request of one's own making: for a key, with a proof by another.
func (r *realm) asksToJoin(token identity.Token, name, key string, prover message.Signer) error {
	r.t.Helper()
	holder, err := token.Credentials()
	if err != nil {
		r.t.Fatal(err)
	}
	proof, err := message.ProveHeld(message.ToJoin, token.ID(), name, prover)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := message.SignBody(message.JoinRequestSubject(token.ID()), token.ID(), "", message.JoinRequest{Name: name, Key: key, Proof: proof}, holder)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := patient(r.t)
	defer cancel()
	var reply message.Enclosed
	return r.conn(ctx, holder).Ask(ctx, subjects.JoinWith(token.ID()), message.Enclose(m), &reply)
}

// renews asks for new JWTs as a node.
func (r *realm) renews(ctx context.Context, c bus.Credentials, q message.RenewRequest) error {
	r.t.Helper()
	m, err := message.SignBody(message.RenewSubject(c.UserName()), c.UserName(), "", q, c)
	if err != nil {
		r.t.Fatal(err)
	}
	var reply message.RenewReply
	return r.conn(ctx, c).Ask(ctx, subjects.RenewOf(c.UserName()), message.Enclose(m), &reply)
}

// conn connects as Fairlead's own programs do.
func (r *realm) conn(ctx context.Context, c bus.Credentials) *bus.Conn {
	r.t.Helper()
	conn, err := bus.Connect(ctx, bus.Options{URL: r.URL(), TLS: r.TLS(), Credentials: c})
	if err != nil {
		r.t.Fatalf("connect as %s: %v", c.UserName(), err)
	}
	r.t.Cleanup(conn.Close)
	return conn
}

// stranger says whether there is a node of a name.
func (r *realm) stranger(name string) func() string {
	return func() string {
		ctx, cancel := patient(r.t)
		defer cancel()
		if _, err := r.client.Node(ctx, name); fleet.KindOf(err) != fleet.Unknown {
			return fmt.Sprintf("there is a node %s: %v", name, err)
		}
		return ""
	}
}
