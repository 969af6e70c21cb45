package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// hear subscribes to all commands of a node.
func hear(t *testing.T, c *bus.Conn, node string) (<-chan message.Delivery, <-chan string) {
	t.Helper()
	heard, unstored := make(chan message.Delivery, 1000), make(chan string, 1000)
	sub, err := c.Subscribe(subjects.CommandsTo(node), func(d message.Delivery) { heard <- d }, func(s string) { unstored <- s })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Stop)
	flush(t, c)
	return heard, unstored
}

func TestAStoredMessageIsShownOnceAndAfterItIsStored(t *testing.T) {
	s := open(t)
	ship1, alice := s.node("ship1"), s.admin()
	heard, unstored := hear(t, ship1, "ship1")
	var sent []message.Message
	for range 200 {
		m := s.command("ship1", "reload")
		publish(t, alice, m)
		_, _ = alice.Publish(t.Context(), m) // once more: stored once, shown once
		sent = append(sent, m)
	}
	publish(t, alice, s.command("ship2", "reload"))
	for i, m := range sent {
		d := next(t, heard)
		if d.Fault != nil || d.Message.ID != m.ID || d.Sequence != uint64(i+1) || d.Message.CheckSignature() != nil {
			t.Fatalf("number %d is %+v", i, d)
		}
		if i%50 != 0 {
			continue
		}
		kept, err := alice.Last(t.Context(), subjects.Commands, m.StoredSubject())
		if err != nil || kept == nil || kept.Sequence != d.Sequence || !kept.At.Equal(d.StoredAt) {
			t.Fatalf("shown as %d of %s, stored %+v, %v", d.Sequence, d.StoredAt, kept, err)
		}
	}
	flush(t, ship1)
	if len(heard)+len(unstored) > 0 {
		t.Errorf("%d more were heard, %d of them never stored", len(heard), len(unstored))
	}
}

func TestAnyClientsMessageIsHeardUnderItsSequence(t *testing.T) {
	s := open(t)
	ship1, alice := s.node("ship1"), s.admin()
	heard, _ := hear(t, ship1, "ship1")
	publish(t, alice, s.command("ship1", "reload"))
	next(t, heard)
	if err := alice.Tell("ship1.command.reload.nginx", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	d := next(t, heard)
	if d.Message.ID != "seq-2" || d.Sequence != 2 || d.Fault != nil || string(d.Message.Body) != "hello" || d.Message.Subject.Method != "reload" {
		t.Errorf("heard %+v", d)
	}
	// And JetStream acknowledges it, as it does to `nats request`.
	reply, err := alice.Request(within(t), "ship1.command.reload.nginx", []byte("again"))
	if err != nil || len(reply) == 0 {
		t.Fatalf("no acknowledgement: %q, %v", reply, err)
	}
	if d := next(t, heard); d.Message.ID != "seq-3" {
		t.Errorf("heard %+v", d)
	}
}

// The marks of place and time are headers, and a sender may bring headers of
// the same name. A false time would move the clock of whoever believes it.
func TestASenderCannotForgePlaceAndTime(t *testing.T) {
	s := open(t)
	heard, _ := hear(t, s.node("ship1"), "ship1")
	nc := s.foreign("alice", subjects.Admin)
	msg := nats.NewMsg("ship1.command.reload.nginx")
	msg.Header = nats.Header{
		"Nats-Sequence": {"999999"}, "Nats-Stream": {"OTHER"}, "Nats-Subject": {"fleet.ship1.command.shellcommand.nginx._"},
		"Nats-Time-Stamp": {"2099-01-01T00:00:00Z"}, "Status": {"404"},
	}
	if reply, err := nc.RequestMsgWithContext(within(t), msg); err != nil || strings.Contains(string(reply.Data), "error") {
		t.Fatalf("not stored: %s, %v", reply.Data, err)
	}
	d := next(t, heard)
	if d.Sequence != 1 || d.Message.Subject.Method != "reload" || d.StoredAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("heard %+v", d)
	}
	kept, err := s.admin().Last(t.Context(), subjects.Commands, "fleet.ship1.command.reload.nginx._")
	if err != nil || kept == nil || kept.Sequence != 1 || kept.At.After(time.Now().Add(time.Hour)) || kept.Subject != "fleet.ship1.command.reload.nginx._" {
		t.Errorf("read %+v, %v", kept, err)
	}
	c := s.admin()
	if i := copied(t, c, 1)[0]; i.Origin != 1 || i.Sequence != 1 {
		t.Errorf("the audit holds %+v", i)
	}
	if upTo, err := c.CopiedUpTo(within(t), subjects.Audit, subjects.CopiedCommands); upTo != 1 || err != nil {
		t.Errorf("copied up to %d, %v", upTo, err)
	}
}

// Who may read a stream may have it delivered to any subject, with the headers of
// whoever sent it and no marks of the broker's own.
func TestWhatIsDeliveredWhereCommandsAreShownIsNotOne(t *testing.T) {
	s := open(t)
	heard, unstored := hear(t, s.node("ship1"), "ship1")
	msg := nats.NewMsg("fleet.ship1.command.reload.nginx._")
	msg.Header = nats.Header{"Nats-Sequence": {"7"}, "Nats-Stream": {subjects.Commands}, "Nats-Subject": {msg.Subject}, "Nats-Time-Stamp": {"2099-01-01T00:00:00Z"}}
	if reply, err := s.foreign("alice", subjects.Admin).RequestMsgWithContext(within(t), msg); err != nil || strings.Contains(string(reply.Data), "error") {
		t.Fatalf("not stored: %+v, %v", reply, err)
	}
	if d := next(t, heard); d.Sequence != 1 {
		t.Fatalf("heard %+v", d)
	}
	vera := s.foreign("vera", subjects.Viewer)
	pull := []byte(`{"stream_name":"COMMANDS","config":{"name":"pull","ack_policy":"none","deliver_policy":"all","mem_storage":true}}`)
	if reply, err := vera.RequestWithContext(within(t), "$JS.API.CONSUMER.CREATE.COMMANDS.pull", pull); err != nil || strings.Contains(string(reply.Data), `"error"`) {
		t.Fatalf("no consumer: %+v, %v", reply, err)
	}
	if err := vera.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.pull", "ship1.command.reload.nginx", []byte(`{"batch":1}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case subject := <-unstored:
		if subject != msg.Subject { // that of the store
			t.Errorf("ignored %s", subject)
		}
	case d := <-heard:
		t.Errorf("heard %+v", d)
	case <-time.After(patience):
		t.Error("nothing was delivered")
	}
}

// copied waits for the first n messages of the audit, which copies a moment later.
func copied(t *testing.T, c *bus.Conn, n int) (items []bus.Item) {
	t.Helper()
	err := c.Read(within(t), subjects.Audit, bus.ReadOptions{Follow: true}, func(i bus.Item) error {
		if items = append(items, i); len(items) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("the audit has %d of %d: %v", len(items), n, err)
	}
	return items
}

var errEnough = errors.New("enough")

// The mappings of the account send what is published on the four tokens into
// the store, answers of JetStream's own API among it; on a subject without a
// mapping nothing is kept.
func TestWhatNoStreamKeepsIsReportedAndNotDelivered(t *testing.T) {
	s := open(t)
	heard, unstored := make(chan message.Delivery, 10), make(chan string, 10)
	ship1 := s.node("ship1")
	if _, err := ship1.Subscribe(subjects.Nudge("ship1"), func(d message.Delivery) { heard <- d }, func(s string) { unstored <- s }); err != nil {
		t.Fatal(err)
	}
	flush(t, ship1)
	if err := s.station().Tell(subjects.Nudge("ship1"), nil); err != nil {
		t.Fatal(err)
	}
	if subject := next(t, unstored); subject != subjects.Nudge("ship1") || len(heard) != 0 {
		t.Errorf("reported %s, heard %d", subject, len(heard))
	}
}

func TestAnAnswerOfJetStreamOnANodesSubjectIsNoCommand(t *testing.T) {
	s := open(t)
	heard, _ := hear(t, s.node("ship1"), "ship1")
	if err := s.foreign("alice", subjects.Admin).PublishRequest("$JS.API.INFO", "ship1.command.reload.nginx", nil); err != nil {
		t.Fatal(err)
	}
	if d := next(t, heard); message.Named(d.Message.ID) || d.Message.Signature != "" {
		t.Errorf("heard %+v", d)
	}
}

func TestAStoppedSubscriptionHearsNoMore(t *testing.T) {
	s := open(t)
	ship1, alice := s.node("ship1"), s.admin()
	first := make(chan message.Delivery, 10)
	sub, err := ship1.Subscribe(subjects.CommandsTo("ship1"), func(d message.Delivery) { first <- d }, nil)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, ship1)
	sub.Stop()
	second, _ := hear(t, ship1, "ship1")
	publish(t, alice, s.command("ship1", "reload"))
	next(t, second)
	if len(first) != 0 {
		t.Error("a stopped subscription heard a message")
	}
}

func TestLostMessagesAreTold(t *testing.T) {
	s := open(t)
	lost := make(chan struct{}, 1)
	slow := s.connect(bus.Options{Credentials: s.credentials("alice", subjects.Admin), OnLost: func() {
		select {
		case lost <- struct{}{}:
		default:
		}
	}})
	release := make(chan struct{})
	defer close(release)
	if _, err := slow.Listen("live.desired.>", func(string, []byte) { <-release }); fleet.KindOf(err) != "" {
		t.Fatal(err)
	}
	if _, err := slow.Listen("*.event.>", func(string, []byte) { <-release }); err != nil {
		t.Fatal(err)
	}
	flush(t, slow)
	ship1 := s.node("ship1")
	body := noise(500 << 10)
	for range 80 { // more than 32 MiB
		m := s.event("ship1", subjects.MethodHealth, "nginx")
		m.Body = body
		publish(t, ship1, s.signed("ship1", subjects.Node, m))
	}
	next(t, lost)
}
