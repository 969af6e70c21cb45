package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/broker"
	"fairlead/subjects"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func stream(t *testing.T, nc *nats.Conn, name string) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAForeignClientsMessageIsStoredAndShownOnce(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	all := subscribe(t, s.connect(t, "viewer-a", subjects.Viewer), subjects.CommandsTo("*"))
	admin := s.connect(t, "alice", subjects.Admin)

	const many = 100
	for i := range many {
		subject := fmt.Sprintf("ship%d.command.reload.nginx", i)
		reply, err := admin.Request(subject, []byte("{}"), patience)
		if err != nil || !contains(string(reply.Data), `"stream":"COMMANDS"`) {
			t.Fatalf("%s was not acknowledged by JetStream: %v %v", subject, reply, err)
		}
	}
	commands := stream(t, admin, subjects.Commands)
	for i := range many {
		// The acknowledgement follows the storing, and each is shown in
		// order: a message shown twice would be met here.
		shown := next(t, all)
		want := subjects.Subject{Node: fmt.Sprintf("ship%d", i), Direction: subjects.Command, Method: "reload", Domain: "nginx"}
		stored := subjects.Stored(want, subjects.NoID)
		sequence := fmt.Sprint(i + 1)
		if shown.Subject != want.String() || shown.Header.Get("Nats-Sequence") != sequence ||
			shown.Header.Get("Nats-Subject") != stored || shown.Header.Get("Nats-Time-Stamp") == "" {
			t.Fatalf("shown %s with %v; want %s, sequence %s", shown.Subject, shown.Header, want, sequence)
		}
		raw, err := commands.GetMsg(t.Context(), uint64(i+1))
		if err != nil || raw.Subject != stored {
			t.Fatalf("stored %v, %v; want %s", raw, err, stored)
		}
	}
	if n, _, _ := all.Pending(); n != 0 {
		t.Errorf("%d more were shown", n)
	}
}

func TestTheAuditSourcesBothOnFourTokens(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	admin, node := s.connect(t, "alice", subjects.Admin), s.connect(t, "ship1", subjects.Node)
	command := subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"}
	for nc, subject := range map[*nats.Conn]string{
		admin: subjects.Stored(command, "ID1"),
		node:  subjects.Stored(command.Answer(), "ID2"),
	} {
		if _, err := nc.Request(subject, []byte("{}"), patience); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := stream(t, admin, subjects.Audit).OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{command.String(): "COMMANDS", command.Answer().String(): "EVENTS"}
	for range 2 {
		msg, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		origin := msg.Headers().Get("Nats-Stream-Source")
		if from, ok := want[msg.Subject()]; !ok || !strings.HasPrefix(origin, from+" ") {
			t.Errorf("the audit holds %s from %q", msg.Subject(), origin)
		}
		delete(want, msg.Subject())
	}
}

func TestARestartKeepsEverything(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	admin := s.connect(t, "alice", subjects.Admin)
	if _, err := admin.Request("ship1.command.reload.nginx", []byte("kept"), patience); err != nil {
		t.Fatal(err)
	}
	s.stop()

	again := startOf(t, s.Authority, func(c *broker.Config) { c.StoreDir = s.config.StoreDir })
	raw, err := stream(t, again.connect(t, "alice", subjects.Admin), subjects.Commands).GetMsg(t.Context(), 1)
	if err != nil || string(raw.Data) != "kept" {
		t.Error(raw, err)
	}
}

func TestAStreamTakesMoreThanAThousandConsumers(t *testing.T) {
	s := start(t, nil)
	s.ensureStorage(t)
	commands := stream(t, s.connect(t, "alice", subjects.Admin), subjects.Commands)
	for i := range 1001 {
		_, err := commands.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
			Name: fmt.Sprintf("c%d", i), MemoryStorage: true, AckPolicy: jetstream.AckNonePolicy,
		})
		if err != nil {
			t.Fatalf("consumer %d: %v", i+1, errors.Unwrap(err))
		}
	}
}
