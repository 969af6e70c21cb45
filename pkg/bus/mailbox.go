package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Mailbox reads a node's stored commands through a short-lived consumer in
// memory that bears the node's name, for when no station answers Sync. It
// returns at most max messages with a sequence above after, and the broker's
// time; no message means that there are no more.
func (c *Conn) Mailbox(ctx context.Context, node, filter string, after uint64, max int) ([]message.Stored, time.Time, error) {
	cfg := jetstream.ConsumerConfig{
		Name: node, FilterSubject: filter, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Second, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if after > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	}
	cctx, cancel := context.WithTimeout(ctx, createTime)
	consumer, err := c.fresh(cctx, cfg)
	cancel()
	if err != nil {
		return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
	}
	// With its answer: the next page's consumer has the same name.
	defer func() { _ = c.js.DeleteConsumer(context.WithoutCancel(ctx), subjects.Commands, node) }()
	info := consumer.CachedInfo()
	if info.NumPending == 0 {
		return nil, info.TimeStamp, nil
	}
	p, err := c.puller(subjects.Commands, node)
	if err != nil {
		return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
	}
	defer p.close()
	var all []message.Stored
	for len(all) < max {
		item, pending, err := p.next(ctx, max, false)
		if errors.Is(err, errNone) {
			break
		}
		if err != nil {
			return nil, time.Time{}, kinded(err, "read the mailbox of "+node)
		}
		if all = append(all, item.Stored); pending == 0 {
			break
		}
	}
	return all, info.TimeStamp, nil
}

// fresh makes the node's consumer. One that an agent left behind which was
// killed stands somewhere in the mailbox, and what is before it would be
// missed: it is made anew.
func (c *Conn) fresh(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, subjects.Commands, cfg)
	var api *jetstream.APIError
	if err != nil && !errors.As(err, &api) {
		return nil, err
	}
	if err == nil && consumer.CachedInfo().Delivered.Consumer == 0 {
		return consumer, nil
	}
	if err := c.js.DeleteConsumer(ctx, subjects.Commands, cfg.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	return c.js.CreateOrUpdateConsumer(ctx, subjects.Commands, cfg)
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
		if err := remove(ctx, stream, sequence); err != nil {
			return kinded(err, "clear the mailbox")
		}
	}
	return nil
}

// Remove takes a message out of a stream, where it is there still. The error is
// Refused where this user may not.
func (c *Conn) Remove(ctx context.Context, name string, sequence uint64) error {
	rctx, unrefused := c.unlessRefused(ctx, "$JS.API.STREAM.MSG.DELETE."+name)
	stream, err := c.js.Stream(rctx, name)
	if err == nil {
		err = remove(rctx, stream, sequence)
	}
	return kinded(unrefused(err), "remove from stream "+name)
}

func remove(ctx context.Context, stream jetstream.Stream, sequence uint64) error {
	err := stream.DeleteMsg(ctx, sequence)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Another station may have been first; the error alone does not say so.
	if _, there := stream.GetMsg(ctx, sequence); errors.Is(there, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
