package dev_test

import (
	"strings"
	"testing"

	"fairlead/subjects"
)

// forbidden is something that the broker does not let somebody say or hear,
// beside what shows that only the subject is in the way.
type forbidden struct {
	what    string
	subject string
	hear    bool   // subscribe, not publish
	control string // the same as the attacker may do it; "" where control is who may
	who     string // who may do the very same
}

// A host was broken into, and the attacker has the node's whole identity.
func TestAttackWithANodesCredentials(t *testing.T) {
	r := newRealm(t)
	ownEvent := "fleet.node3.event.healthreport.nginx._"
	ownDesired := "$JS.API.DIRECT.GET.KV_desired.$KV.desired.node3.nginxconfig.nginx"
	ownHear := "node3.command.>"
	r.refuses(node3, []forbidden{
		{what: "an event of another node", subject: "fleet.node1.event.ack.shellcommand.x", control: ownEvent},
		{what: "another node's event on the four tokens", subject: "node1.event.healthreport.nginx", control: "node3.event.healthreport.nginx"},
		{what: "a command to another node", subject: "fleet.node1.command.shellcommand.operatingsystem.x", who: theAdmin},
		{what: "a command to itself", subject: "node3.command.shellcommand.operatingsystem", who: theAdmin},
		{what: "another's reported state", subject: "$KV.reported.node1.nginxconfig.nginx", control: "$KV.reported.node3.attack.x"},
		{what: "its own desired state", subject: "$KV.desired.node3.nginxconfig.nginx", control: ownEvent},
		{what: "another's desired state", subject: "$KV.desired.node1.nginxconfig.nginx", control: ownEvent},
		{what: "the register", subject: "$KV.nodes.node3", control: ownEvent},
		{what: "a resource", subject: "$KV.fleet.VirtualHost.shop", control: ownEvent},
		{what: "the trust set", subject: "$KV.trust.set", control: ownEvent},
		{what: "somebody's JWT", subject: "$KV.trust.jwt.UX", control: ownEvent},
		{what: "a token", subject: "$KV.tokens.x", control: ownEvent},
		{what: "the use of a token", subject: "$KV.tokens.x.use.1", control: ownEvent},
		{what: "a checkpoint of the audit", subject: subjects.Checkpoint, control: ownEvent},
		{what: "a part of a file", subject: "$KV.blobs.x", control: "$JS.API.DIRECT.GET.KV_blobs.$KV.blobs.x"},
		{what: "a trust set past the store", subject: subjects.TrustShown, control: ownEvent},
		{what: "a desired state past the store", subject: "live.desired.node1.nginxconfig.nginx", control: ownEvent},
		{what: "a nudge", subject: subjects.Nudge(node1), control: ownEvent},
		{what: "a reply to another node", subject: "_INBOX_NODE.node1.x", control: ownEvent},
		{what: "a reply to a station", subject: "_INBOX.station.x", control: ownEvent},
		{what: "a reply to a person", subject: "_INBOX.admin.x", control: ownEvent},

		{what: "everything", subject: ">", hear: true, control: ownHear},
		{what: "everything of a node", subject: "*.>", hear: true, who: theAdmin},
		{what: "all commands", subject: "*.command.>", hear: true, who: "vera"},
		{what: "another's commands", subject: "node1.command.>", hear: true, control: ownHear},
		{what: "another's events", subject: "node1.event.>", hear: true, who: "vera"},
		{what: "another's desired state as it is shown", subject: "live.desired.node1.>", hear: true, control: "live.desired.node3.>"},
		{what: "all desired states", subject: "live.desired.>", hear: true, control: "live.desired.node3.>"},
		{what: "others' replies", subject: "_INBOX.>", hear: true, control: "_INBOX_NODE.node3.>"},
		{what: "other nodes' replies", subject: "_INBOX_NODE.>", hear: true, control: "_INBOX_NODE.node3.>"},
		{what: "another node's replies", subject: "_INBOX_NODE.node1.>", hear: true, control: "_INBOX_NODE.node3.>"},
		{what: "what asks JetStream", subject: "$JS.>", hear: true, control: ownHear},
		{what: "what is written to buckets", subject: "$KV.>", hear: true, control: ownHear},
		{what: "what the server says", subject: "$SYS.>", hear: true, control: ownHear},
		{what: "who wants to join", subject: subjects.JoinAll, hear: true, who: "station"},
		{what: "who wants to be renewed", subject: subjects.RenewAll, hear: true, who: "station"},
		{what: "renewed JWTs", subject: subjects.JWTsShown, hear: true, who: "vera"},

		{what: "another's desired key, by the subject", subject: "$JS.API.DIRECT.GET.KV_desired.$KV.desired.node1.nginxconfig.nginx", control: ownDesired},
		{what: "another's desired key, by the body", subject: "$JS.API.DIRECT.GET.KV_desired", control: "$JS.API.DIRECT.GET.KV_trust"},
		{what: "the register, by the subject", subject: "$JS.API.DIRECT.GET.KV_nodes.$KV.nodes.node3", who: "vera"},
		{what: "a stored message", subject: "$JS.API.STREAM.MSG.GET.COMMANDS", who: "vera"},
		{what: "a stream's state", subject: "$JS.API.STREAM.INFO.AUDIT", who: "vera"},
		{what: "names of streams", subject: "$JS.API.STREAM.NAMES", who: "vera"},
		{what: "the list of streams", subject: "$JS.API.STREAM.LIST", who: "vera"},
		{what: "the account's limits", subject: "$JS.API.INFO", who: "vera"},
		{what: "a consumer of any name", subject: "$JS.API.CONSUMER.CREATE.COMMANDS.x.fleet.node3.command.>", control: "$JS.API.CONSUMER.CREATE.COMMANDS.node3.fleet.node3.command.>"},
		{what: "a consumer with another filter", subject: "$JS.API.CONSUMER.CREATE.COMMANDS.node3.fleet.node1.command.>", who: "vera"},
		{what: "a consumer without a filter", subject: "$JS.API.CONSUMER.CREATE.COMMANDS.node3", who: "vera"},
		{what: "a durable consumer", subject: "$JS.API.CONSUMER.DURABLE.CREATE.COMMANDS.node3", control: ownEvent},
		{what: "a consumer of another stream", subject: "$JS.API.CONSUMER.CREATE.AUDIT.node3.fleet.node3.command.>", who: "vera"},
		{what: "names of consumers, which are nodes", subject: "$JS.API.CONSUMER.NAMES.COMMANDS", who: "vera"},
		{what: "another's consumer", subject: "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.node1", control: "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.node3"},
		{what: "the end of another's consumer", subject: "$JS.API.CONSUMER.DELETE.COMMANDS.node1", control: "$JS.API.CONSUMER.DELETE.COMMANDS.node3"},
		{what: "a purge", subject: "$JS.API.STREAM.PURGE.COMMANDS", control: ownEvent},
		{what: "a deletion", subject: "$JS.API.STREAM.DELETE.AUDIT", control: ownEvent},
		{what: "another configuration", subject: "$JS.API.STREAM.UPDATE.AUDIT", control: ownEvent},
		{what: "a stream of its own", subject: "$JS.API.STREAM.CREATE.x", control: ownEvent},
		{what: "the deletion of a message", subject: "$JS.API.STREAM.MSG.DELETE.COMMANDS", control: ownEvent},
		{what: "a snapshot", subject: "$JS.API.STREAM.SNAPSHOT.COMMANDS", control: ownEvent},
		{what: "a question to the server", subject: "$SYS.REQ.SERVER.PING", control: ownEvent},
		{what: "an account", subject: subjects.AccountUpdate, control: ownEvent},
		{what: "a question of people", subject: subjects.Query("nodes"), who: "vera"},
		{what: "another's waiting commands", subject: subjects.Sync(node1), control: subjects.Sync(node3)},
		{what: "another's renewal", subject: subjects.RenewOf(node1), control: subjects.RenewOf(node3)},
		{what: "to join", subject: subjects.JoinWith(node3), control: ownEvent},
		{what: "discovery", subject: "$SRV.PING", who: "vera"},
	})
}

// refuses holds that the broker refuses each, that nothing of it was stored,
// and that the fleet works on.
func (r *realm) refuses(who string, all []forbidden) {
	r.t.Helper()
	shape := r.shape()
	for _, f := range all {
		try := func(name, subject, text string) string { return r.publish(name, subject, text) }
		word := "publish"
		if f.hear {
			try, word = func(name, subject, _ string) string { return r.subscribe(name, subject) }, "subscription"
		}
		said := strings.ToLower(try(who, f.subject, marker))
		if !strings.Contains(said, "permissions violation for "+word) {
			r.t.Errorf("%s: the broker lets %s have it: %q", f.what, who, said)
		}
		control, by := f.control, who
		if f.who != "" {
			control, by = f.subject, f.who
		}
		if control == "" {
			r.t.Fatalf("%s: there is nothing to compare it with", f.what)
		}
		if said := try(by, control, harmless); said != "" {
			r.t.Errorf("%s: %s may not either, by %s: %s", f.what, by, control, said)
		}
	}
	for _, subject := range r.stored(marker) {
		r.t.Errorf("it was stored on %s", subject)
	}
	if now := r.shape(); now != shape {
		r.t.Errorf("streams are others than before:\n%s\nnow\n%s", shape, now)
	}
	r.runs(node1)
	r.runs(node2)
}
