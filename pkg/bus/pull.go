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

// puller asks a consumer for messages, in the goroutine of whoever calls it.
//
// The client library would do it too, but takes a stored message without a
// body that bears a header called Status for a word of the broker's: anybody
// who may publish could blind every reader of the stream with one message.
// Here a message is what the broker gave a place for acknowledgement.
type puller struct {
	conn    *Conn
	request string // subject
	inbox   string // each request has a subject of its own below it
	sub     *nats.Subscription
	heard   chan *nats.Msg
	asked   int    // requests so far
	due     int    // messages that the last one may still bring
	last    uint64 // the consumer's count of what it delivered
}

// Bounds of one request. Bytes keep it under what a subscription may hold.
const (
	pullBatch     = 1000
	pullBytes     = 16 << 20
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
	pullAnswer    = 5 * time.Second
)

// What next returns instead of a message. After errGap the consumer must be
// made anew behind the last message that was seen.
var (
	errNone = errors.New("nothing is stored beyond")
	errGap  = errors.New("messages are missing")
)

func (c *Conn) puller(stream, consumer string) (*puller, error) {
	p := &puller{conn: c, request: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer,
		inbox: c.nc.NewInbox(), heard: make(chan *nats.Msg, 2*pullBatch)}
	var err error
	p.sub, err = c.nc.ChanSubscribe(p.inbox+".*", p.heard)
	return p, err
}

func (p *puller) close() { _ = p.sub.Unsubscribe() }

// next returns the next message, at most batch of them by one request. Where
// there is none it waits, or returns errNone if it may not.
func (p *puller) next(ctx context.Context, batch int, wait bool) (item Item, pending uint64, err error) {
	for {
		if p.due == 0 {
			if err := p.ask(batch, wait); err != nil {
				return item, 0, err
			}
		}
		msg, err := p.hear(ctx, wait)
		if err != nil {
			return item, 0, err
		}
		if strings.HasPrefix(msg.Reply, "$JS.ACK.") {
			p.due--
			return p.item(msg)
		}
		if msg.Subject != p.reply() { // a late word on an earlier request
			continue
		}
		switch status := first(msg.Header, "Status"); status {
		case "100": // alive; it says how much it has delivered
			if n, err := strconv.ParseUint(first(msg.Header, "Nats-Last-Consumer"), 10, 64); err == nil && n != p.last {
				return item, 0, errGap
			}
		case "404", "408":
			p.due = 0
			if !wait {
				return item, 0, errNone
			}
		case "409":
			p.due = 0
			if d := strings.ToLower(first(msg.Header, "Description")); !strings.Contains(d, "maxbytes") && !strings.Contains(d, "batch completed") {
				return item, 0, errGap // deleted, or the server goes
			}
		default:
			return item, 0, errGap
		}
	}
}

func (p *puller) ask(batch int, wait bool) error {
	request := map[string]any{"batch": batch, "max_bytes": pullBytes}
	if wait {
		request["expires"], request["idle_heartbeat"] = pullExpires, pullHeartbeat
	} else {
		request["no_wait"] = true
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	p.due = batch
	p.asked++
	return p.conn.nc.PublishRequest(p.request, p.reply(), body)
}

// reply is where the broker answers the last request.
func (p *puller) reply() string { return p.inbox + "." + strconv.Itoa(p.asked) }

// hear waits for whatever comes; two heartbeats without a sign are a gap.
func (p *puller) hear(ctx context.Context, wait bool) (*nats.Msg, error) {
	limit := pullAnswer
	if wait {
		limit = 2 * pullHeartbeat
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case msg := <-p.heard:
		return msg, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, errGap
	}
}

func (p *puller) item(msg *nats.Msg) (Item, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Item{}, 0, err
	}
	if meta.Sequence.Consumer != p.last+1 {
		return Item{}, 0, errGap
	}
	p.last = meta.Sequence.Consumer
	return Item{
		Stored: message.Stored{Subject: msg.Subject, Sequence: meta.Sequence.Stream, At: meta.Timestamp, Headers: msg.Header, Body: msg.Data},
		Origin: origin(msg.Header),
	}, meta.NumPending, nil
}

// consumer makes a short-lived consumer in memory.
func (c *Conn) consumer(ctx context.Context, stream string, o ReadOptions) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: pullExpires, FilterSubject: o.Filter, FilterSubjects: o.Filters, HeadersOnly: o.Bare, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	switch {
	case o.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		if cfg.FilterSubject == "" && len(cfg.FilterSubjects) == 0 {
			cfg.FilterSubject = ">"
		}
	case o.After > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.After+1
	case !o.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	}
	return c.js.CreateConsumer(ctx, stream, cfg)
}
