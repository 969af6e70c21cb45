package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Endpoint is one question that a service answers. Requests are spread over
// all instances of the service.
type Endpoint struct {
	Name    string
	Subject string
	Handle  func(ctx context.Context, subject string, body []byte) (any, error)
}

// Service announces a NATS micro service (seen by `nats micro ls`) and serves
// it until the returned stop is called. Each request runs in a goroutine of
// its own, since an answer may wait for something.
func (c *Conn) Service(ctx context.Context, name, version, description string, endpoints ...Endpoint) (stop func(), err error) {
	service, err := micro.AddService(c.nc, micro.Config{Name: name, Version: version, Description: description})
	if err != nil {
		return nil, kinded(err, "announce service "+name)
	}
	for _, e := range endpoints {
		handler := micro.HandlerFunc(func(r micro.Request) {
			// Else who asks could have this user say something where they may not.
			if !subjects.IsInbox(r.Reply()) {
				c.log.Warn("ignored a question: where its answer is to go is no inbox", "subject", r.Subject(), "reply", r.Reply())
				return
			}
			go c.serve(ctx, e, r.Subject(), r.Reply(), r.Data())
		})
		if err := service.AddEndpoint(e.Name, handler, micro.WithEndpointSubject(e.Subject)); err != nil {
			_ = service.Stop()
			return nil, kinded(err, "announce "+name+"/"+e.Name)
		}
	}
	return func() { _ = service.Stop() }, nil
}

// Later is an answer of a service that has too much to do: who asks is to ask again
// after about that time.
type Later struct {
	After time.Duration
	Err   error
}

// Error is the cause's.
func (l *Later) Error() string { return l.Err.Error() }

// Unwrap gives the cause.
func (l *Later) Unwrap() error { return l.Err }

// headerRetryAfter is Later's time, in milliseconds.
const headerRetryAfter = "Fairlead-Retry-After"

// answerTime bounds one answer; clients wait no longer.
const answerTime = 10 * time.Second

// serve answers one request. It publishes by itself: micro looks at its request once
// the handler has returned, while this still runs.
func (c *Conn) serve(ctx context.Context, e Endpoint, subject, reply string, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := e.Handle(ctx, subject, body)
	if err == nil {
		var text []byte
		if text, err = json.Marshal(answer); err == nil {
			err = c.nc.Publish(reply, text)
		}
		if err != nil { // too large, or not JSON
			err = fleet.Errorf(fleet.Internal, "the answer cannot be sent: %w", err)
		}
	}
	if err != nil {
		// The header holds one line and may not be empty; the body has the text.
		kind := string(fleet.KindOf(err))
		m := &nats.Msg{Subject: reply, Data: []byte(err.Error()), Header: nats.Header{
			micro.ErrorCodeHeader: {kind}, micro.ErrorHeader: {cmp.Or(strings.Join(strings.Fields(err.Error()), " "), kind)}}}
		if later := (*Later)(nil); errors.As(err, &later) {
			m.Header[headerRetryAfter] = []string{strconv.FormatInt(later.After.Milliseconds(), 10)}
		}
		if err := c.nc.PublishMsg(m); err != nil {
			c.log.Debug("an answer was not sent", "subject", subject, "error", err)
		}
	}
}

// ErrNobody says that nobody serves what was asked.
var ErrNobody = fleet.Errorf(fleet.Unavailable, "no station answers: start one with `fairlead station`")

// Ask sends a question to a service and decodes its answer into out. The error
// is ErrNobody where nobody serves the subject, else of the kind that the
// service chose.
func (c *Conn) Ask(ctx context.Context, subject string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "ask %s: %w", subject, err)
	}
	reply, err := c.nc.RequestWithContext(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return ErrNobody
	}
	if err != nil {
		return kinded(err, "ask "+subject)
	}
	if kind := reply.Header.Get(micro.ErrorCodeHeader); kind != "" {
		err := fleet.Errorf(fleet.Kind(kind), "%s", reply.Data)
		if after, aerr := strconv.ParseUint(reply.Header.Get(headerRetryAfter), 10, 31); aerr == nil {
			err = &Later{After: time.Duration(after) * time.Millisecond, Err: err}
		}
		return err
	}
	if err := json.Unmarshal(reply.Data, out); err != nil {
		return fleet.Errorf(fleet.Internal, "answer on %s: %w", subject, err)
	}
	return nil
}

// Tell publishes on a live subject; nobody may be listening.
func (c *Conn) Tell(subject string, body []byte) error {
	return kinded(c.nc.Publish(subject, body), "tell "+subject)
}

// Request is a plain request and reply, for measurements.
func (c *Conn) Request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	reply, err := c.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, kinded(err, "request "+subject)
	}
	return reply.Data, nil
}

// Echo answers plain requests on a subject with their own body, for measurements.
func (c *Conn) Echo(subject string) (*Subscription, error) {
	return c.listen(subject, func(msg *nats.Msg) { _ = msg.Respond(msg.Data) })
}

// Gather publishes a plain question and waits for so many answers, for
// measurements.
func (c *Conn) Gather(ctx context.Context, subject string, body []byte, answers int) error {
	inbox, heard := c.nc.NewInbox(), make(chan *nats.Msg, answers)
	sub, err := c.nc.ChanSubscribe(inbox, heard)
	if err != nil {
		return kinded(err, "subscribe to "+inbox)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest(subject, inbox, body); err != nil {
		return kinded(err, "ask "+subject)
	}
	for i := range answers {
		select {
		case <-heard:
		case <-ctx.Done():
			return kinded(ctx.Err(), fmt.Sprintf("gather %d of %d answers", i, answers))
		}
	}
	return nil
}

// Bare makes a plain stream for measurements and returns what publishes to it
// and what removes it.
func (c *Conn) Bare(ctx context.Context, stream, subject string) (publish func(ctx context.Context, body []byte) error, remove func() error, err error) {
	if _, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{subject}, Storage: jetstream.FileStorage}); err != nil {
		return nil, nil, kinded(err, "create stream "+stream)
	}
	publish = func(ctx context.Context, body []byte) error {
		_, err := c.js.Publish(ctx, subject, body)
		return kinded(err, "publish "+subject)
	}
	remove = func() error {
		return kinded(c.js.DeleteStream(context.WithoutCancel(ctx), stream), "remove stream "+stream)
	}
	return publish, remove, nil
}
