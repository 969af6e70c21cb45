package bus

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/message"
)

// Headers by which a stream marks what it shows again.
const (
	headerStream    = "Nats-Stream"
	headerSubject   = "Nats-Subject"
	headerSequence  = "Nats-Sequence"
	headerTimeStamp = "Nats-Time-Stamp"
)

// Subscription ends with Stop.
type Subscription struct{ sub *nats.Subscription }

// Stop ends the subscription; messages that wait in it are dropped.
func (s *Subscription) Stop() { _ = s.sub.Unsubscribe() }

// Bounds of what may wait in one subscription. Past them messages are
// dropped, OnLost is called, and the owner catches up from the stream.
const (
	waitingMessages = 16 << 10
	waitingBytes    = 32 << 20
)

// Subscribe hands over the messages that streams show on a subject, in order,
// one at a time. A message that bears no stream's mark was never stored: it
// goes to unstored, which may be nil.
func (c *Conn) Subscribe(subject string, handle func(message.Delivery), unstored func(subject string)) (*Subscription, error) {
	return c.listen(subject, func(msg *nats.Msg) {
		stored, ok := fromShown(msg)
		switch {
		case ok:
			handle(message.Receive(stored))
		case unstored != nil:
			unstored(msg.Subject)
		default:
			c.log.Warn("ignored a message that no stream keeps", "subject", msg.Subject)
		}
	})
}

// Listen hands over raw messages of a live subject.
func (c *Conn) Listen(subject string, handle func(subject string, body []byte)) (*Subscription, error) {
	return c.listen(subject, func(msg *nats.Msg) { handle(msg.Subject, msg.Data) })
}

func (c *Conn) listen(subject string, handle nats.MsgHandler) (*Subscription, error) {
	sub, err := c.nc.Subscribe(subject, handle)
	if err != nil {
		return nil, kinded(err, "subscribe to "+subject)
	}
	if err := sub.SetPendingLimits(waitingMessages, waitingBytes); err != nil {
		return nil, kinded(err, "subscribe to "+subject)
	}
	return &Subscription{sub}, nil
}

// fromShown reads the marks that a stream adds to what it shows: behind the
// sender's own headers, which may bear the same names. So the last one counts.
// What a consumer delivers has those of its sender alone, and a reply subject,
// which what is shown has not.
func fromShown(msg *nats.Msg) (message.Stored, bool) { return Shown(msg.Reply, msg.Header, msg.Data) }

// Shown is fromShown for a message that came by other means than a Conn.
func Shown(reply string, headers map[string][]string, body []byte) (message.Stored, bool) {
	sequence, err := strconv.ParseUint(last(headers, headerSequence), 10, 64)
	subject := last(headers, headerSubject)
	if err != nil || subject == "" || reply != "" {
		return message.Stored{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, last(headers, headerTimeStamp))
	if err != nil {
		return message.Stored{}, false
	}
	return message.Stored{Subject: subject, Sequence: sequence, At: at, Headers: headers, Body: body}, true
}

func first(h map[string][]string, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func last(h map[string][]string, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}
