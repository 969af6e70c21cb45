package dev_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// A colleague with little to say, or who stole such a colleague's file.
func TestAttackWithAPersonsCredentials(t *testing.T) {
	r := newRealm(t)
	hears := "node1.event.>"
	t.Run("viewer", func(t *testing.T) {
		r.refuses("vera", []forbidden{
			{what: "a resource", subject: "$KV.fleet.VirtualHost.shop", control: subjects.Query("x")},
			{what: "a token", subject: "$KV.tokens.x", control: subjects.Query("x")},
			{what: "an approval", subject: "$KV.tokens.x.approved.node9", control: subjects.Query("x")},
			{what: "a command of an administrator", subject: "fleet.node1.command.shellcommand.operatingsystem.x", who: theAdmin},
			{what: "a command of an operator", subject: "fleet.node1.command.reload.nginx.x", who: "olga"},
			{what: "a purge of the audit", subject: "$JS.API.STREAM.PURGE.AUDIT", control: subjects.Query("x")},
			{what: "a purge of a bucket", subject: "$JS.API.STREAM.PURGE.KV_desired", control: subjects.Query("x")},
			{what: "a deletion of the audit", subject: "$JS.API.STREAM.DELETE.AUDIT", control: subjects.Query("x")},
			{what: "another configuration of the audit", subject: "$JS.API.STREAM.UPDATE.AUDIT", control: subjects.Query("x")},
			{what: "everything", subject: ">", hear: true, control: hears},
			{what: "others' replies", subject: "_INBOX.>", hear: true, control: "_INBOX.vera.>"},
			{what: "an administrator's replies", subject: "_INBOX.admin.>", hear: true, control: "_INBOX.vera.>"},
			{what: "nodes' replies", subject: "_INBOX_NODE.>", hear: true, control: "_INBOX.vera.>"},
			{what: "who wants to join", subject: subjects.JoinAll, hear: true, control: hears},
			{what: "what the server says", subject: "$SYS.>", hear: true, control: hears},
		})
	})
	t.Run("operator", func(t *testing.T) {
		r.refuses("olga", []forbidden{
			{what: "raw configuration", subject: "$KV.fleet.ConfigFile.raw", control: "$KV.fleet.Split.attack"},
			{what: "a policy of nodes", subject: "$KV.fleet.NodePolicy.open", control: "$KV.fleet.Split.attack"},
			{what: "the register", subject: "$KV.nodes.node1", control: "$KV.fleet.Split.attack"},
			{what: "a desired state", subject: "$KV.desired.node1.nginxconfig.nginx", control: "$KV.fleet.Split.attack"},
			{what: "the trust set", subject: "$KV.trust.set", control: "$KV.fleet.Split.attack"},
			{what: "an answer of a node", subject: "fleet.node1.event.ack.reload.x", control: "fleet.node3.command.reload.nginx.x"},
			{what: "a program", subject: "fleet.node1.command.shellcommand.operatingsystem.x", control: "fleet.node3.command.reload.nginx.x"},
			{what: "a checkpoint of the audit", subject: subjects.Checkpoint, control: "$KV.fleet.Split.attack"},
			{what: "the use of a token", subject: "$KV.tokens.x.use.1", control: "$KV.tokens.x"},
		})
	})
	t.Run("operator with limits", func(t *testing.T) {
		own := "fleet.node1.command.healthreport.nginx.x"
		r.refuses("lina", []forbidden{
			{what: "another node", subject: "fleet.node2.command.healthreport.nginx.x", control: own},
			{what: "another method", subject: "fleet.node1.command.reload.nginx.x", control: own},
			{what: "a resource, which chooses its nodes", subject: "$KV.fleet.VirtualHost.shop", control: own},
			{what: "a token", subject: "$KV.tokens.x", control: own},
			{what: "all nodes", subject: "fleet.*.command.healthreport.nginx.x", control: own},
		})
	})
	t.Run("administrator", func(t *testing.T) {
		r.refuses(theAdmin, []forbidden{
			{what: "a purge of the audit", subject: "$JS.API.STREAM.PURGE.AUDIT", control: subjects.Query("x")},
			{what: "a deletion of the audit", subject: "$JS.API.STREAM.DELETE.AUDIT", control: subjects.Query("x")},
			{what: "a message of the audit", subject: "$JS.API.STREAM.MSG.DELETE.AUDIT", control: subjects.Query("x")},
			{what: "a checkpoint of the audit", subject: subjects.Checkpoint, who: "station"},
			{what: "a desired state", subject: "$KV.desired.node1.nginxconfig.nginx", control: subjects.Query("x")},
			{what: "an answer of a node", subject: "fleet.node1.event.ack.reload.x", control: "fleet.node3.command.reload.nginx.x"},
			{what: "another account", subject: subjects.AccountUpdate, control: subjects.Query("x")},
		})
	})
}

// The same past the broker, which somebody opened for them: what the broker
// would not take from them comes by the connection of an administrator.
func TestAttackPastTheBrokersPermissions(t *testing.T) {
	r := newRealm(t)
	var old message.Message // a command that ended
	var olds string
	old, olds = r.touching(node1)
	old = r.sign(old, theAdmin)
	r.store(theAdmin, encoded(old))
	if o := r.end(old); o.State != message.Succeeded {
		t.Fatal(o)
	}
	// tampered is a command of the administrator with something else in it.
	type change = func(m *message.Message, raw *nats.Msg)
	tampered := func(what, says string, by string, sign change, send change) attempt {
		m, file := r.touching(node1)
		return attempt{what: what, by: byAgent, says: says, effect: untouched(file), try: func() (refuser, string) {
			if sign != nil {
				sign(&m, nil)
			}
			m = r.sign(m, by)
			raw := encoded(m)
			if send != nil {
				send(&m, raw)
			}
			id := r.next()
			r.store(theAdmin, raw)
			if m.ID != "" {
				id = m.ID
			}
			return r.rejected(id, m.Subject)
		}, control: func() { r.runs(node1) }}
	}
	health := func(node string) message.Message {
		m := command(node, subjects.MethodHealth, nil)
		m.Subject.Domain = "nginx"
		return m
	}
	sent := func(m message.Message) func() (refuser, string) {
		return func() (refuser, string) {
			r.store(theAdmin, encoded(m))
			return r.rejected(m.ID, m.Subject)
		}
	}
	r.attempts(t, []attempt{
		tampered("a program by a viewer", "vera is viewer and may not send shellcommand", "vera", nil, nil),
		tampered("a program by an operator", "olga is operator and may not send shellcommand", "olga", nil, nil),
		tampered("a program by a node", "is not one that node1 trusts", node3, nil, nil),
		tampered("a program by the node itself", "is not one that node1 trusts", node1, nil, nil),
		tampered("another body", "signature does not fit", theAdmin, nil, func(_ *message.Message, raw *nats.Msg) {
			raw.Data = []byte(strings.Replace(string(raw.Data), "touch", "touch ", 1))
		}),
		tampered("another expiry", "signature does not fit", theAdmin, nil, func(_ *message.Message, raw *nats.Msg) {
			raw.Header[message.HeaderExpires] = []string{time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)}
		}),
		{what: "another sender", by: byAgent, says: `from "admin" and is signed by "olga"`, try: func() (refuser, string) {
			m := r.signAs(health(node1), theAdmin, r.holder("olga"))
			return sent(m)()
		}, control: func() { r.runs(node1) }},
		tampered("one more header", "signature does not fit", theAdmin, nil, func(_ *message.Message, raw *nats.Msg) { raw.Header["Fairlead-Urgent"] = []string{"1"} }),
		tampered("another node", "signature does not fit", theAdmin, nil, func(m *message.Message, raw *nats.Msg) {
			m.Subject.Node = node2
			raw.Subject = m.StoredSubject()
		}),
		tampered("another domain", "signature does not fit", theAdmin, nil, func(m *message.Message, raw *nats.Msg) {
			m.Subject.Domain = "nginx"
			raw.Subject = m.StoredSubject()
		}),
		tampered("another id", "is stored as", theAdmin, nil, func(m *message.Message, raw *nats.Msg) {
			m.ID = ""
			raw.Subject = subjects.Stored(m.Subject, message.NewID())
		}),
		tampered("no signature", "is not signed", theAdmin, nil, func(m *message.Message, raw *nats.Msg) { delete(raw.Header, message.HeaderSignature) }),
		{what: "what is done is sent again", by: byAgent, says: "nothing ran", try: func() (refuser, string) {
			if err := os.Remove(olds); err != nil {
				t.Fatal(err)
			}
			return r.again(old)
		}, effect: untouched(olds), control: func() { r.runs(node1) }},
		{what: "what is done is sent again after the agent began anew", by: byAgent, says: "nothing ran", try: func() (refuser, string) {
			r.agents[0].stop(t)
			r.agents[0] = r.bare(0)
			return r.again(old)
		}, effect: untouched(olds), control: func() { r.runs(node1) }},
		{what: "a limited operator's command to another node", by: byAgent, says: "lina may not command node2",
			try: sent(r.sign(health(node2), "lina")), control: r.succeeds(health(node1), "lina")},
		{what: "a limited operator's other method", by: byAgent, says: "lina is operator and may not send shellcommand, only healthreport",
			try: func() (refuser, string) {
				m, _ := r.touching(node1)
				return sent(r.sign(m, "lina"))()
			}},
		{what: "a viewer's resource", by: byStation, says: "vera is viewer and may not write this", try: r.resource("vera"), effect: r.compiled(""), control: r.applied("by-admin")},
		{what: "a limited operator's resource", by: byStation, says: "lina may command some nodes only", try: r.resource("lina"), effect: r.compiled("by-admin")},
		{what: "a node's resource", by: byStation, says: "is not a trusted one", try: r.resource(node3), effect: r.compiled("by-admin")},
		{what: "an operator's entry of the register", by: byStation, says: "olga is operator and may not write this", effect: r.known(node1),
			try: func() (refuser, string) {
				record := station.NodeRecord{Name: node1, Key: r.holder(node3).PublicKey(), Since: time.Now()}
				m, err := station.SignRecord(record, "olga", r.holder("olga"))
				if err != nil {
					t.Fatal(err)
				}
				mark := r.heard.len()
				r.put(subjects.Nodes, node1, m)
				return r.complains(mark, byStation, "olga is operator and may not write this")
			}},
		{what: "an administrator's desired state", by: byStation, says: "admin is admin and may not write this",
			try: func() (refuser, string) {
				key := subjects.StateKey(node1, handlers.MethodNginxConfig, "nginx")
				m := message.Message{Subject: message.DesiredSubject(node1, handlers.MethodNginxConfig, "nginx"), ID: message.NewID(), Body: []byte(`{"revision":99}`)}
				m = r.sign(m, theAdmin)
				mark := r.heard.len()
				ctx, cancel := patient(t)
				defer cancel()
				conn, err := bus.Connect(ctx, bus.Options{URL: r.URL(), TLS: r.TLS(), Credentials: r.creds("station")})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.Put(ctx, subjects.Desired, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
					t.Fatal(err)
				}
				return r.complains(mark, byStation, "admin is admin and may not write this")
			}},
		{what: "a viewer's token", by: byStation, says: "vera is viewer and may not write this", try: func() (refuser, string) { return byStation, r.token("vera") },
			control: func() {
				if said := r.token("olga"); said != "" {
					t.Error("nor does an operator's work:", said)
				}
			}},
		{what: "a token of a limited operator", by: byStation, says: "lina, who is limited and may not add nodes", try: func() (refuser, string) { return byStation, r.token("lina") }},
		{what: "an operator has JetStream delete an entry of the register", by: byStation, says: "ignored an entry of the register",
			effect: r.known(node1), try: func() (refuser, string) {
				// Something that an operator may store, with the mark of a deletion, is
				// asked for by its number, and the answer is to go into the bucket.
				m := r.sign(health(node3), "olga")
				raw := encoded(m)
				raw.Header["KV-Operation"] = []string{"DEL"}
				sequence := r.store("olga", raw)
				mark := r.heard.len()
				ask, err := json.Marshal(map[string]uint64{"seq": sequence})
				if err != nil {
					t.Fatal(err)
				}
				if said := r.do("olga", func(nc *nats.Conn) error {
					return nc.PublishRequest("$JS.API.DIRECT.GET.COMMANDS", subjects.KeySubject(subjects.Nodes, node1), ask)
				}); said != "" {
					t.Fatal(said)
				}
				return r.complains(mark, byStation, "ignored an entry of the register")
			}, control: func() { r.runs(node1) }},
	})
}

// A viewer may read all that is stored, and have JetStream's answer go anywhere:
// an older version, with the signature of who wrote it, onto its own key. Whoever
// writes says behind which version, and that stays with what is stored.
func TestAttackWithOlderVersions(t *testing.T) {
	r := newRealm(t)
	for _, text := range []string{"first", "second"} {
		apply(t, r.client, set(t, site("shop", "", 8080, text)), false)
	}
	r.label(0, map[string]string{"index": "1", "site": "moved"})
	key := subjects.ResourceKey("VirtualHost", "shop")
	for _, a := range []struct{ bucket, key string }{{subjects.Fleet, key}, {subjects.Nodes, node1}} {
		t.Run(a.bucket, func(t *testing.T) {
			ctx, cancel := patient(t)
			defer cancel()
			conn := r.client.Conn()
			now, err := conn.Get(ctx, a.bucket, a.key)
			if err != nil {
				t.Fatal(err)
			}
			var old bus.Entry
			if err := conn.History(ctx, a.bucket, a.key, func(e bus.Entry) error {
				if old.Sequence == 0 {
					old = e
				}
				return nil
			}); err != nil || old.Sequence >= now.Sequence {
				t.Fatal(old.Sequence, now.Sequence, err)
			}
			ask, _ := json.Marshal(map[string]uint64{"seq": old.Sequence})
			question := "$JS.API.DIRECT.GET." + subjects.BucketStream(a.bucket)
			nc := r.raw("vera")
			if err := nc.PublishRequest(question, subjects.KeySubject(a.bucket, a.key), ask); err != nil {
				t.Fatal(err)
			}
			if m, err := nc.Request(question, ask, patience); err != nil || string(m.Data) != string(old.Body) { // and it was answered
				t.Fatal(err)
			}
			// Had it been stored, this would be in conflict with it.
			m := message.Message{Subject: message.ResourceSubject("VirtualHost", "shop"), ID: message.NewID(), Body: now.Body}
			if a.bucket == subjects.Nodes {
				m.Subject = message.RegisterSubject(node1)
			}
			if _, err := conn.Put(ctx, a.bucket, bus.Change{Key: a.key, Document: r.sign(m, theAdmin), Expect: now.Sequence}); err != nil {
				t.Error("the older version was put back:", err)
			}
		})
	}
}

// Whoever was taken back keeps a file, and perhaps a connection.
func TestAttackByWhoWasTakenBack(t *testing.T) {
	r := newRealm(t)
	late, file := r.touching(node3) // waits for its node
	late = r.signAs(late, "nora", r.user("nora", subjects.Admin))
	set, err := r.authority.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patient(t)
	defer cancel()
	conn := r.client.Conn()
	if err := conn.PutTrust(ctx, set); err != nil {
		t.Fatal(err)
	}
	r.believed(set)
	m, ran := r.touching(node1)
	m = r.sign(m, "nora")
	r.store("nora", encoded(m))
	if o := r.end(m); o.State != message.Succeeded || !there(ran) {
		t.Fatalf("nora's command ended %s: %s", o.State, o.Answer.Message)
	}
	r.store("nora", encoded(late))
	nora := r.creds("nora")
	connection, err := r.plug(nora) // from before
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	gone := make(chan struct{})
	connection.SetClosedHandler(func(*nats.Conn) { close(gone) })

	if _, err := r.authority.Revoke("nora", "left"); err != nil {
		t.Fatal(err)
	}
	newest, err := r.authority.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PutTrust(ctx, newest); err != nil {
		t.Fatal(err)
	}
	r.believed(newest)
	why := "the key of nora was revoked on "
	r.attempts(t, []attempt{
		{what: "a command before the broker knows", by: byAgent, says: why, try: func() (refuser, string) {
			m, _ := r.touching(node1)
			m = r.signAs(m, "nora", nora)
			if err := connection.PublishMsg(encoded(m)); err != nil {
				t.Fatal(err)
			}
			return r.rejected(m.ID, m.Subject)
		}},
		{what: "a connection that stands", by: byBroker, says: "it was closed", try: func() (refuser, string) {
			r.pushAccount()
			select {
			case <-gone:
			case <-ctx.Done():
				t.Fatal("the connection still stands")
			}
			return byBroker, "it was closed"
		}, control: func() { r.runs(node1) }},
		{what: "a new connection", by: byBroker, says: "authorization violation", try: func() (refuser, string) {
			nc, err := r.plug(nora)
			if err == nil {
				nc.Close()
				return "", "it stands"
			}
			return byBroker, strings.ToLower(err.Error())
		}},
		{what: "a command that waited for a node which comes back", by: byAgent, says: why, effect: untouched(file), try: func() (refuser, string) {
			r.bare(2)
			return r.rejected(late.ID, late.Subject)
		}, control: func() { r.runs(node3) }},
		{what: "the trust set of before, stored again", by: byStation, says: "storing the newest again", try: func() (refuser, string) {
			mark := r.heard.len()
			r.put(subjects.Trust, subjects.TrustKey, set)
			return r.complains(mark, byStation, "storing the newest again")
		}},
		{what: "a command once the trust set of before was stored", by: byAgent, says: why, try: func() (refuser, string) {
			m, _ := r.touching(node1)
			m = r.signAs(m, "nora", nora)
			r.store(theAdmin, encoded(m))
			return r.rejected(m.ID, m.Subject)
		}},
		{what: "the trust set of before for an agent that begins anew", by: byAgent, says: why, try: func() (refuser, string) {
			r.agents[0].stop(t)
			r.put(subjects.Trust, subjects.TrustKey, set)
			m, _ := r.touching(node1)
			m = r.signAs(m, "nora", nora)
			r.store(theAdmin, encoded(m))
			r.agents[0] = r.bareWith(0, set)
			return r.rejected(m.ID, m.Subject)
		}, control: func() { r.runs(node1) }},
		{what: "a resource written after it", by: byStation, says: why, try: func() (refuser, string) {
			return r.resourceAs("nora", nora)()
		}},
	})
}

// Who was an administrator and is a viewer now holds both files.
func TestAttackByWhoHasLessToSayThanBefore(t *testing.T) {
	r := newRealm(t)
	before := r.user("nora", subjects.Admin)
	r.spread()
	m, file := r.touching(node1)
	m = r.signAs(m, "nora", before)
	r.store("nora", encoded(m))
	if o := r.end(m); o.State != message.Succeeded || !there(file) {
		t.Fatalf("%s: %s", o.State, o.Answer.Message)
	}
	if _, err := r.authority.Revoke("nora", "another role"); err != nil {
		t.Fatal(err)
	}
	now := r.user("nora", subjects.Viewer)
	r.spread()
	r.pushAccount()
	by := func(signer message.Signer) func() (refuser, string) {
		return func() (refuser, string) {
			m, _ := r.touching(node1)
			m = r.signAs(m, "nora", signer)
			r.store(theAdmin, encoded(m))
			return r.rejected(m.ID, m.Subject)
		}
	}
	r.attempts(t, []attempt{
		{what: "a program with the old key", by: byAgent, says: "the key of nora was revoked", try: by(before)},
		{what: "a program with the new key", by: byAgent, says: "nora is viewer and may not send shellcommand", try: by(now)},
		{what: "the old credentials", by: byBroker, says: "authorization violation", try: func() (refuser, string) {
			_, err := r.plug(before)
			if err == nil {
				return "", "they are taken"
			}
			return byBroker, strings.ToLower(err.Error())
		}},
		{what: "a program with the new credentials", by: byBroker, says: "permissions violation", try: func() (refuser, string) {
			return byBroker, strings.ToLower(r.publish("nora", "fleet.node1.command.shellcommand.operatingsystem.x", marker))
		}, control: func() {
			if said := r.publish("nora", subjects.Query("x"), harmless); said != "" {
				t.Error("nor may she ask:", said)
			}
		}},
	})
}

// again has an ended command stored once more and says what comes of it.
func (r *realm) again(m message.Message) (refuser, string) {
	r.t.Helper()
	mark := r.heard.len()
	raw := encoded(m)
	r.store(theAdmin, raw)
	r.runs(m.Subject.Node) // behind it in the same lane
	if lines := r.heard.lines(mark, "command ended", m.ID); len(lines) > 0 {
		return "", "it ran again: " + lines[0]
	}
	return byAgent, "nothing ran"
}

// succeeds is a control: a command that somebody may send.
func (r *realm) succeeds(m message.Message, by string) func() {
	return func() {
		r.t.Helper()
		m = r.sign(m, by)
		r.store(by, encoded(m))
		if o := r.end(m); o.State != message.Succeeded {
			r.t.Errorf("what %s may send ended %s: %s", by, o.State, o.Answer.Message)
		}
	}
}

// put writes a document into a bucket by the administrator's connection.
func (r *realm) put(bucket, key string, m message.Message) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	if _, err := r.client.Conn().Put(ctx, bucket, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *realm) resource(by string) func() (refuser, string) {
	return r.resourceAs(by, r.holder(by))
}

// resourceAs writes a virtual host that somebody signed.
func (r *realm) resourceAs(by string, signer message.Signer) func() (refuser, string) {
	return func() (refuser, string) {
		r.t.Helper()
		s := set(r.t, site("attack", "", 8081, marker))
		body, err := json.Marshal(s.Resources()[0])
		if err != nil {
			r.t.Fatal(err)
		}
		m := message.Message{Subject: message.ResourceSubject("VirtualHost", "attack"), ID: message.NewID(), Body: body}
		mark := r.heard.len()
		r.put(subjects.Fleet, subjects.ResourceKey("VirtualHost", "attack"), r.signAs(m, by, signer))
		r.heard.says(r.t, mark, byStation, "key=VirtualHost.attack")
		return byStation, r.heard.lines(mark, "key=VirtualHost.attack", "part=station")[0]
	}
}

// compiled says what node1 is to serve, where it is anything else than a host.
func (r *realm) compiled(host string) func() string {
	return func() string {
		ctx, cancel := patient(r.t)
		defer cancel()
		d, err := r.client.Desired(ctx, node1)
		text, _ := json.Marshal(d)
		switch {
		case host == "" && fleet.KindOf(err) == fleet.Unknown:
		case err != nil:
			return err.Error()
		case host == "" || !strings.Contains(string(text), host) || strings.Contains(string(text), marker):
			return "node1 is to be another"
		}
		return ""
	}
}

func (r *realm) applied(name string) func() {
	return func() {
		r.t.Helper()
		apply(r.t, r.client, set(r.t, site(name, "", 8082, "x")), false)
		eventually(r.t, "node1 is to serve what the administrator applied", func() bool {
			ctx, cancel := patient(r.t)
			defer cancel()
			d, err := r.client.Desired(ctx, node1)
			return err == nil && d.Digest != ""
		})
	}
}

// known says whether a node is another than before.
func (r *realm) known(name string) func() string {
	return func() string {
		ctx, cancel := patient(r.t)
		defer cancel()
		d, err := r.client.Node(ctx, name)
		if err != nil {
			return err.Error()
		}
		if d.Key != r.holder(name).PublicKey() {
			return name + " has another key"
		}
		return ""
	}
}

// token writes a token that somebody signed and has a station make its JWT; it
// returns what the station says against it.
func (r *realm) token(by string) string {
	r.t.Helper()
	key, _, err := identity.NewUserKey()
	if err != nil {
		r.t.Fatal(err)
	}
	record := station.TokenRecord{Key: key, Uses: 1, Expires: time.Now().Add(time.Hour)}
	m, err := station.SignToken(record, by, r.holder(by))
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(subjects.Tokens, record.ID(), m)
	var answer station.TokenAnswer
	ctx, cancel := patient(r.t)
	defer cancel()
	if err := r.client.Conn().Ask(ctx, subjects.Query(station.QueryToken), station.TokenQuestion{ID: record.ID()}, &answer); err != nil {
		return err.Error()
	}
	return ""
}

// spread stores the newest trust set, and waits until nodes and station believe it.
func (r *realm) spread() message.Message {
	r.t.Helper()
	set, err := r.authority.TrustSet()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := patient(r.t)
	defer cancel()
	if err := r.client.Conn().PutTrust(ctx, set); err != nil {
		r.t.Fatal(err)
	}
	r.believed(set)
	return set
}

func (r *realm) believed(m message.Message) {
	r.t.Helper()
	set, err := message.OpenTrust(m)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, k := range r.keepers {
		eventually(r.t, "the trust set is believed", func() bool { return k().Current().Version >= set.Version })
	}
}

// pushAccount gives the tenant's account to the broker as it is now.
func (r *realm) pushAccount() {
	r.t.Helper()
	account, err := r.authority.Account()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.push(account); err != nil {
		r.t.Fatal(err)
	}
}
