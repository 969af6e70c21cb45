package client

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Options say which broker to use, and as whom.
type Options struct {
	URL         string
	TLS         bus.TLS
	Server      bus.InProcess // instead of URL
	Credentials bus.Credentials
	// Trust is the signed trust set that the user has from who makes credentials:
	// whose signatures count, and what secrets are sealed to. Without it a station
	// is asked, and the curve key that the account vouches for is taken.
	Trust  message.Message
	Logger *slog.Logger
}

// Client is a connection to a fleet. Its methods may be called from any
// goroutine.
type Client struct {
	conn  *bus.Conn
	creds bus.Credentials
	trust *message.TrustKeeper // nil without Options.Trust
	log   *slog.Logger

	renewed chan struct{} // closed when what is the user's own was looked after

	trustMu   sync.Mutex
	trustRead bool              // the newest trust set was read
	following *bus.Subscription // to later ones

	mu      sync.Mutex
	waiters map[*Waiter]bool
	keys    map[string]string            // public keys of nodes, as asked for
	former  map[string]period            // of nodes' other keys, as asked for
	owners  map[string]station.KeyAnswer // of keys that are no nodes', as asked for
}

// Open connects; the error is Unavailable or Refused and says what to do.
func Open(ctx context.Context, o Options) (*Client, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{creds: o.Credentials, log: o.Logger, waiters: make(map[*Waiter]bool),
		keys: make(map[string]string), former: make(map[string]period), owners: make(map[string]station.KeyAnswer)}
	if o.Trust.Signature != "" {
		var err error
		if c.trust, err = message.NewTrustKeeper(o.Trust, time.Now); err != nil {
			return nil, err
		}
		o.TLS.FollowTrust(c.trust.Current(), o.Logger)
		c.trust.Keep = func(message.Message) error {
			o.TLS.FollowTrust(c.trust.Current(), o.Logger)
			return nil
		}
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: o.URL, TLS: o.TLS, Server: o.Server, Credentials: o.Credentials, Logger: o.Logger,
		OnConnect: c.missed, OnLost: c.missed})
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.renewed = c.takeRenewed(o.TLS.CA != "")
	return c, nil
}

// missed says that answers may have been: there was no link, or they came
// faster than they could be proven.
func (c *Client) missed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.waiters {
		poke(w.missed)
	}
}

// poke leaves a mark for whoever waits; one is enough.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Me is the user's name.
func (c *Client) Me() string { return c.creds.UserName() }

// Conn is the connection itself, for measurements.
func (c *Client) Conn() *bus.Conn { return c.conn }

// askTime bounds one question to a station.
const askTime = 10 * time.Second

func ask[Answer any](ctx context.Context, c *Client, what string, question any) (a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err = c.conn.Ask(ctx, subjects.Query(what), question, &a)
	return a, err
}

// Node is all that a station knows of a node; the error is Unknown where
// there is none of that name.
func (c *Client) Node(ctx context.Context, name string) (station.NodeDetail, error) {
	return ask[station.NodeDetail](ctx, c, station.QueryNode, station.NodeQuestion{Name: name})
}

// Command is how far a command has come.
func (c *Client) Command(ctx context.Context, id string) (station.CommandAnswer, error) {
	return ask[station.CommandAnswer](ctx, c, station.QueryCommand, station.CommandQuestion{ID: id})
}

// Registered is a node's entry in the register. The error is Unknown where there
// is none, or none by somebody who may.
func (c *Client) Registered(ctx context.Context, name string) (r station.NodeRecord, err error) {
	e, err := c.conn.Get(ctx, subjects.Nodes, name)
	if err != nil {
		return r, err
	}
	if c.keyIn(ctx, e) == "" {
		return r, fleet.Errorf(fleet.Unknown, "the entry of %q in the register is by nobody who may write there", name)
	}
	return r, json.Unmarshal(e.Body, &r)
}

// registerTries is how often an entry is read again that changed before it was written.
const registerTries = 3

// Register puts nodes into the register, or changes what it says of them. The
// error is Busy where the tenant may have no more nodes.
func (c *Client) Register(ctx context.Context, records ...station.NodeRecord) error {
	room, err := c.room(ctx)
	if err != nil {
		return err
	}
	var added []bus.Entry
	tries := 0
	for i := 0; i < len(records); i++ {
		r := records[i]
		e, err := c.conn.Get(ctx, subjects.Nodes, r.Name)
		fresh := fleet.KindOf(err) == fleet.Unknown
		if fresh {
			if err := room.take(); err != nil {
				return err
			}
			if e.Deleted {
				if _, err := c.EndWaiting(ctx, r.Name); err != nil && fleet.KindOf(err) != fleet.Conflict {
					return fmt.Errorf("end what waits for the node that had the name %s before: %w", r.Name, err)
				}
			}
		}
		if err == nil {
			var have station.NodeRecord
			known := json.Unmarshal(e.Body, &have) == nil
			if known && have.Key == r.Key {
				r.Former = have.Former // what those keys signed counts still
				r.Renamed = have.Renamed
			}
			if known && sameRecord(have, r) && whole(e) {
				continue
			}
		} else if !fresh {
			return err
		}
		m, err := station.SignRecord(r, c.Me(), c.creds)
		if err != nil {
			return err
		}
		sequence, err := c.conn.Put(ctx, subjects.Nodes, bus.Change{Key: r.Name, Document: m, Expect: e.Sequence})
		if fleet.KindOf(err) == fleet.Conflict && !fresh && tries < registerTries {
			// A station puts back what somebody wrote over: look at what is there now.
			tries++
			i--
			continue
		}
		tries = 0
		if err != nil {
			return err
		}
		if fresh {
			added = append(added, bus.Entry{Key: r.Name, Sequence: sequence})
		}
	}
	return c.keepToQuota(ctx, room, added)
}

// whole reports whether an entry of the register was signed as it is; stations
// ignore any other, so it must be written again.
func whole(e bus.Entry) bool {
	m, err := e.Message(message.RegisterSubject(e.Key))
	return err == nil && m.CheckSignature() == nil
}

func sameRecord(a, b station.NodeRecord) bool {
	a.Since, b.Since = time.Time{}, time.Time{}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// owner is who signs with a key, by the user's own trust set or else a station's;
// the zero answer for a stranger, and while no station answers.
func (c *Client) owner(ctx context.Context, key string) station.KeyAnswer {
	owner, _ := c.whose(ctx, key)
	return owner
}

// whose is owner with the error of asking.
func (c *Client) whose(ctx context.Context, key string) (station.KeyAnswer, error) {
	if c.trust != nil {
		c.newestTrust(ctx)
		owner, _ := c.trust.Find(key)
		return station.AnswerFor(owner), nil
	}
	c.mu.Lock()
	known, ok := c.owners[key]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	answer, err := ask[station.KeyAnswer](ctx, c, station.QueryKey, station.KeyQuestion{Key: key})
	if err != nil {
		return station.KeyAnswer{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owners[key] = answer
	return answer, nil
}

// Proven reports whether a message is by whom it says: signed by the key that
// the register has for that node, or that is trusted under that name, and
// stored before that key was taken back, if it was.
func (c *Client) Proven(ctx context.Context, d message.Delivery) bool {
	_, proven := c.author(ctx, d)
	return proven
}

// author is whose key signed a message, the zero answer for nobody's who is
// known, and whether that one says so and may.
func (c *Client) author(ctx context.Context, d message.Delivery) (by station.KeyAnswer, proven bool) {
	m := d.Message
	if m.CheckSignature() != nil {
		return by, false
	}
	if m.Subject.Direction == subjects.Event && m.From == m.Subject.Node && c.signedBy(ctx, m.From, m.Key, d.StoredAt) {
		return station.KeyAnswer{Name: m.From, Role: subjects.Node}, !c.takenBack(ctx, m.Key, d.StoredAt)
	}
	by = c.owner(ctx, m.Key)
	mine := m.Subject.Direction != subjects.Event || by.Role == subjects.Station && m.From != m.Subject.Node
	return by, mine && by.Name != "" && by.Name == m.From && !endedBy(by, d.StoredAt)
}

// learnKeys reads all public keys of the register at once, which is cheaper than
// one question for each node when many are about to answer.
func (c *Client) learnKeys(ctx context.Context) error {
	keys := make(map[string]string)
	err := c.conn.Entries(ctx, subjects.Nodes, ">", func(e bus.Entry) error {
		if key := c.keyIn(ctx, e); key != "" {
			keys[e.Key] = key
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.keys, keys)
	return nil
}

// key is a node's public key by the register, "" where it is not there.
func (c *Client) key(ctx context.Context, node string) string {
	c.mu.Lock()
	key, known := c.keys[node]
	c.mu.Unlock()
	if known {
		return key
	}
	e, err := c.conn.Get(ctx, subjects.Nodes, node)
	if err != nil {
		return "" // perhaps it can be read the next time
	}
	if key = c.keyIn(ctx, e); key == "" {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[node] = key
	return key
}

func (c *Client) sign(m *message.Message) error {
	m.From = c.Me()
	return m.Sign(c.creds)
}

// Credentials are the user's, for a second connection.
func (c *Client) Credentials() bus.Credentials { return c.creds }
