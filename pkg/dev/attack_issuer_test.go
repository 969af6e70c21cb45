package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Somebody has a signing key: a station's keys were copied, or the seed of a
// role. What can they issue, and what is it worth?
func TestAttackWithASigningKey(t *testing.T) {
	r := newRealm(t)
	signer := func(role subjects.Role) nkeys.KeyPair {
		t.Helper()
		seed, err := os.ReadFile(filepath.Join(r.Data(), "identity", "tenants", "main", string(role)+".seed"))
		if err != nil {
			t.Fatal(err)
		}
		pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	// issue makes a user by a signing key and puts it among the strangers.
	issue := func(as, name string, by nkeys.KeyPair, change func(*jwt.UserClaims)) assembled {
		t.Helper()
		k := newSigner(t)
		claims := jwt.NewUserClaims(k.PublicKey())
		claims.Name, claims.IssuerAccount = name, r.authority.TenantAccount()
		claims.SetScoped(true)
		claims.Expires = time.Now().Add(time.Hour).Unix()
		if change != nil {
			change(claims)
		}
		token, err := claims.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		c := assembled{k, token, name, subjects.NodeInbox("x")} // a client refuses an odd one
		r.strangers[as] = c
		return c
	}
	connects := func(c assembled) func() (refuser, string) {
		return func() (refuser, string) {
			nc, err := r.plug(c)
			if err == nil {
				nc.Close()
				return "", "it connects"
			}
			return byBroker, strings.ToLower(err.Error())
		}
	}
	const no = "authorization violation"
	node, viewer := signer(subjects.Node), signer(subjects.Viewer)
	stranger, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	stolen := issue("stolen", node3, node, nil)
	stolen.token = r.holder(theAdmin).UserJWT()
	works := func() {
		nc, err := r.plug(issue("good", "node9", node, nil))
		if err != nil {
			t.Fatal("nor is a good one taken:", err)
		}
		nc.Close()
	}
	r.attempts(t, []attempt{
		{what: "permissions of its own under a scoped key", by: byBroker, says: no, control: works,
			try: connects(issue("wide", node3, node, func(c *jwt.UserClaims) {
				c.UserPermissionLimits = jwt.UserPermissionLimits{Permissions: jwt.Permissions{Pub: jwt.Permission{Allow: jwt.StringList{">"}}}}
			}))},
		{what: "no scope, by a scoped key", by: byBroker, says: no, control: works,
			try: connects(issue("unscoped", node3, node, func(c *jwt.UserClaims) { c.SetScoped(false) }))},
		{what: "a JWT that ended", by: byBroker, says: no, control: works,
			try: connects(issue("ended", node3, node, func(c *jwt.UserClaims) { c.Expires = time.Now().Add(-time.Second).Unix() }))},
		{what: "a JWT that begins tomorrow", by: byBroker, says: no, control: works,
			try: connects(issue("early", node3, node, func(c *jwt.UserClaims) { c.NotBefore = time.Now().Add(24 * time.Hour).Unix() }))},
		{what: "a JWT by a stranger's key", by: byBroker, says: no, try: connects(issue("stranger", node3, stranger, nil)), control: works},
		{what: "an administrator's JWT without its key", by: byBroker, says: no, try: connects(stolen), control: works},
		{what: "a node by a viewer's key: no event", by: byBroker, says: "permissions violation", control: works, try: func() (refuser, string) {
			issue("half", node3, viewer, func(c *jwt.UserClaims) { c.Tags.Add("role:node") })
			return byBroker, strings.ToLower(r.publish("half", "fleet.node3.event.healthreport.nginx._", marker))
		}},
	})
	// Names that widen a template. The grammar of names keeps Fairlead from
	// issuing them; who has the seed is not bound by it.
	issue("star", "*", node, nil)
	issue("dots", "node1.command.shellcommand", node, nil)
	issue("rest", ">", node, nil)
	nobody := func(m message.Message, as string) message.Message {
		return r.signAs(m, node1, r.strangers[as].(assembled))
	}
	r.attempts(t, []attempt{
		{what: "another node's answer by a node called *", by: byStation, says: "neither the node's nor a station's", try: func() (refuser, string) {
			m, _ := r.touching(node3) // waits
			m = r.sign(m, theAdmin)
			r.store(theAdmin, encoded(m))
			answer := nobody(message.NewAnswer(m, node3, message.Succeeded, message.Answer{Message: marker}), "star")
			mark := r.heard.len()
			nc := r.raw("star")
			if err := nc.PublishMsg(encoded(answer)); err != nil || nc.Flush() != nil || nc.LastError() != nil {
				t.Fatal("the broker is in the way, which is well: take this attempt out", err, nc.LastError())
			}
			by, said := r.complains(mark, byStation, "neither the node's nor a station's")
			ctx, cancel := patient(t)
			defer cancel()
			if a, err := r.client.Command(ctx, m.ID); err != nil || a.State.Final() {
				t.Errorf("the command is %s: %v", a.State, err)
			}
			return by, said
		}, control: func() { r.runs(node1) }},
		{what: "a command by a node whose name has dots", by: byAgent, says: "is not one that node1 trusts", try: func() (refuser, string) {
			m, _ := r.touching(node1)
			m.Subject.Domain = "event" // fleet.<name>.event.> is what it may publish
			m = nobody(m, "dots")
			nc := r.raw("dots")
			if err := nc.PublishMsg(encoded(m)); err != nil || nc.Flush() != nil || nc.LastError() != nil {
				t.Fatal("the broker is in the way, which is well: take this attempt out", err, nc.LastError())
			}
			return r.rejected(m.ID, m.Subject)
		}, control: func() { r.runs(node1) }},
		{what: "a report of another node by a node called *", by: byStation, says: "ignored a report", try: func() (refuser, string) {
			m := message.Message{Subject: message.ReportedSubject(node1, "nginxconfig", "nginx"), ID: message.NewID(), Body: []byte(`{}`)}
			raw := encoded(nobody(m, "star"))
			raw.Subject = subjects.KeySubject(subjects.Reported, subjects.StateKey(node1, "nginxconfig", "nginx"))
			mark := r.heard.len()
			nc := r.raw("star")
			if err := nc.PublishMsg(raw); err != nil || nc.Flush() != nil || nc.LastError() != nil {
				t.Fatal("the broker is in the way, which is well: take this attempt out", err, nc.LastError())
			}
			return r.complains(mark, byStation, "ignored a report")
		}},
		{what: "a command by a node called *", by: byBroker, says: "permissions violation", try: func() (refuser, string) {
			return byBroker, strings.ToLower(r.publish("star", "fleet.node1.command.shellcommand.operatingsystem.x", marker))
		}},
		{what: "a desired state by a node called *", by: byBroker, says: "permissions violation", try: func() (refuser, string) {
			return byBroker, strings.ToLower(r.publish("star", "$KV.desired.node1.nginxconfig.nginx", marker))
		}},
		{what: "anything by a node called >", by: byBroker, says: "violation", try: func() (refuser, string) {
			nc, err := r.plug(r.strangers["rest"])
			if err != nil {
				return byBroker, strings.ToLower(err.Error())
			}
			nc.Close()
			return byBroker, strings.ToLower(r.publish("rest", "fleet.node1.event.healthreport.nginx._", marker))
		}},
	})
	for _, name := range []string{"*", ">", "a.b", "", "fleet"} {
		if _, err := r.authority.Issuer().Issue(subjects.Node, name, newSigner(t).PublicKey(), time.Now().Add(time.Hour)); err == nil {
			t.Errorf("a station issues a node called %q", name)
		}
	}
	for _, role := range []subjects.Role{subjects.Admin, subjects.Operator, subjects.Viewer, subjects.Station} {
		if _, err := r.authority.Issuer().Issue(role, "eve", newSigner(t).PublicKey(), time.Now().Add(time.Hour)); err == nil {
			t.Errorf("a station issues a user of role %s", role)
		}
	}
}
