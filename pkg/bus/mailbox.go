package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Mailbox reads a node's stored commands through a short-lived consumer in
// memory that bears the node's name, for when no station answers Sync. It
// returns at most max messages with a sequence above after, and the broker's
// time.
func (c *Conn) Mailbox(ctx context.Context, node, filter string, after uint64, max int) ([]message.Stored, time.Time, error) {
	cfg := jetstream.ConsumerConfig{
		Name: node, FilterSubject: filter, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Second, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if after > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	}
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, subjects.Commands, cfg)
	if err != nil {
		return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
	}
	defer func() { _ = c.js.DeleteConsumer(context.WithoutCancel(ctx), subjects.Commands, node) }()
	info := consumer.CachedInfo()
	if info.NumPending == 0 {
		return nil, info.TimeStamp, nil
	}
	batch, err := consumer.FetchNoWait(max)
	if err != nil {
		return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
	}
	var all []message.Stored
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
		}
		all = append(all, message.Stored{Subject: msg.Subject(), Sequence: meta.Sequence.Stream, At: meta.Timestamp,
			Headers: msg.Headers(), Body: msg.Data()})
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
	}
	return all, info.TimeStamp, nil
}

// Clear removes commands that have their final answer: every message below
// sequence before in one call, and the given ones singly.
func (c *Conn) Clear(ctx context.Context, before uint64, singly []uint64) error {
	stream, err := c.js.Stream(ctx, subjects.Commands)
	if err != nil {
		return kinded(err, "clear the mailbox")
	}
	if before > 1 {
		if err := stream.Purge(ctx, jetstream.WithPurgeSequence(before)); err != nil {
			return kinded(err, "clear the mailbox")
		}
	}
	for _, sequence := range singly {
		err := stream.DeleteMsg(ctx, sequence)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return kinded(err, "clear the mailbox")
		}
	}
	return nil
}
