package bus_test

import (
	"context"
	"sync"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// state is a signed document of a node's.
func (s *site) reported(node string) bus.Change {
	m := message.Message{Subject: message.ReportedSubject(node, "nginxconfig", "nginx"), Body: []byte(`{}`)}
	return bus.Change{Key: subjects.StateKey(node, "nginxconfig", "nginx"), Document: s.signed(node, subjects.Node, m), Expect: bus.Any}
}

func (s *site) desired(node string) bus.Change {
	m := message.Message{Subject: message.DesiredSubject(node, "nginxconfig", "nginx"), Body: []byte(`{"revision":1}`)}
	return bus.Change{Key: subjects.StateKey(node, "nginxconfig", "nginx"), Document: s.signed("station-a", subjects.Station, m)}
}

func TestANodeMayDoAllThatItsAgentDoes(t *testing.T) {
	s := open(t)
	station, ship1 := s.station(), s.node("ship1")
	heard, _ := hear(t, ship1, "ship1")
	shown := make(chan string, 1)
	if _, err := ship1.Listen(subjects.DesiredShown("ship1"), func(subject string, _ []byte) { shown <- subject }); err != nil {
		t.Fatal(err)
	}
	nudged := make(chan string, 1)
	if _, err := ship1.Listen(subjects.Nudge("ship1"), func(subject string, _ []byte) { nudged <- subject }); err != nil {
		t.Fatal(err)
	}
	flush(t, ship1)

	if _, err := station.Put(t.Context(), subjects.Desired, s.desired("ship1")); err != nil {
		t.Fatal(err)
	}
	next(t, shown)
	if e, err := ship1.Get(t.Context(), subjects.Desired, subjects.StateKey("ship1", "nginxconfig", "nginx")); err != nil || len(e.Body) == 0 {
		t.Errorf("its own desired state: %+v, %v", e, err)
	}
	if _, err := ship1.Put(t.Context(), subjects.Reported, s.reported("ship1")); err != nil {
		t.Errorf("its own report: %v", err)
	}
	if err := station.Tell(subjects.Nudge("ship1"), nil); err != nil {
		t.Error(err)
	}
	next(t, nudged)
	publish(t, s.admin(), s.command("ship1", "reload"))
	next(t, heard)
	if got := mailbox(t, ship1, "ship1", 10); len(got) != 1 {
		t.Errorf("its own mailbox holds %v", got)
	}
	for _, method := range []string{subjects.MethodAck, subjects.MethodLifecycle, subjects.MethodHealth, subjects.MethodSyslog} {
		publish(t, ship1, s.event("ship1", method, "nginx"))
	}
	stop, err := station.Service(t.Context(), "fairlead-sync", "1.0.0", "", bus.Endpoint{Name: "sync", Subject: subjects.SyncAll,
		Handle: func(_ context.Context, subject string, _ []byte) (any, error) {
			return subjects.NodeOfSync(subject), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	flush(t, station)
	var name string
	if err := ship1.Ask(within(t), subjects.Sync("ship1"), message.SyncRequest{}, &name); err != nil || name != "ship1" {
		t.Errorf("sync: %q, %v", name, err)
	}
}

// The broker does not answer what it refuses: the client hears of it beside
// the call, which is then given up.
func TestANodeMayDoNothingForAnother(t *testing.T) {
	s := open(t)
	if _, err := s.station().Put(t.Context(), subjects.Desired, s.desired("ship2")); err != nil {
		t.Fatal(err)
	}
	publish(t, s.admin(), s.command("ship2", "reload"))
	before := stateOf(t, s.station(), subjects.Reported)
	key := subjects.StateKey("ship2", "nginxconfig", "nginx")
	for name, do := range map[string]func(ctx context.Context, c *bus.Conn) error{
		"read its desired state": func(ctx context.Context, c *bus.Conn) error { _, err := c.Get(ctx, subjects.Desired, key); return err },
		"read its report":        func(ctx context.Context, c *bus.Conn) error { _, err := c.Get(ctx, subjects.Reported, key); return err },
		"write its desired state": func(ctx context.Context, c *bus.Conn) error {
			_, err := c.Put(ctx, subjects.Desired, s.desired("ship2"))
			return err
		},
		"write its report": func(ctx context.Context, c *bus.Conn) error {
			_, err := c.Put(ctx, subjects.Reported, s.reported("ship2"))
			return err
		},
		"answer for it": func(ctx context.Context, c *bus.Conn) error {
			_, err := c.Publish(ctx, s.event("ship2", subjects.MethodAck, "reload"))
			return err
		},
		"command it": func(ctx context.Context, c *bus.Conn) error {
			_, err := c.Publish(ctx, s.command("ship2", "reload"))
			return err
		},
		"read its mailbox": func(ctx context.Context, c *bus.Conn) error {
			_, _, err := c.Mailbox(ctx, "ship2", subjects.MailboxOf("ship2"), 0, 10)
			return err
		},
		"read its mailbox as its own": func(ctx context.Context, c *bus.Conn) error {
			_, _, err := c.Mailbox(ctx, "ship1", subjects.MailboxOf("ship2"), 0, 10)
			return err
		},
		"read the audit": func(ctx context.Context, c *bus.Conn) error {
			return c.Read(ctx, subjects.Audit, bus.ReadOptions{}, func(bus.Item) error { return nil })
		},
		"ask for its commands": func(ctx context.Context, c *bus.Conn) error {
			return c.Ask(ctx, subjects.Sync("ship2"), nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, "ship1", do) })
	}
	if after := stateOf(t, s.station(), subjects.Reported); after.Messages != before.Messages {
		t.Error("a report was stored")
	}
}

// refuses holds the broker to refusing a node something.
func (s *site) refuses(t *testing.T, node string, do func(ctx context.Context, c *bus.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	warned := make(chan struct{})
	var once sync.Once
	c := s.connect(bus.Options{Credentials: s.credentials(node, subjects.Node), Logger: onWarning(func() {
		once.Do(func() { close(warned) })
		cancel()
	})})
	err := do(ctx, c)
	if err == nil {
		t.Fatal("not refused")
	}
	// Some calls hear of the refusal themselves, and end before it is warned of.
	select {
	case <-warned:
	case <-within(t).Done():
		t.Errorf("no word of a refusal: %v", err)
	}
}

func TestWrongCredentialsAreRefusedAndNobodyIsUnavailable(t *testing.T) {
	s := bare(t)
	stranger := &site{t: t, authority: newAuthority(t), users: s.users}
	delete(s.users, "mallory")
	_, err := bus.Connect(t.Context(), bus.Options{URL: s.url, TLS: s.tls(), Credentials: stranger.credentials("mallory", subjects.Admin)})
	if fleet.KindOf(err) != fleet.Refused {
		t.Errorf("another authority's user: kind %s, %v", fleet.KindOf(err), err)
	}
	creds := s.credentials("alice", subjects.Admin)
	s.stop()
	_, err = bus.Connect(t.Context(), bus.Options{URL: s.url, TLS: s.tls(), Credentials: creds})
	if fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("nobody listens: kind %s, %v", fleet.KindOf(err), err)
	}
}
