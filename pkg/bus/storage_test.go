package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestTenStationsMakeTheStorageOfACleanBrokerAtOnce(t *testing.T) {
	s := bare(t)
	conns := make([]*bus.Conn, 10)
	for i := range conns {
		conns[i] = s.station()
	}
	errs := make([]error, len(conns))
	var racing sync.WaitGroup
	begin := make(chan struct{})
	for i, c := range conns {
		racing.Go(func() {
			<-begin
			errs[i] = c.EnsureStorage(t.Context(), subjects.Settings{})
		})
	}
	close(begin)
	racing.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, stream := range subjects.Streams(subjects.Settings{}) {
		if _, err := conns[0].State(t.Context(), stream.Name); err != nil {
			t.Error(err)
		}
	}
	for _, bucket := range subjects.Buckets(subjects.Settings{}) {
		if _, err := conns[0].State(t.Context(), subjects.BucketStream(bucket.Name)); err != nil {
			t.Error(err)
		}
	}
}

func TestMakingTheStorageAgainKeepsWhatItHolds(t *testing.T) {
	s := open(t)
	c := s.station()
	m := s.command("ship1", "reload")
	publish(t, s.admin(), m)
	for _, settings := range []subjects.Settings{{}, {HealthKept: 7, LogsBytes: 1 << 20}, {}} {
		if err := c.EnsureStorage(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, c, subjects.Commands, bus.ReadOptions{}); len(got) != 1 || got[0].Subject != m.StoredSubject() {
		t.Errorf("the mailbox holds %v", got)
	}
}

func TestTheStateOfAStreamIsToldByTheBrokersClock(t *testing.T) {
	s := open(t)
	c := s.station()
	for range 3 {
		publish(t, s.admin(), s.command("ship1", "reload"))
	}
	state, err := c.State(t.Context(), subjects.Commands)
	if err != nil || state.Messages != 3 || state.First != 1 || state.Last != 3 || state.Bytes == 0 {
		t.Errorf("the state is %+v, %v", state, err)
	}
	items := all(t, c, subjects.Commands, bus.ReadOptions{})
	if last := items[len(items)-1].At; state.Now.Before(last) {
		t.Errorf("now is %s, before the last message of %s", state.Now, last)
	}
	if _, err := c.State(t.Context(), "NOWHERE"); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "start one with `fairlead station`") {
		t.Errorf("the state of no stream is %v", err)
	}
}

func TestTheAuditTakesNoDeletion(t *testing.T) {
	s := open(t)
	nc := s.foreign("station-a", subjects.Station)
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	// The station may not even ask: no answer comes before that of the flush.
	for _, what := range []string{"PURGE", "DELETE", "MSG.DELETE"} {
		if err := nc.PublishRequest("$JS.API.STREAM."+what+"."+subjects.Audit, sub.Subject, []byte(`{"seq":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sub.Pending(); n != 0 || err != nil {
		t.Errorf("%d answers, %v", n, err)
	}
}

// The audit of a broker that was there before copied commands and events alone; brought
// up to date it has what the bucket holds too, behind what it held.
func TestAnAuditOfBeforeLearnsToCopyMore(t *testing.T) {
	s := open(t)
	c := s.station()
	js, err := jetstream.New(s.foreign("station-of-before", subjects.Station))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), subjects.Audit)
	if err != nil {
		t.Fatal(err)
	}
	before := stream.CachedInfo().Config
	before.Sources = before.Sources[:2]
	if _, err := js.UpdateStream(within(t), before); err != nil {
		t.Fatal(err)
	}
	order := s.signed("alice", subjects.Admin, message.Message{Subject: subjects.RolloutSubject("A1", subjects.RolloutOrder), ID: message.NewID(), Body: []byte(`{"do":"pause"}`)})
	if _, err := s.admin().Put(within(t), subjects.Rollouts, bus.Change{Key: subjects.RolloutKey("A1", subjects.RolloutOrder), Document: order}); err != nil {
		t.Fatal(err)
	}
	publish(t, s.admin(), s.command("ship1", "reload"))
	auditHas(t, c, 1, "ship1.command.reload.nginx")
	if err := c.EnsureStorage(t.Context(), subjects.Settings{}); err != nil {
		t.Fatal(err)
	}
	auditHas(t, c, 2, "$KV.rollouts.A1.order")
}

// auditHas waits for the audit to end with a message of a subject, at a sequence.
func auditHas(t *testing.T, c *bus.Conn, sequence uint64, subject string) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	err := c.Read(ctx, subjects.Audit, bus.ReadOptions{After: sequence - 1, Follow: true}, func(i bus.Item) error {
		if i.Subject != subject || i.Sequence != sequence {
			t.Errorf("%d is %s, want %d %s", i.Sequence, i.Subject, sequence, subject)
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// What a person signed is in the audit as it was signed; what stations say of it is not,
// nor the resources, which the audit must not hold twice.
func TestTheAuditCopiesWhatPeopleOrderOfRollouts(t *testing.T) {
	s := open(t)
	admin := s.admin()
	order := s.signed("alice", subjects.Admin, message.Message{Subject: subjects.RolloutSubject("A1", subjects.RolloutOrder), ID: message.NewID(), Body: []byte(`{"do":"pause"}`)})
	plan := s.signed("alice", subjects.Admin, message.Message{Subject: subjects.RolloutSubject("A1", subjects.RolloutPlan), ID: message.NewID(), Body: []byte("{}")})
	state := s.signed("alice", subjects.Admin, message.Message{Subject: subjects.RolloutSubject("A1", subjects.RolloutState), ID: message.NewID(), Body: []byte("{}")})
	_, err := admin.PutAll(within(t), subjects.Rollouts, []bus.Change{
		{Key: subjects.RolloutDocKey("A1", key("h1")), Document: s.document("h1", "x")},
		{Key: subjects.RolloutKey("A1", subjects.RolloutPlan), Document: plan},
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]message.Message{subjects.RolloutState: state, subjects.RolloutOrder: order} {
		if _, err := s.station().Put(within(t), subjects.Rollouts, bus.Change{Key: subjects.RolloutKey("A1", what), Document: m}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, admin, s.command("ship1", "reload"))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	seen := make(map[string]bool)
	err = admin.Read(ctx, subjects.Audit, bus.ReadOptions{Follow: true}, func(i bus.Item) error {
		d := message.ReceiveCopied(i.Stored, i.Origin)
		if d.Fault != nil || d.Message.CheckSignature() != nil || d.Message.From != "alice" {
			t.Errorf("%s: %+v", i.Subject, d)
		}
		if seen[i.Subject] = true; len(seen) == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, subject := range []string{"$KV.rollouts.A1.plan", "$KV.rollouts.A1.order", "ship1.command.reload.nginx"} {
		if !seen[subject] {
			t.Errorf("%s is not in the audit: %v", subject, seen)
		}
	}
}

// AUDIT allows times to live, for how a broker reads it after a kill. What it copies takes
// none, so nobody can have a record of what was done run out before its time.
func TestNothingThatTheAuditCopiesTakesATimeToLive(t *testing.T) {
	s := open(t)
	s.station() // makes the streams
	alice, ship1 := s.foreign("alice", subjects.Admin), s.foreign("ship1", subjects.Node)
	for subject, by := range map[string]*nats.Conn{
		s.command("ship1", "reload").StoredSubject():                                             alice,
		s.event("ship1", subjects.MethodAck, "reload").StoredSubject():                           ship1,
		subjects.KeySubject(subjects.Rollouts, subjects.RolloutKey("A1", subjects.RolloutOrder)): alice,
	} {
		msg := nats.NewMsg(subject)
		msg.Header.Set("Nats-TTL", "1s")
		reply, err := by.RequestMsgWithContext(within(t), msg)
		if err != nil {
			t.Fatal(subject, err)
		}
		if !strings.Contains(string(reply.Data), "TTL is disabled") {
			t.Errorf("%s: the broker says %s", subject, reply.Data)
		}
	}
}
