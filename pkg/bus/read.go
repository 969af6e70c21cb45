package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/message"
)

// ReadOptions say which part of a stream to read. The zero value reads all of
// it and returns.
type ReadOptions struct {
	Filter   string    // subject filter, "" for all
	Filters  []string  // several of them, instead of one
	After    uint64    // begin behind this sequence
	Since    time.Time // begin at this moment of the broker's clock
	Latest   bool      // only the last message of each subject
	Bare     bool      // headers without bodies
	Follow   bool      // go on with what comes, until ctx ends
	CaughtUp func()    // called once, when everything stored at the start was seen
}

// Item is a message of a stream.
type Item struct {
	message.Stored
	Origin uint64 // sequence in the stream that it was copied from, 0 if none
}

// Read hands over a stream's messages in order, exactly once each, across
// reconnects, in the goroutine of the caller. It returns nil at the end, ctx's
// error, or handle's.
func (c *Conn) Read(ctx context.Context, stream string, o ReadOptions, handle func(Item) error) error {
	r := &reading{conn: c, stream: stream, options: o, handle: handle}
	for {
		err := r.run(ctx)
		switch {
		case ctx.Err() != nil && !r.ended:
			return ctx.Err()
		case !r.broken(err):
			return c.closed(err)
		}
		c.log.Debug("reading is interrupted", "stream", stream, "error", err)
		select {
		case <-time.After(readAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readAgain is the pause before a broken read goes on.
const readAgain = 200 * time.Millisecond

// reading is one Read on its way.
type reading struct {
	conn    *Conn
	stream  string
	options ReadOptions
	handle  func(Item) error
	begun   bool   // a consumer was made once
	caught  bool   // everything stored at the start was seen
	seen    uint64 // sequence of the last message
	ended   bool   // err is handle's, or the end
}

// broken reports whether the read can go on after an error: the first attempt
// tells its errors, later ones wait for the broker to come back.
func (r *reading) broken(err error) bool {
	if r.ended || !r.begun || errors.Is(err, nats.ErrConnectionClosed) {
		return false
	}
	return err != nil
}

// start is where the next consumer begins: what is latest of each subject is
// asked for again until all of it was seen, anything else from where it stopped.
func (r *reading) start() ReadOptions {
	o := r.options
	if r.caught {
		o.Latest = false
	}
	if r.seen > 0 && !o.Latest {
		o.After = r.seen
	}
	return o
}

// run reads through one consumer.
func (r *reading) run(ctx context.Context) error {
	ctx, done := r.conn.untilReconnect(ctx)
	defer done()
	cctx, cancel := context.WithTimeout(ctx, pullAnswer)
	consumer, err := r.conn.consumer(cctx, r.stream, r.start())
	cancel()
	if err != nil {
		return kinded(err, "read stream "+r.stream)
	}
	r.begun = true
	name := consumer.CachedInfo().Name
	defer r.conn.forget(r.stream, name)
	p, err := r.conn.puller(r.stream, name)
	if err != nil {
		return kinded(err, "read stream "+r.stream)
	}
	defer p.close()
	for {
		item, pending, err := p.next(ctx, pullBatch, r.caught)
		switch {
		case errors.Is(err, errNone):
			pending = 0
		case err != nil:
			return kinded(err, "read stream "+r.stream)
		case item.Sequence <= r.seen: // by the consumer before this one
		default:
			r.seen = item.Sequence
			if err := r.handle(item); err != nil {
				r.ended = true
				return err
			}
		}
		if pending > 0 || r.caught {
			continue
		}
		r.caught = true
		if r.options.CaughtUp != nil {
			r.options.CaughtUp()
		}
		if !r.options.Follow {
			r.ended = true
			return nil
		}
	}
}

// forget removes a consumer, which the broker would do by itself a little later.
func (c *Conn) forget(stream, name string) {
	if c.nc.IsConnected() {
		_ = c.nc.Publish("$JS.API.CONSUMER.DELETE."+stream+"."+name, nil)
	}
}

// headerSource is how a stream marks what it copied: "<stream> <sequence> …".
const headerSource = "Nats-Stream-Source"

// Origin is the sequence in the stream that a message was copied from, 0 for none.
func Origin(s message.Stored) uint64 { return origin(s.Headers) }

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
	reply, err := c.directOne(ctx, stream, question)
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
	reply, err := c.directOne(ctx, stream, question)
	if err != nil {
		return 0, kinded(err, "read stream "+stream)
	}
	last, err := direct(reply, filter)
	if err != nil || last == nil {
		return 0, err
	}
	return origin(last.Headers), nil
}
