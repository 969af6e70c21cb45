package bus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Error codes by which JetStream says that the expected last sequence is
// another: 10071 names it, 10164 does not.
const (
	codeWrongSequence         = 10071
	codeWrongSequenceConstant = 10164
	codeBatchWritten          = 10201 // a message of a batch has an id that the stream has just stored
)

func wrongSequence(e *jetstream.APIError) bool {
	return e.ErrorCode == codeWrongSequence || e.ErrorCode == codeWrongSequenceConstant
}

// ErrExists says that a message of this id is stored already: for a retry
// that is success.
var ErrExists = fleet.Errorf(fleet.Conflict, "a message of this id is stored already")

// Publish stores a signed message and returns its sequence. Publishing the
// same id again stores nothing and returns ErrExists.
func (c *Conn) Publish(ctx context.Context, m message.Message) (uint64, error) {
	for {
		msg := encode(m)
		pctx, unrefused := c.unlessRefused(ctx, msg.Subject)
		ack, err := c.js.PublishMsg(pctx, msg, jetstream.WithRetryAttempts(0))
		err = unrefused(err)
		if !mistaken(ack, m) {
			return settle(ack, err, m)
		}
		select {
		case <-time.After(dedupeWindow):
		case <-ctx.Done():
			return 0, kinded(ctx.Err(), "publish "+m.StoredSubject())
		}
	}
}

// PublishUnheard sends a message that is stored without an answer: nobody needs to
// know of a single health report, and for thousands of idle nodes the answer would
// be most of the work.
func (c *Conn) PublishUnheard(m message.Message) error {
	return kinded(c.nc.PublishMsg(encode(m)), "publish "+m.StoredSubject())
}

// mistaken reports that the broker called a message a duplicate by its id
// alone, which somebody may have used on another subject just before. Once
// the broker has forgotten the id, the subject decides.
func mistaken(ack *jetstream.PubAck, m message.Message) bool {
	return ack != nil && ack.Duplicate && !perSubject(m)
}

// Pending is a message on its way into its stream.
type Pending struct {
	conn *Conn
	m    message.Message
	sent
}

// sent is what the broker has not answered yet.
type sent struct {
	future jetstream.PubAckFuture
	after  *refusal // those that came before it was sent are not about it
}

// send publishes and returns before it is stored.
func (c *Conn) send(msg *nats.Msg) (sent, error) {
	after := c.refused.Load()
	future, err := c.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	return sent{future, after}, err
}

// wait returns the broker's answer, also one that came while nobody waited, however late
// that is.
func (s *sent) wait(ctx context.Context) (*jetstream.PubAck, error) {
	for {
		select {
		case ack := <-s.future.Ok():
			return ack, nil
		case err := <-s.future.Err():
			return nil, err
		case <-s.after.told:
			if s.after.subject == s.future.Msg().Subject {
				return nil, s.after.err
			}
			s.after = s.after.next
		case <-ctx.Done():
			select {
			case ack := <-s.future.Ok():
				return ack, nil
			case err := <-s.future.Err():
				return nil, err
			default:
				return nil, ctx.Err()
			}
		}
	}
}

// PublishAsync sends a message and returns before it is stored.
func (c *Conn) PublishAsync(m message.Message) (*Pending, error) {
	sent, err := c.send(encode(m))
	if err != nil {
		return nil, kinded(err, "publish "+m.ID)
	}
	return &Pending{c, m, sent}, nil
}

// Wait returns as Publish does.
func (p *Pending) Wait(ctx context.Context) (uint64, error) {
	ack, err := p.wait(ctx)
	if mistaken(ack, p.m) {
		return p.conn.Publish(ctx, p.m)
	}
	return settle(ack, err, p.m)
}

// underWay is how many messages PublishAll sends before it waits for the
// first: past a bound of its own the client gives up after 200 ms.
const underWay = 1024

// PublishAll stores messages in order, many under way at once. The result
// holds one error for each message, nil where it is stored now or was before.
func (c *Conn) PublishAll(ctx context.Context, ms []message.Message) []error {
	return c.PublishEach(ctx, len(ms), func(i int) (message.Message, error) { return ms[i], nil })
}

// PublishEach is PublishAll for messages that are made as they leave.
func (c *Conn) PublishEach(ctx context.Context, count int, next func(i int) (message.Message, error)) []error {
	errs := make([]error, count)
	pending := make([]*Pending, count)
	settle := func(i int) {
		if pending[i] == nil {
			return
		}
		if _, err := pending[i].Wait(ctx); !errors.Is(err, ErrExists) {
			errs[i] = err
		}
		pending[i] = nil
	}
	for i := range count {
		if i >= underWay {
			settle(i - underWay)
		}
		m, err := next(i)
		if err == nil {
			pending[i], err = c.PublishAsync(m)
		}
		errs[i] = err
	}
	for i := max(0, count-underWay); i < count; i++ {
		settle(i)
	}
	return errs
}

// encode makes the NATS message. A message with an id is created once: its
// stored subject may not have been used before.
func encode(m message.Message) *nats.Msg {
	msg := &nats.Msg{Subject: m.StoredSubject(), Header: m.Headers(), Data: m.Wire()}
	if perSubject(m) {
		msg.Subject = subjects.Stored(m.Subject, subjects.NoID)
	} else {
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{"0"}
	}
	return msg
}

// perSubject tells the messages that a stream counts per subject, which have
// no id of their own there.
func perSubject(m message.Message) bool {
	return m.Subject.Direction == subjects.Event && m.Subject.Method == subjects.MethodHealth
}

func settle(ack *jetstream.PubAck, err error, m message.Message) (uint64, error) {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == codeWrongSequence:
		return 0, ErrExists
	case errors.As(err, &api) && api.ErrorCode == codeWrongSequenceConstant:
		// A cluster says so of a subject that is only under way, and may be lost.
		return 0, fleet.Errorf(fleet.Unavailable, "publish %s: the same message is under way: %w", m.StoredSubject(), err)
	case err != nil:
		return 0, kinded(err, "publish "+m.StoredSubject())
	case ack.Duplicate:
		return ack.Sequence, ErrExists
	}
	return ack.Sequence, nil
}

// sequenceHeader is the header by which a write expects a key's last sequence.
func sequenceHeader(sequence uint64) []string {
	return []string{strconv.FormatUint(sequence, 10)}
}
