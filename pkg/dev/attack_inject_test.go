package dev_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// JetStream and stations answer where who asks wants them to. With the few
// questions that a node may ask it can so have something said on any subject,
// past every permission: what is said there must not be believed.
func TestAttackByTheAnswersOfOthers(t *testing.T) {
	r := newRealm(t)
	pending, file := r.touching(node3) // signed by who may, waits for a node that is away
	pending = r.sign(pending, theAdmin)
	r.store(theAdmin, encoded(pending))
	r.apply(t)
	shell := func(node string) subjects.Subject {
		return subjects.Subject{Node: node, Direction: subjects.Command, Method: "shellcommand", Domain: system}
	}
	// asks has the attacker ask something and the answer go elsewhere.
	asks := func(question, reply string, body any) {
		t.Helper()
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if said := r.do(node3, func(nc *nats.Conn) error { return nc.PublishRequest(question, reply, data) }); said != "" {
			t.Fatalf("the attacker may not ask %s: %s", question, said)
		}
	}
	const (
		trustSet = "$JS.API.DIRECT.GET.KV_trust.$KV.trust.set"
		errors   = "$JS.API.CONSUMER.DELETE.COMMANDS.node3" // of JetStream, since there is none
	)
	// consumes makes the attacker's own consumer of its own mailbox, which pushes
	// to a subject or, without one, is asked.
	consumes := func(to string) string {
		t.Helper()
		nc := r.raw(node3)
		if _, err := nc.Request("$JS.API.CONSUMER.DELETE.COMMANDS.node3", nil, patience); err != nil {
			t.Fatal(err)
		}
		config := map[string]any{"name": node3, "mem_storage": true, "ack_policy": "none", "deliver_policy": "all",
			"inactive_threshold": time.Minute, "filter_subject": pending.StoredSubject()}
		if to != "" {
			config["deliver_subject"] = to
		}
		body, err := json.Marshal(map[string]any{"stream_name": subjects.Commands, "action": "create", "config": config})
		if err != nil {
			t.Fatal(err)
		}
		m, err := nc.Request("$JS.API.CONSUMER.CREATE.COMMANDS.node3."+pending.StoredSubject(), body, patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data)
	}
	// delivers has JetStream say that command, which the administrator signed for
	// the attacker's node, on any subject.
	delivers := func(to string) {
		t.Helper()
		if said := consumes(""); strings.Contains(said, `"error"`) {
			t.Fatal(said)
		}
		asks("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.node3", to, map[string]any{"batch": 1, "expires": time.Second})
	}
	known := func() string {
		if d := node(t, r.client, node1); d.Key != r.holder(node1).PublicKey() {
			return "node1 is another: " + d.Key
		}
		return ""
	}
	works := func() { r.runs(node1) }
	fresh := func() string { return subjects.Stored(shell(node1), message.NewID()) }

	r.attempts(t, []attempt{
		{what: "JetStream's answer on another node's subject", by: byAgent, says: "ignored what is not a stored command", control: works,
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(trustSet, "node1.command.shellcommand.operatingsystem", nil)
				return r.complains(mark, byAgent, "ignored what is not a stored command")
			}},
		{what: "JetStream's answer in another node's mailbox", by: byAgent, says: "is stored as", control: works,
			try: func() (refuser, string) {
				id := r.next()
				asks(trustSet, fresh(), nil)
				return r.rejected(id, shell(node1))
			}},
		{what: "JetStream's error in another node's mailbox", by: byAgent, says: "not signed", control: works,
			try: func() (refuser, string) {
				id := r.next()
				asks(errors, fresh(), nil)
				return r.rejected(id, shell(node1))
			}},
		{what: "JetStream's error in the place of another node's answer", by: byStation, says: "took away what was in the place of an answer",
			try: func() (refuser, string) {
				mark := r.heard.len()
				m, file := r.touching(node1)
				m = r.sign(m, theAdmin)
				asks(errors, subjects.FinalAnswer(m.Subject, message.AnswerID(m.ID, m.Subject.Domain, message.Succeeded)), nil)
				r.store(theAdmin, encoded(m))
				if o := r.end(m); o.State != message.Succeeded || !there(file) {
					t.Errorf("the command ended %s: %s", o.State, o.Answer.Message)
				}
				return r.complains(mark, byStation, "took away what was in the place of an answer")
			}},
		{what: "a signed command of its own on another node's subject", by: byAgent, effect: untouched(file), control: works,
			says: "ignored a command", try: func() (refuser, string) {
				mark := r.heard.len()
				delivers("node1.command.shellcommand.operatingsystem")
				return r.complains(mark, byAgent, "ignored a command")
			}},
		{what: "JetStream's error as another node's desired state", by: byStation, says: "a desired state is not a station's",
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(errors, subjects.KeySubject(subjects.Desired, subjects.StateKey(node1, handlers.MethodNginxConfig, "nginx")), nil)
				return r.complains(mark, byStation, "a desired state is not a station's")
			},
			control: func() { // and the station writes the right one again
				eventually(t, "node1 is to be what it was", func() bool {
					ctx, cancel := patient(t)
					defer cancel()
					d, err := r.client.Desired(ctx, node1)
					return err == nil && d.Digest != "" && node(t, r.client, node1).DesiredRevision == d.Revision
				})
			}},
		{what: "JetStream's error as another node's entry of the register", by: byStation, says: "ignored an entry of the register", effect: known, control: works,
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(errors, subjects.KeySubject(subjects.Nodes, node1), nil)
				return r.complains(mark, byStation, "ignored an entry of the register")
			}},
		{what: "JetStream's error as the trust set", by: byStation, says: "storing the newest again", control: works,
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(errors, subjects.KeySubject(subjects.Trust, subjects.TrustKey), nil)
				return r.complains(mark, byStation, "storing the newest again")
			}},
		{what: "JetStream's error as a use of a token", by: byStation, says: "ignored an entry about a token",
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(errors, subjects.KeySubject(subjects.Tokens, subjects.TokenUseKey(strings.Repeat("a", 64), 1)), nil)
				return r.complains(mark, byStation, "ignored an entry about a token")
			}},
		{what: "JetStream's error as a report of another node", by: byStation, says: "ignored a report", effect: known,
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(errors, subjects.KeySubject(subjects.Reported, subjects.StateKey(node1, handlers.MethodNginxConfig, "nginx")), nil)
				return r.complains(mark, byStation, "ignored a report")
			}},
		{what: "a station's answer in another node's mailbox", by: byStation, says: "is no inbox",
			effect: func() string { return strings.Join(r.stored(`"messages"`), " ") },
			try: func() (refuser, string) {
				mark := r.heard.len()
				to := fresh()
				asks(subjects.Sync(node3), to, message.SyncRequest{})
				return r.complains(mark, byStation, "is no inbox")
			}},
		{what: "a station's answer as another node's entry of the register", by: byStation, says: "is no inbox", effect: known,
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(subjects.RenewOf(node3), subjects.KeySubject(subjects.Nodes, node1), message.Enclosed{})
				return r.complains(mark, byStation, "is no inbox")
			}},
		{what: "a station's answer as a nudge", by: byStation, says: "is no inbox",
			try: func() (refuser, string) {
				mark := r.heard.len()
				asks(subjects.Sync(node3), subjects.Nudge(node1), message.SyncRequest{})
				return r.complains(mark, byStation, "is no inbox")
			}},
		{what: "a consumer that pushes into another node's mailbox", by: byBroker, says: "forms a cycle", effect: untouched(file),
			try: func() (refuser, string) { return byBroker, consumes(fresh()) }},
		{what: "a consumer that pushes where the trust set is heard", by: byAgent, says: "ignored a trust set that no stream keeps", control: works,
			try: func() (refuser, string) {
				mark := r.heard.len()
				consumes(subjects.TrustShown)
				return r.complains(mark, byAgent, "ignored a trust set that no stream keeps")
			}},
		{what: "a consumer with another filter than its subject", by: byBroker, says: "filter", effect: untouched(file),
			try: func() (refuser, string) {
				body, err := json.Marshal(map[string]any{"stream_name": subjects.Commands, "action": "create", "config": map[string]any{
					"name": node3, "mem_storage": true, "ack_policy": "none", "filter_subject": subjects.MailboxOf(node1)}})
				if err != nil {
					t.Fatal(err)
				}
				m, err := r.raw(node3).Request("$JS.API.CONSUMER.CREATE.COMMANDS.node3."+subjects.MailboxOf(node3), body, patience)
				if err != nil {
					t.Fatal(err)
				}
				return byBroker, string(m.Data)
			},
			control: func() {
				if said := consumes(""); strings.Contains(said, `"error"`) {
					t.Error("nor can it have one of its own:", said)
				}
			}},
	})
	// The attacker's own command is still there, and is its own to run.
	r.bare(2)
	if o := r.end(pending); o.State != message.Succeeded || !there(file) {
		t.Errorf("the command that waited ended %s: %s", o.State, o.Answer.Message)
	}
}

// next is how an answer names the command that is stored next, where it has no
// good id of its own.
func (r *realm) next() string {
	r.t.Helper()
	return fmt.Sprintf("seq-%d", r.streams()[subjects.Commands].State.LastSeq+1)
}

// apply makes a resource, so that nodes have a desired state. Without nginx they
// refuse it.
func (r *realm) apply(t *testing.T) {
	t.Helper()
	sent := slices.DeleteFunc(apply(t, r.client, set(t, site("shop", "", 8080, "shop")), false), func(s client.Sent) bool { return s.Node == node3 })
	ctx, cancel := patient(t)
	defer cancel()
	for _, o := range r.answers.Wait(ctx, sent, nil) {
		if o.State != message.Rejected {
			t.Errorf("%s ended %s", o.Node, o.State)
		}
	}
}
