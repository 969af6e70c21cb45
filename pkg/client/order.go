package client

import (
	"context"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Unsent is the state of an order's command that was never stored: whoever sent
// the order was interrupted, or refused.
const Unsent message.State = "unsent"

// NewOrder makes an order to nodes, whom chosen says for people. expires is that
// of its commands, message.DefaultExpiry when 0.
func NewOrder(nodes []string, chosen, method, domain string, expires time.Duration) message.Order {
	if expires == 0 {
		expires = message.DefaultExpiry
	}
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	return message.Order{ID: message.NewID(), Chosen: chosen, Method: method, Domain: domain, Expires: time.Now().Add(expires).Truncate(time.Second), Nodes: slices.Compact(nodes)}
}

// Keep stores an order, before its commands are sent. The error is Refused where
// the user may not.
func (c *Client) Keep(ctx context.Context, o message.Order) error {
	m, err := message.SignOrder(o, c.Me(), c.creds)
	if err != nil {
		return err
	}
	_, err = c.conn.Append(ctx, subjects.OrderSubject(o.ID), m, 0)
	return err
}

// Commands are an order's commands, each with the same body.
func Commands(o message.Order, body []byte) []Command {
	all := make([]Command, len(o.Nodes))
	for i, node := range o.Nodes {
		s, id := o.Command(node)
		all[i] = Command{Subject: s, Body: body, ID: id, Order: o.ID, Expires: time.Until(o.Expires)}
	}
	return all
}

// sentBy are an order's commands as they are sent.
func sentBy(o message.Order) []Sent {
	all := make([]Sent, len(o.Nodes))
	for i, node := range o.Nodes {
		s, id := o.Command(node)
		all[i] = Sent{ID: id, Subject: s.String(), Node: node, Order: o.ID}
	}
	return all
}

// orderers are the roles whose orders count: those that may send anything.
var orderers = []subjects.Role{subjects.Admin, subjects.Operator, subjects.Viewer}

// Orders are the orders that are kept since a moment of the broker's clock, the
// oldest first.
func (c *Client) Orders(ctx context.Context, since time.Time) ([]message.Order, error) {
	all := []message.Order{}
	known := make(map[string]bool)
	err := c.conn.Read(ctx, subjects.Orders, bus.ReadOptions{Since: since}, func(i bus.Item) error {
		o, err := c.openOrder(ctx, i.Stored)
		switch {
		case err != nil:
			c.log.Warn("ignored an order", "subject", i.Subject, "error", err)
		case !known[o.ID]: // the first counts, whoever writes another
			known[o.ID] = true
			all = append(all, o)
		}
		return nil
	})
	return all, err
}

// FindOrder is one order; the error is Unknown where there is none.
func (c *Client) FindOrder(ctx context.Context, id string) (o message.Order, err error) {
	if _, ok := message.CreatedAt(id); !ok {
		return o, fleet.Errorf(fleet.Invalid, "%q is no order's id: `fairlead order ls` lists those there are", id)
	}
	stored, err := c.conn.First(ctx, subjects.Orders, subjects.OrderSubject(id))
	if err != nil {
		return o, err
	}
	if stored == nil {
		return o, fleet.Errorf(fleet.Unknown, "there is no order %s: `fairlead order ls` lists those there are", id)
	}
	return c.openOrder(ctx, *stored)
}

func (c *Client) openOrder(ctx context.Context, s message.Stored) (message.Order, error) {
	o, m, err := message.OpenOrder(s)
	if err != nil {
		return o, err
	}
	_, err = message.VerifyStored(&m, s.At, c.trusted(ctx), orderers...)
	return o, err
}

// Outcomes are how far an order's commands have come, by node: each that was
// meant is there, whether it answered or not.
func (c *Client) Outcomes(ctx context.Context, o message.Order) ([]Outcome, error) {
	if err := c.learnKeys(ctx); err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(o.Nodes))
	open := make(map[string]int, len(o.Nodes)) // by the stored subject that is asked for
	for i, s := range sentBy(o) {
		outcomes[i] = Outcome{Sent: s, State: Unsent}
		open[s.ID] = i
	}
	// What ended needs no second look, and what runs was stored.
	for _, state := range []message.State{message.Succeeded, message.Running, message.Accepted} {
		if err := c.answers(ctx, outcomes, open, state); err != nil {
			return nil, err
		}
	}
	var asked []string
	for _, i := range open {
		s, id := o.Command(outcomes[i].Node)
		asked = append(asked, subjects.Stored(s, id))
	}
	err := c.conn.LastOf(ctx, subjects.Commands, asked, func(s message.Stored) {
		d := message.Receive(s)
		if i, ok := open[d.Message.ID]; ok && d.Message.Order == o.ID {
			outcomes[i].State, outcomes[i].At, outcomes[i].Sequence = message.Published, d.StoredAt, d.Sequence
		}
	})
	if err == nil {
		err = c.unsent(ctx, o, outcomes)
	}
	return outcomes, err
}

// answers takes the answers of one state, all final ones being one, and leaves
// in open what has none.
func (c *Client) answers(ctx context.Context, outcomes []Outcome, open map[string]int, state message.State) error {
	var asked []string
	for _, i := range open {
		s, err := subjects.Parse(outcomes[i].Subject)
		if err != nil {
			return err
		}
		asked = append(asked, subjects.Stored(s.Answer(), message.AnswerID(outcomes[i].ID, s.Domain, state)))
	}
	var heard []message.Delivery
	if err := c.conn.LastOf(ctx, subjects.Events, asked, func(s message.Stored) { heard = append(heard, message.Receive(s)) }); err != nil {
		return err
	}
	for _, d := range heard {
		i, ok := open[d.Message.Command]
		if !ok || !c.proven(ctx, d) {
			continue
		}
		outcomes[i].take(d)
		delete(open, d.Message.Command)
	}
	return nil
}

// take is an answer's word for what became of the command.
func (o *Outcome) take(d message.Delivery) {
	o.State, o.From, o.At = d.Message.State, d.Message.From, d.StoredAt
	if answer, err := d.Message.ReadAnswer(); err == nil {
		o.Answer = answer
	}
}

// Queued is the state of a bounded order's command that waits for its turn.
const Queued message.State = "queued"

// Queue stores a bounded order and its commands, signed, for stations to publish
// some at a time. The error is Refused where the user may not send them.
func (c *Client) Queue(ctx context.Context, o message.Order, body []byte) ([]Sent, error) {
	messages, err := c.messages(Commands(o, body))
	if err != nil {
		return nil, err
	}
	for i := range messages {
		if err := c.sign(&messages[i]); err != nil {
			return nil, err
		}
	}
	parts, err := message.SignQueue(o, messages, c.Me(), c.creds)
	if err != nil {
		return nil, err
	}
	if err := c.Keep(ctx, o); err != nil {
		return nil, err
	}
	for _, m := range parts {
		if _, err := c.conn.Append(ctx, subjects.QueueSubject(m.Subject.Method, m.Subject.Domain), m, 0); err != nil {
			return nil, fleet.Errorf(fleet.KindOf(err), "order %s is stored in part, `fairlead cancel --order %s` ends it: %w", o.ID, o.ID, err)
		}
	}
	return sentBy(o), nil
}

// Unqueue ends the queue of a bounded order: what was not published never is.
func (c *Client) Unqueue(ctx context.Context, id string) error {
	m, err := message.SignUnqueue(id, c.Me(), c.creds)
	if err != nil {
		return err
	}
	_, err = c.conn.Append(ctx, subjects.QueueSubject(id, message.QueueCancel), m, 0)
	if fleet.KindOf(err) == fleet.Conflict { // somebody ended it already
		return nil
	}
	return err
}

// unsent are a bounded order's commands that nobody published: they wait for their
// turn, were called off, or their time is over.
func (c *Client) unsent(ctx context.Context, o message.Order, outcomes []Outcome) error {
	if !o.Bounded() || !slices.ContainsFunc(outcomes, func(out Outcome) bool { return out.State == Unsent }) {
		return nil
	}
	stored, err := c.conn.First(ctx, subjects.Orders, subjects.QueueSubject(o.ID, message.QueueCancel))
	if err != nil {
		return err
	}
	became := Outcome{State: Queued, Unpublished: true}
	if !time.Now().Before(o.Expires) {
		became.State, became.At = message.Expired, o.Expires
		became.Answer.Message = "its time ran out before its turn came"
	}
	if stored != nil {
		if _, _, m, err := message.OpenQueue(*stored); err == nil {
			became.State, became.At, became.From = message.Cancelled, stored.At, m.From
			became.Answer.Message = "called off by " + m.From + " before its turn came"
		}
	}
	for i, out := range outcomes {
		if out.State == Unsent {
			became.Sent = out.Sent
			outcomes[i] = became
		}
	}
	return nil
}
