package client

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Record is one message of the audit: a command, an answer or a lifecycle event.
type Record struct {
	message.Delivery
	Proven bool // it is by whom it says, see Client.Proven
	// By and Role are of whose key signed it, by the trust set and the register
	// as they are now; empty where nobody is known who has it.
	By   string
	Role subjects.Role
	// For is who changed the resources, where a station tells a node of it: its
	// word, which the signed resources bear out. "" for all else.
	For string
}

// AuditOptions choose messages of the audit.
type AuditOptions struct {
	Node   string    // "" for all
	ID     string    // a command and its answers
	Order  string    // an order's commands, and the answers to them
	By     string    // what somebody sent or had a station send, by name or (sent) by public key, and the answers to that
	Since  time.Time // by the broker's clock
	Follow bool
}

// Audit hands over the audit's messages in the order in which they were stored.
func (c *Client) Audit(ctx context.Context, o AuditOptions, handle func(Record) error) error {
	node := o.Node
	if node == "" {
		node = "*"
	}
	sender := newSender(o.By, o.Order, handle)
	return c.conn.Read(ctx, subjects.Audit, bus.ReadOptions{Filter: subjects.EverythingOf(node), Since: o.Since, Follow: o.Follow}, func(i bus.Item) error {
		d := message.ReceiveCopied(i.Stored, i.Origin)
		m := d.Message
		if o.ID != "" && m.ID != o.ID && m.Command != o.ID && !(m.Subject.Direction == subjects.Rollout && m.Subject.Domain == o.ID) {
			return nil
		}
		by, proven := c.author(ctx, d)
		if err := d.Message.Unpack(); err != nil && d.Fault == nil {
			d.Fault = err
		}
		return sender.take(Record{d, proven, by.Name, by.Role, changedBy(d.Message, by.Role)})
	})
}

// changedBy is Record.For of a message that somebody of a role signed.
func changedBy(m message.Message, role subjects.Role) string {
	if role != subjects.Station || m.Subject.Direction != subjects.Command || m.Subject.Method != handlers.MethodNginxConfig {
		return ""
	}
	var body handlers.NginxConfigBody
	if m.Unpack() != nil || json.Unmarshal(m.Body, &body) != nil {
		return ""
	}
	return body.By
}

// sender hands on what somebody sent, or by an order, and the answers to it. The
// audit copies two streams, so an answer may stand before its command there.
type sender struct {
	who    string // "" is everybody
	order  string // "" is any, and none
	handle func(Record) error
	theirs map[string]bool // ids of commands
	early  []Record        // answers to commands that were not seen, the newest ones
}

func newSender(who, order string, handle func(Record) error) *sender {
	return &sender{who: who, order: order, handle: handle, theirs: make(map[string]bool)}
}

// earlyMost is how many answers wait for their command: far more than one of
// the two streams can be copied ahead of the other.
const earlyMost = 1000

// sent reports whether a record is of what is looked for, also what only says
// that it is theirs, and what their key signed as another's.
func (s *sender) sent(r Record) bool {
	m := r.Message
	return (s.order == "" || m.Order == s.order) && (s.who == "" || slices.Contains([]string{m.From, m.Key, r.By, r.For}, s.who))
}

func (s *sender) take(r Record) error {
	m := r.Message
	switch {
	case s.who == "" && s.order == "":
		return s.handle(r)
	case !s.sent(r) && !s.theirs[m.Command]:
		if m.Command != "" {
			s.early = append(s.early[max(0, len(s.early)+1-earlyMost):], r)
		}
		return nil
	case m.Subject.Direction != subjects.Command:
		return s.handle(r)
	}
	s.theirs[m.ID] = true
	if err := s.handle(r); err != nil {
		return err
	}
	var err error
	s.early = slices.DeleteFunc(s.early, func(a Record) bool {
		if a.Message.Command != m.ID || err != nil {
			return false
		}
		err = s.handle(a)
		return true
	})
	return err
}

// Happening is something that a node told of its nginx by itself.
type Happening struct {
	At     time.Time `json:"at"`
	Domain string    `json:"domain"`
	Event  string    `json:"event"` // an Event constant of package nginx
	Text   string    `json:"text"`
	Proven bool      `json:"proven"` // it is by the node
}

// Happenings are the last that a node told of its nginx, of its returns, and that
// stations told of a name that two agents live under, since a moment of the
// broker's clock, at most so many, oldest first.
func (c *Client) Happenings(ctx context.Context, node string, since time.Time, most int) (all []Happening, err error) {
	err = c.conn.Read(ctx, subjects.Audit, bus.ReadOptions{Filter: subjects.LifecycleOf(node), Since: since}, func(i bus.Item) error {
		d := message.ReceiveCopied(i.Stored, i.Origin)
		var l message.Lifecycle
		if domain := d.Message.Subject.Domain; d.Message.Unpack() != nil || json.Unmarshal(d.Message.Body, &l) != nil ||
			(domain == message.LifecycleDomain || domain == message.IdentityDomain) && l.Event != message.LifecycleRejoined && l.Event != message.LifecycleDuplicate {
			return nil
		}
		all = append(all, Happening{At: d.StoredAt, Domain: d.Message.Subject.Domain, Event: l.Event, Text: l.Message, Proven: c.Proven(ctx, d)})
		if len(all) > most {
			all = all[1:]
		}
		return nil
	})
	return all, err
}

// LogBatch is a batch of log records of one node and domain.
type LogBatch struct {
	handlers.LogBatch
	Node, Domain string
	StoredAt     time.Time
}

// LogOptions choose log batches.
type LogOptions struct {
	Node   string // "" for all
	Since  time.Time
	Follow bool
}

// Logs hands over log batches in the order in which they were stored.
func (c *Client) Logs(ctx context.Context, o LogOptions, handle func(LogBatch) error) error {
	node := o.Node
	if node == "" {
		node = "*"
	}
	return c.conn.Read(ctx, subjects.Logs, bus.ReadOptions{Filter: subjects.LogsOf(node), Since: o.Since, Follow: o.Follow}, func(i bus.Item) error {
		d := message.Receive(i.Stored)
		b := LogBatch{Node: d.Message.Subject.Node, Domain: d.Message.Subject.Domain, StoredAt: i.At}
		err := d.Message.Unpack()
		if err == nil {
			err = json.Unmarshal(d.Message.Body, &b.LogBatch)
		}
		if err != nil {
			c.log.Warn("a log batch cannot be read", "node", b.Node, "sequence", i.Sequence, "error", err)
			return nil
		}
		return handle(b)
	})
}
