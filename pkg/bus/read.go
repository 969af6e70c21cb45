package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/message"
)

// ReadOptions say which part of a stream to read. The zero value reads all of
// it and returns.
type ReadOptions struct {
	Filter   string    // subject filter, "" for all
	After    uint64    // begin behind this sequence
	Since    time.Time // begin at this moment of the broker's clock
	Latest   bool      // only the last message of each subject
	Follow   bool      // go on with what comes, until ctx ends
	CaughtUp func()    // called once, when everything stored at the start was seen
}

// Item is a message of a stream.
type Item struct {
	message.Stored
	Origin uint64 // sequence in the stream that it was copied from, 0 if none
}

// errDone ends a read from inside.
var errDone = errors.New("done")

// Read hands over a stream's messages in order, exactly once each, across
// reconnects. It returns nil at the end, ctx's error, or handle's.
func (c *Conn) Read(ctx context.Context, stream string, o ReadOptions, handle func(Item) error) error {
	cfg := jetstream.OrderedConsumerConfig{InactiveThreshold: 30 * time.Second}
	if o.Filter != "" {
		cfg.FilterSubjects = []string{o.Filter}
	}
	switch {
	case o.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case o.After > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.After+1
	case !o.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	}
	consumer, err := c.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return kinded(err, "read stream "+stream)
	}
	caughtUp := func() error {
		if o.CaughtUp != nil {
			o.CaughtUp()
			o.CaughtUp = nil
		}
		if o.Follow {
			return nil
		}
		return errDone
	}
	if info := consumer.CachedInfo(); info != nil && info.NumPending == 0 {
		if err := caughtUp(); err != nil {
			return nil
		}
	}

	ended := make(chan error, 1)
	end := func(err error) {
		select {
		case ended <- err:
		default:
		}
	}
	over := false
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		if over {
			return
		}
		err := c.handOver(msg, handle, caughtUp)
		if err != nil {
			over = true
			end(err)
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		c.log.Debug("reading is interrupted", "stream", stream, "error", err)
	}))
	if err != nil {
		return kinded(err, "read stream "+stream)
	}
	defer consuming.Stop()
	select {
	case err := <-ended:
		if errors.Is(err, errDone) {
			return nil
		}
		return err
	case <-consuming.Closed():
		return kinded(nats.ErrConnectionClosed, "read stream "+stream)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) handOver(msg jetstream.Msg, handle func(Item) error, caughtUp func() error) error {
	meta, err := msg.Metadata()
	if err != nil {
		return kinded(err, "read "+msg.Subject())
	}
	item := Item{
		Stored: message.Stored{Subject: msg.Subject(), Sequence: meta.Sequence.Stream, At: meta.Timestamp,
			Headers: msg.Headers(), Body: msg.Data()},
		Origin: origin(msg.Headers()),
	}
	if err := handle(item); err != nil {
		return err
	}
	if meta.NumPending == 0 {
		return caughtUp()
	}
	return nil
}

// headerSource is how a stream marks what it copied: "<stream> <sequence> …".
const headerSource = "Nats-Stream-Source"

func origin(h map[string][]string) uint64 {
	parts := strings.Fields(last(h, headerSource))
	if len(parts) < 2 {
		return 0
	}
	sequence, _ := strconv.ParseUint(parts[1], 10, 64)
	return sequence
}

// HasAfter reports whether a stream still holds a message behind a sequence.
func (c *Conn) HasAfter(ctx context.Context, stream string, sequence uint64) (bool, error) {
	question, err := json.Marshal(map[string]any{"seq": sequence + 1, "next_by_subj": ">"})
	if err != nil {
		return false, err
	}
	reply, err := c.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, question)
	if err != nil {
		return false, kinded(err, "read stream "+stream)
	}
	next, err := direct(reply, ">")
	return next != nil, err
}

// CopiedUpTo is the sequence of a source up to which a stream has copied the
// messages whose subjects match filter; 0 where it has none.
func (c *Conn) CopiedUpTo(ctx context.Context, stream, filter string) (uint64, error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": filter})
	if err != nil {
		return 0, err
	}
	reply, err := c.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, question)
	if err != nil {
		return 0, kinded(err, "read stream "+stream)
	}
	last, err := direct(reply, filter)
	if err != nil || last == nil {
		return 0, err
	}
	return origin(last.Headers), nil
}
