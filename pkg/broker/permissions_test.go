package broker_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// mayPublish asks the server: a refusal stands before the answer to a flush.
func (s *site) mayPublish(t *testing.T, u identity.User, subject string) bool {
	return s.may(t, u, func(nc *nats.Conn) error { return nc.Publish(subject, nil) })
}

func (s *site) maySubscribe(t *testing.T, u identity.User, subject string) bool {
	return s.may(t, u, func(nc *nats.Conn) error {
		_, err := nc.SubscribeSync(subject)
		return err
	})
}

func (s *site) may(t *testing.T, u identity.User, do func(*nats.Conn) error) bool {
	t.Helper()
	nc := dial(t, s, u)
	defer nc.Close()
	if err := errors.Join(do(nc), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	err := nc.LastError()
	if err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		t.Fatal(err)
	}
	return err == nil
}

func TestANodeSpeaksAndHearsOfItselfOnly(t *testing.T) {
	s := start(t, nil)
	ship1 := user(t, s.Authority, "ship1", subjects.Node)
	user(t, s.Authority, "ship2", subjects.Node)

	publish := map[string]bool{
		"_INBOX_NODE.ship2.x":                    false,
		"_INBOX.station-a.x":                     false,
		"$SYS.REQ.SERVER.PING":                   false,
		"$JS.API.INFO":                           false,
		"$JS.API.STREAM.LIST":                    false,
		"$JS.API.STREAM.INFO.AUDIT":              false,
		"$JS.API.DIRECT.GET.COMMANDS":            false,
		"$JS.API.DIRECT.GET.KV_desired":          false,
		"$JS.API.CONSUMER.CREATE.COMMANDS.ship1": false,
		"$JS.API.CONSUMER.CREATE.COMMANDS.ship1.fleet.ship2.command.>": false,
		"$JS.API.CONSUMER.CREATE.COMMANDS.ship1.fleet.*.command.>":     false,
		"$KV.fleet.VirtualHost.x":                                      false,
		"$KV.nodes.ship1":                                              false,
		"$KV.trust.set":                                                false,
		"$KV.trust.jwt.X":                                              false,
		"$JS.API.DIRECT.GET.KV_trust":                                  true,
		"$JS.API.DIRECT.GET.KV_trust.$KV.trust.set":                    true,
		"live.trust.set":                                               false,
		subjects.JoinWith("ship1"):                                     false,
		"fleet.ship1":                                                  false,
	}
	for _, node := range []string{"ship1", "ship2"} {
		own := node == "ship1"
		for subject, may := range map[string]bool{
			node + ".event.healthreport.nginx":                                           own, // mapped to the stored subject
			"fleet." + node + ".event.ack.reload.X":                                      own,
			node + ".command.reload.nginx":                                               false,
			"fleet." + node + ".command.reload.nginx.X":                                  false,
			"$KV.reported." + node + ".nginxconfig.nginx":                                own,
			"$KV.desired." + node + ".nginxconfig.nginx":                                 false,
			"$JS.API.DIRECT.GET.KV_desired.$KV.desired." + node + ".nginxconfig.nginx":   own,
			"$JS.API.CONSUMER.CREATE.COMMANDS." + node + ".fleet." + node + ".command.>": own,
			"$JS.API.CONSUMER.MSG.NEXT.COMMANDS." + node:                                 own,
			"$JS.API.CONSUMER.DELETE.COMMANDS." + node:                                   own,
			subjects.Sync(node):                                                          own,
			subjects.Nudge(node):                                                         false,
			subjects.RenewOf(node):                                                       own,
		} {
			publish[subject] = may
		}
	}
	for subject, want := range publish {
		if got := s.mayPublish(t, ship1, subject); got != want {
			t.Errorf("ship1 may publish %s: %v, want %v", subject, got, want)
		}
	}
	for subject, want := range map[string]bool{
		"ship1.command.>": true, "ship2.command.>": false, "*.command.>": false,
		"ship1.>": false, "ship1.event.>": false, ">": false, "fleet.>": false,
		"live.desired.ship1.>": true, "live.desired.ship2.>": false, "live.desired.>": false,
		subjects.Nudge("ship1"): true, subjects.SyncAll: false,
		subjects.TrustShown: true, subjects.JWTsShown: false, subjects.RenewAll: false, subjects.JoinAll: false,
		"_INBOX_NODE.ship1.>": true, "_INBOX_NODE.ship2.>": false, "_INBOX_NODE.>": false, "_INBOX.*.x": false,
		"_INBOX.ship1.>": false, // where a person of that name hears replies
		"$SYS.>":         false, "$JS.>": false,
	} {
		if got := s.maySubscribe(t, ship1, subject); got != want {
			t.Errorf("ship1 may subscribe %s: %v, want %v", subject, got, want)
		}
	}
}

func TestPeopleSendWhatTheirRoleMay(t *testing.T) {
	o := identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}}
	s := startOf(t, authority(t, t.TempDir(), o), nil)
	reload, shell := "ship1.command.reload.nginx", "ship1.command.shellcommand.operatingsystem"
	for role, want := range map[subjects.Role][2]bool{
		subjects.Admin: {true, true}, subjects.Operator: {true, false}, subjects.Viewer: {false, false},
	} {
		u := user(t, s.Authority, "u-"+string(role), role)
		if got := [2]bool{s.mayPublish(t, u, reload), s.mayPublish(t, u, shell)}; got != want {
			t.Errorf("%s may send reload and shellcommand: %v, want %v", role, got, want)
		}
		if s.mayPublish(t, u, "ship1.event.ack.reload") {
			t.Errorf("%s may answer for a node", role)
		}
		if s.mayPublish(t, u, "$JS.API.STREAM.DELETE.AUDIT") || s.mayPublish(t, u, "$JS.API.STREAM.PURGE.AUDIT") {
			t.Errorf("%s may remove the audit", role)
		}
		if !s.maySubscribe(t, u, "ship1.>") && !s.maySubscribe(t, u, "ship1.event.>") {
			t.Errorf("%s may not hear events", role)
		}
	}
}

func TestTheSubjectOfAConsumerBindsItsFilter(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	nc := s.connect(t, "ship1", subjects.Node)
	ask := func(filter string) string {
		body := `{"stream_name":"COMMANDS","action":"create","config":{"name":"ship1","mem_storage":true,"ack_policy":"none","deliver_policy":"all","inactive_threshold":5000000000,"filter_subject":"` + filter + `"}}`
		reply, err := nc.Request("$JS.API.CONSUMER.CREATE.COMMANDS.ship1."+subjects.MailboxOf("ship1"), []byte(body), patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(reply.Data)
	}
	if got := ask(subjects.MailboxOf("ship2")); !contains(got, `"error"`) {
		t.Error("a node made a consumer over another's mailbox:", got)
	}
	if got := ask(subjects.MailboxOf("ship1")); contains(got, `"error"`) {
		t.Error("a node cannot read its own mailbox:", got)
	}
}

func TestTheSystemUserMonitorsAndEntersNoTenant(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	u, err := s.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserJWT(func() (string, error) { return u.UserJWT(), nil }, u.Sign))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Request("$SYS.REQ.SERVER.PING", nil, patience); err != nil {
		t.Error(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), subjects.Commands); err == nil {
		t.Error("the system user reads a tenant's stream")
	}
}
