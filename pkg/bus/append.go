package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// A chain is a stream of one subject in which each message expects the one
// before it. What stands at its end is asked of the stream's leader: a replica
// that lags would show an end that somebody has gone past already.

// Append stores a document at the end of a chain, where the message at sequence
// behind is the last one, 0 where there is none, and returns its sequence. The
// error is Conflict where somebody was faster.
func (c *Conn) Append(ctx context.Context, subject string, m message.Message, behind uint64) (uint64, error) {
	msg := &nats.Msg{Subject: subject, Header: m.Headers(), Data: m.Wire()}
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = sequenceHeader(behind)
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, kinded(err, "append to "+subject)
	}
	return ack.Sequence, nil
}

// End is the last message of a chain, nil where there is none.
func (c *Conn) End(ctx context.Context, stream, subject string) (*message.Stored, error) {
	return c.leaders(ctx, stream, map[string]any{"last_by_subj": subject})
}

// At is the message at a sequence of a stream, nil where there is none.
func (c *Conn) At(ctx context.Context, stream string, sequence uint64) (*message.Stored, error) {
	if sequence == 0 {
		return nil, nil
	}
	return c.leaders(ctx, stream, map[string]any{"seq": sequence})
}

// notFound is JetStream's error code where nothing is stored.
const notFound = 10037

// leaders is what a stream's leader answers to a question for one message.
func (c *Conn) leaders(ctx context.Context, stream string, question map[string]any) (*message.Stored, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pullAnswer) // a cluster that loses a member loses questions
	defer cancel()
	reply, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, kinded(err, "read stream "+stream)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Headers  []byte    `json:"hdrs"`
			Body     []byte    `json:"data"`
			At       time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, "read stream %s: the broker's answer: %w", stream, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == notFound:
		return nil, nil
	case answer.Error != nil:
		return nil, kinded(answer.Error, "read stream "+stream)
	case answer.Message == nil:
		return nil, fleet.Errorf(fleet.Unavailable, "read stream %s: the broker's answer holds no message", stream)
	}
	m := answer.Message
	stored := &message.Stored{Subject: m.Subject, Sequence: m.Sequence, At: m.At, Body: m.Body}
	if len(m.Headers) > 0 {
		h, err := nats.DecodeHeadersMsg(m.Headers)
		if err != nil {
			return nil, fmt.Errorf("read stream %s: headers at %d: %w", stream, m.Sequence, err)
		}
		stored.Headers = h
	}
	return stored, nil
}
