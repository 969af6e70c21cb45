package bus

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/subjects"
)

// clientPrefix begins the names by which Fairlead's programs are known to the
// broker.
const clientPrefix = "fairlead "

// ClientName is how a user's connection is called at the broker.
func ClientName(user, instance string) string {
	return strings.TrimRight(clientPrefix+user+" "+instance, " ")
}

// Link is a connection that began or ended, by the broker's word.
type Link struct {
	Up       bool
	Key      string        // public nkey of the user, which the broker has proven
	User     string        // by the client's own word
	Instance string        // likewise; "" where it says none
	Server   string        // id of the broker, new at each of its starts
	ID       uint64        // of the connection there; grows with each
	Host     string        // the client's address as the broker sees it
	Reason   string        // why it ended
	Lasted   time.Duration // until it ended, by the broker's clock
}

// linkEvent is what nats-server tells.
type linkEvent struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		User string `json:"user"`
		Name string `json:"name"`
		ID   uint64 `json:"id"`
		Host string `json:"host"`

		Start time.Time `json:"start"`
		Stop  time.Time `json:"stop"`
	} `json:"client"`
	Reason string `json:"reason"`
}

// Beats subscribes to heartbeats and links; run hands them over until its context
// ends, one at a time and in the order in which the broker sent them. That is not always
// the order in which they happened: where the broker itself ends a connection that is just being let
// in, its end may be told before its beginning.
func (c *Conn) Beats(beat func(node string, data []byte), link func(Link)) (run func(context.Context), err error) {
	ordered := make(chan *nats.Msg, waitingMessages)
	var subs []*nats.Subscription
	stop := func() {
		for _, s := range subs {
			_ = s.Unsubscribe()
		}
	}
	for _, subject := range []string{subjects.HeartbeatAll, subjects.LinkAll} {
		sub, err := c.nc.ChanSubscribe(subject, ordered)
		if err != nil {
			stop()
			return nil, kinded(err, "subscribe to "+subject)
		}
		subs = append(subs, sub)
	}
	return func(ctx context.Context) {
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case msg := <-ordered:
				if node := subjects.NodeOfHeartbeat(msg.Subject); node != "" {
					beat(node, msg.Data)
				} else if l, ok := linkOf(msg); ok {
					link(l)
				}
			}
		}
	}, nil
}

// linkOf reads what the broker tells of a connection. What has headers or a reply
// subject is not the broker's own word: JetStream put it there for somebody.
func linkOf(msg *nats.Msg) (l Link, ok bool) {
	var e linkEvent
	if len(msg.Header) > 0 || msg.Reply != "" || json.Unmarshal(msg.Data, &e) != nil || e.Client.User == "" {
		return l, false
	}
	rest, ours := strings.CutPrefix(e.Client.Name, clientPrefix)
	if !ours {
		return l, false
	}
	l = Link{Up: msg.Subject == subjects.LinkUp, Key: e.Client.User, Server: e.Server.ID, ID: e.Client.ID, Host: e.Client.Host, Reason: e.Reason}
	l.User, l.Instance, _ = strings.Cut(rest, " ")
	if !l.Up {
		l.Lasted = max(e.Client.Stop.Sub(e.Client.Start), 0)
	}
	return l, true
}
