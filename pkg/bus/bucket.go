package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Entry is one revision of a key in a bucket. Documents are signed like
// messages; their headers and body are as the writer made them, so the body may be
// packed: what it says is read from Message, or by Plain.
type Entry struct {
	Key      string
	Sequence uint64    // the bucket's; expect it to change the key safely
	At       time.Time // the broker's clock
	Deleted  bool
	Headers  map[string][]string
	Body     []byte
}

// Message decodes the entry as the document that it is.
func (e Entry) Message(as subjects.Subject) (message.Message, error) {
	m, faults := message.DecodeAs(as, e.Headers, e.Body)
	return m, faults.Err()
}

// Plain is what the entry says, whoever wrote it, as a document of a kind. The error
// is Invalid.
func (e Entry) Plain(as subjects.Subject) ([]byte, error) {
	m, err := e.Message(as)
	if err == nil {
		err = m.Unpack()
	}
	return m.Body, err
}

// After is the sequence of the key's entry before this one, by what its writer
// expected: 0 for a new key. ok is false where the writer expected nothing.
func (e Entry) After() (sequence uint64, ok bool) {
	sequence, err := strconv.ParseUint(first(e.Headers, jetstream.ExpectedLastSubjSeqHeader), 10, 64)
	return sequence, err == nil
}

// Halfway reports whether an entry was written in one step with others, PutAll's,
// that are stored behind it.
func (e Entry) Halfway() bool {
	return len(e.Headers[headerBatch]) > 0 && len(e.Headers[headerCommit]) == 0
}

const (
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
)

// Get reads a key's newest entry; the error is Unknown where there is none.
// It needs no permission but the direct read of that very key.
func (c *Conn) Get(ctx context.Context, bucket, key string) (Entry, error) {
	return c.getWithin(ctx, bucket, key, directAnswer)
}

// GetSlowly is Get for what may be long, over a link that may be slow: it waits for
// the answer as long as ctx does. The error is Unavailable once the link broke,
// since nobody answers then.
func (c *Conn) GetSlowly(ctx context.Context, bucket, key string) (Entry, error) {
	rctx, done := c.untilReconnect(ctx)
	defer done()
	e, err := c.getWithin(rctx, bucket, key, slowAnswer)
	if err != nil && rctx.Err() != nil && ctx.Err() == nil {
		return e, fleet.Errorf(fleet.Unavailable, "the link broke while %s of bucket %s was read", key, bucket)
	}
	return e, err
}

func (c *Conn) getWithin(ctx context.Context, bucket, key string, limit time.Duration) (Entry, error) {
	reply, err := c.directWithin(ctx, subjects.BucketStream(bucket)+"."+subjects.KeySubject(bucket, key), nil, limit)
	if err != nil {
		return Entry{}, kinded(err, "read "+subjects.KeySubject(bucket, key))
	}
	stored, err := direct(reply, subjects.KeySubject(bucket, key))
	if err != nil {
		return Entry{}, err
	}
	if stored == nil {
		return Entry{}, fleet.Errorf(fleet.Unknown, "no key %s in bucket %s", key, bucket)
	}
	e := entry(bucket, *stored)
	if e.Deleted {
		return e, fleet.Errorf(fleet.Unknown, "key %s in bucket %s is deleted", key, bucket)
	}
	return e, nil
}

// EntryOf is a message of the stream behind a bucket as the entry that it is.
func EntryOf(bucket string, s message.Stored) Entry { return entry(bucket, s) }

func entry(bucket string, s message.Stored) Entry {
	operation := first(s.Headers, headerOperation)
	return Entry{
		Key: subjects.KeyOfSubject(bucket, s.Subject), Sequence: s.Sequence, At: s.At,
		Deleted: operation != "" && operation != "PUT", Headers: s.Headers, Body: s.Body,
	}
}

// Last is the newest message that a stream stores under a subject, nil where
// there is none.
func (c *Conn) Last(ctx context.Context, stream, subject string) (*message.Stored, error) {
	return c.lastOn(ctx, stream, subject)
}

// First is the oldest message that a stream stores under a subject, nil where
// there is none.
func (c *Conn) First(ctx context.Context, stream, subject string) (*message.Stored, error) {
	return c.one(ctx, stream, subject, map[string]any{"seq": 1, "next_by_subj": subject})
}

// LastBefore is the newest message that a stream stores under a subject before a
// sequence, nil where there is none.
func (c *Conn) LastBefore(ctx context.Context, stream, subject string, sequence uint64) (*message.Stored, error) {
	if sequence <= 1 {
		return nil, nil
	}
	return c.one(ctx, stream, subject, map[string]any{"multi_last": []string{subject}, "up_to_seq": sequence - 1})
}

func (c *Conn) one(ctx context.Context, stream, subject string, read map[string]any) (*message.Stored, error) {
	question, err := json.Marshal(read)
	if err != nil {
		return nil, err
	}
	reply, err := c.directOne(ctx, stream, question)
	if err != nil {
		return nil, kinded(err, "read "+subject)
	}
	return direct(reply, subject)
}

// lastOn is the last message of a stream on a subject, nil where there is none.
func (c *Conn) lastOn(ctx context.Context, stream, subject string) (*message.Stored, error) {
	reply, err := c.directOne(ctx, stream+"."+subject, nil)
	if err != nil {
		return nil, kinded(err, "read "+subject)
	}
	return direct(reply, subject)
}

// LastOf hands over the newest message of each subject under which a stream
// stores one, many subjects with one question. handle runs in the goroutine of
// the caller.
func (c *Conn) LastOf(ctx context.Context, stream string, from []string, handle func(message.Stored)) error {
	return c.lastOf(ctx, stream, from, Moment{}, handle)
}

// Moment is a point in a stream's past: behind a sequence that it has, or before a time of the
// broker's clock. The zero value is now.
type Moment struct {
	Sequence uint64
	Time     time.Time
}

// LastAt is LastOf as it was at a moment, as far as the stream still holds it: what
// was written over since too often is not there.
func (c *Conn) LastAt(ctx context.Context, stream string, from []string, at Moment, handle func(message.Stored)) error {
	return c.lastOf(ctx, stream, from, at, handle)
}

func (c *Conn) lastOf(ctx context.Context, stream string, from []string, at Moment, handle func(message.Stored)) error {
	for page := range slices.Chunk(from, lastOfMost) {
		question := map[string]any{"multi_last": page, "max_bytes": lastOfBytes}
		if at.Sequence > 0 {
			question["up_to_seq"] = at.Sequence
		}
		if !at.Time.IsZero() {
			question["up_to_time"] = at.Time.UTC()
		}
		if err := c.directAll(ctx, stream, question, handle); err != nil {
			return kinded(err, fmt.Sprintf("read %d subjects of stream %s", len(page), stream))
		}
	}
	return nil
}

// EntryAt is what was written to a bucket with a sequence. The error is Unknown
// where it is not kept.
func (c *Conn) EntryAt(ctx context.Context, bucket string, sequence uint64) (Entry, error) {
	question, err := json.Marshal(map[string]uint64{"seq": sequence})
	if err != nil {
		return Entry{}, err
	}
	what := fmt.Sprintf("revision %d of bucket %s", sequence, bucket)
	reply, err := c.directOne(ctx, subjects.BucketStream(bucket), question)
	if err != nil {
		return Entry{}, kinded(err, "read "+what)
	}
	stored, err := direct(reply, what)
	if err != nil {
		return Entry{}, err
	}
	if stored == nil {
		return Entry{}, fleet.Errorf(fleet.Unknown, "%s is not kept", what)
	}
	return entry(bucket, *stored), nil
}

// KeysAt hands over what some keys of a bucket held at a moment, deleted ones too,
// as far as the bucket's history goes back. handle runs in the goroutine of the caller.
func (c *Conn) KeysAt(ctx context.Context, bucket string, keys []string, at Moment, handle func(Entry)) error {
	from := make([]string, len(keys))
	for i, key := range keys {
		from[i] = subjects.KeySubject(bucket, key)
	}
	return c.lastOf(ctx, subjects.BucketStream(bucket), from, at, func(s message.Stored) { handle(entry(bucket, s)) })
}

// lastOfMost is how many subjects one question names; the broker takes 1,024.
// lastOfBytes is about how much it answers at once: what a client does not read in time
// ends its connection.
const (
	lastOfMost  = 256
	lastOfBytes = 8 << 20
)

// Headers of the end of many answers: how many did not fit, and where it was.
const (
	headerPending = "Nats-Num-Pending"
	headerLast    = "Nats-Last-Sequence"
	headerUpTo    = "Nats-UpTo-Sequence"
)

// directAll hands over all answers to a direct read that has several, in as many
// questions as the broker wants.
func (c *Conn) directAll(ctx context.Context, stream string, read map[string]any, handle func(message.Stored)) error {
	var end nats.Header
	for more := true; more; {
		question, err := json.Marshal(read)
		if err != nil {
			return err
		}
		end = nil
		err = c.directly(ctx, stream, question, func(reply *nats.Msg) (over bool, err error) {
			if stored, ok := fromShown(reply); ok {
				handle(stored)
				return false, nil
			}
			switch status, why := first(reply.Header, "Status"), first(reply.Header, "Description"); {
			case status == "204":
				end = reply.Header
				return true, nil
			case status == "404" && (read["multi_last"] == nil || why == "No Results"): // else it lost one that it had found
				return true, nil
			default:
				return true, fmt.Errorf("the broker answers %s %s", status, why)
			}
		})
		if err != nil {
			return err
		}
		pending, _ := strconv.ParseUint(first(end, headerPending), 10, 64)
		last, _ := strconv.ParseUint(first(end, headerLast), 10, 64)
		upto, err := strconv.ParseUint(first(end, headerUpTo), 10, 64)
		if more = pending > 0 && err == nil; more {
			delete(read, "up_to_time")
			read["seq"], read["up_to_seq"] = last+1, upto
		}
	}
	return nil
}

// directAnswer is how long the broker may say nothing to a direct read. A question or
// an answer may be lost, as while an account is given other bounds.
const directAnswer = 10 * time.Second

// slowAnswer is the same for what takes long itself.
const slowAnswer = 10 * time.Minute

// directly asks for stored messages and hands over the answers until they are
// over. The client library does it too, but takes a stored message without a body
// that bears a header called Status for the broker's word that nobody answers.
func (c *Conn) directly(ctx context.Context, what string, question []byte, each func(*nats.Msg) (over bool, err error)) error {
	ctx, done := c.untilReconnect(ctx)
	defer done()
	inbox, heard := c.nc.NewRespInbox(), make(chan *nats.Msg, 2*lastOfMost)
	sub, err := c.nc.ChanSubscribe(inbox, heard)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest("$JS.API.DIRECT.GET."+what, inbox, question); err != nil {
		return err
	}
	for {
		timer := time.NewTimer(directAnswer)
		select {
		case reply := <-heard:
			timer.Stop()
			if over, err := each(reply); over {
				return err
			}
		case <-timer.C:
			return context.DeadlineExceeded
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// directOne asks for one stored message. Many questions share a subscription, but
// where the client library says that nobody answers it is asked again.
func (c *Conn) directOne(ctx context.Context, what string, question []byte) (*nats.Msg, error) {
	return c.directWithin(ctx, what, question, directAnswer)
}

func (c *Conn) directWithin(ctx context.Context, what string, question []byte, limit time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	reply, err := c.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+what, question)
	if !errors.Is(err, nats.ErrNoResponders) {
		return reply, err
	}
	err = c.directly(ctx, what, question, func(m *nats.Msg) (bool, error) {
		reply = m
		if _, ok := fromShown(m); !ok {
			return true, nats.ErrNoResponders
		}
		return true, nil
	})
	return reply, err
}

// direct decodes the answer to a direct read, nil where nothing is stored.
func direct(reply *nats.Msg, subject string) (*message.Stored, error) {
	// The marks first: what is stored may bear a header called Status itself.
	if stored, ok := fromShown(reply); ok {
		return &stored, nil
	}
	switch status := first(reply.Header, "Status"); status {
	case "":
		return nil, fleet.Errorf(fleet.Unavailable, "read %s: the broker's answer has no sequence", subject)
	case "404":
		return nil, nil
	default:
		return nil, fleet.Errorf(fleet.Unavailable, "read %s: the broker answers %s %s", subject, status, first(reply.Header, "Description"))
	}
}

// Any expects nothing of a key.
const Any = ^uint64(0)

// Change is one write to a bucket. Document is signed; an Operation of
// "delete" removes the key and keeps its history. Expect is the sequence that
// the key must be at, 0 for a new one, or Any.
type Change struct {
	Key      string
	Document message.Message
	Expect   uint64
}

// Delete is the Operation of a document that removes its key.
const Delete = "delete"

func (c Change) encode(bucket string) *nats.Msg {
	msg := &nats.Msg{Subject: subjects.KeySubject(bucket, c.Key), Header: c.Document.Headers(), Data: c.Document.Wire()}
	if c.Document.Operation == Delete {
		msg.Header[headerOperation] = []string{operationDelete}
	}
	if c.Expect != Any {
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = sequenceHeader(c.Expect)
	}
	return msg
}

// Put writes one key and returns the bucket's new sequence; the error is
// Conflict where the key is not at the expected sequence.
func (c *Conn) Put(ctx context.Context, bucket string, change Change) (uint64, error) {
	msg := change.encode(bucket)
	ctx, settle := c.unlessRefused(ctx, msg.Subject)
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err = settle(err); err != nil {
		return 0, kinded(err, "write "+change.Key)
	}
	return ack.Sequence, nil
}

// putsUnderWay and putBytes bound what PutEach has sent and not heard of: the broker
// queues 10,000 messages and 128 MB of them for a stream, and refuses what is more.
const (
	putsUnderWay = 256
	putBytes     = 16 << 20
	putAnswer    = 5 * time.Second // what an answer may take, as for Put
)

// PutEach writes keys, each for itself and many under way at once, in the order in
// which they are made. done is told of each, in that order, what Put would return.
// All runs in the goroutine of the caller.
func (c *Conn) PutEach(ctx context.Context, bucket string, changes iter.Seq[Change], done func(Change, uint64, error)) {
	type put struct {
		change Change
		sent   sent
		until  time.Time
		size   int
		err    error
	}
	var puts []put
	bytes := 0
	settle := func() {
		p := puts[0]
		puts, bytes = puts[1:], bytes-p.size
		ack, err := &jetstream.PubAck{}, p.err
		if err == nil {
			within, cancel := context.WithDeadline(ctx, p.until)
			ack, err = p.sent.wait(within)
			cancel()
		}
		if err != nil {
			done(p.change, 0, kinded(err, "write "+p.change.Key))
			return
		}
		done(p.change, ack.Sequence, nil)
	}
	for change := range changes {
		for len(puts) > 0 && (len(puts) >= putsUnderWay || bytes >= putBytes) {
			settle()
		}
		msg := change.encode(bucket)
		sent, err := c.send(msg)
		puts, bytes = append(puts, put{change, sent, time.Now().Add(putAnswer), len(msg.Data), err}), bytes+len(msg.Data)
	}
	for len(puts) > 0 {
		settle()
	}
}

// Headers of an atomic batch, by which JetStream stores all messages or none.
const (
	headerBatch    = "Nats-Batch-Id"
	headerBatchSeq = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
)

// MaxChanges is the most that one atomic step may hold: the server's limit.
const MaxChanges = 1000

// PutAll writes several keys in one step, all or none, and returns the
// bucket's sequence after it. The error is as Put's.
func (c *Conn) PutAll(ctx context.Context, bucket string, changes []Change) (_ uint64, err error) {
	switch {
	case len(changes) == 0:
		return 0, nil
	case len(changes) == 1:
		return c.Put(ctx, bucket, changes[0])
	case len(changes) > MaxChanges:
		return 0, fleet.Errorf(fleet.Invalid, "%d changes at once: at most %d", len(changes), MaxChanges)
	}
	batch := message.NewID()
	var all []string
	for _, change := range changes {
		all = append(all, subjects.KeySubject(bucket, change.Key))
	}
	ctx, settle := c.unlessRefused(ctx, all...)
	defer func() {
		if cause := settle(err); cause != err {
			err = kinded(cause, "write to "+bucket)
		}
	}()
	for i, change := range changes[:len(changes)-1] {
		msg := change.encode(bucket)
		mark(msg, batch, i+1)
		if i > 0 { // the first is answered, so that a refusal of the whole is seen at once
			if err := c.nc.PublishMsg(msg); err != nil {
				return 0, kinded(err, "write "+change.Key)
			}
			continue
		}
		reply, err := c.nc.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return 0, kinded(err, "write "+change.Key)
		}
		if err := batchRefusal(reply.Data); err != nil {
			return 0, kinded(err, "write "+change.Key)
		}
	}
	last := changes[len(changes)-1]
	msg := last.encode(bucket)
	mark(msg, batch, len(changes))
	msg.Header[headerCommit] = []string{"1"}
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	var api *jetstream.APIError
	if errors.As(err, &api) && wrongSequence(api) {
		return 0, fleet.Errorf(fleet.Conflict, "write %d keys: somebody changed one of them first: %w", len(changes), err)
	}
	if errors.As(err, &api) && api.ErrorCode == codeBatchWritten {
		return 0, fleet.Errorf(fleet.Conflict, "write %d keys: one of these documents was written a moment ago: %w", len(changes), err)
	}
	if err != nil {
		return 0, kinded(err, "write "+strconv.Itoa(len(changes))+" keys")
	}
	return ack.Sequence, nil
}

func mark(msg *nats.Msg, batch string, n int) {
	msg.Header[headerBatch] = []string{batch}
	msg.Header[headerBatchSeq] = []string{strconv.Itoa(n)}
}

// Keys hands over the newest entry of every key, deleted ones too: their
// sequence is what a change of the key must expect.
func (c *Conn) Keys(ctx context.Context, bucket string, handle func(Entry) error) error {
	return c.Read(ctx, subjects.BucketStream(bucket), ReadOptions{Latest: true},
		func(i Item) error { return handle(entry(bucket, i.Stored)) })
}

// Entries hands over the newest entry of every key that matches, deleted ones
// left out.
func (c *Conn) Entries(ctx context.Context, bucket, keys string, handle func(Entry) error) error {
	return c.Read(ctx, subjects.BucketStream(bucket), ReadOptions{Filter: subjects.KeySubject(bucket, keys), Latest: true},
		func(i Item) error {
			if e := entry(bucket, i.Stored); !e.Deleted {
				return handle(e)
			}
			return nil
		})
}

// History hands over all kept entries of a key, the oldest first.
func (c *Conn) History(ctx context.Context, bucket, key string, handle func(Entry) error) error {
	return c.Read(ctx, subjects.BucketStream(bucket), ReadOptions{Filter: subjects.KeySubject(bucket, key)},
		func(i Item) error { return handle(entry(bucket, i.Stored)) })
}

// Watch hands over the newest entry of every key, then every change, until
// ctx ends; caughtUp is called once between the two.
func (c *Conn) Watch(ctx context.Context, bucket string, caughtUp func(), handle func(Entry) error) error {
	return c.Read(ctx, subjects.BucketStream(bucket), ReadOptions{Latest: true, Follow: true, CaughtUp: caughtUp},
		func(i Item) error { return handle(entry(bucket, i.Stored)) })
}

// WatchAll hands over all kept entries of every key in the order in which they
// were written, then every change, until ctx ends; caughtUp is called once between
// the two.
func (c *Conn) WatchAll(ctx context.Context, bucket string, caughtUp func(), handle func(Entry) error) error {
	return c.Read(ctx, subjects.BucketStream(bucket), ReadOptions{Follow: true, CaughtUp: caughtUp},
		func(i Item) error { return handle(entry(bucket, i.Stored)) })
}
