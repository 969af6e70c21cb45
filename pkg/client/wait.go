package client

import (
	"context"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Outcome is how far a command has come.
type Outcome struct {
	Sent
	State  message.State  `json:"state"`
	Answer message.Answer `json:"answer"`
	From   string         `json:"from,omitempty"` // who answered: the node, or a station for one that expired
	At     time.Time      `json:"at,omitzero"`
	// Unpublished: it is of a bounded order and its turn has not come, or never will.
	Unpublished bool `json:"unpublished,omitempty"`
}

// Waiter hears answers. Make it before sending, so that none is missed.
type Waiter struct {
	client *Client
	sub    *bus.Subscription
	mu     sync.Mutex
	heard  map[string]message.Delivery // newest by command
	moved  chan struct{}
	missed chan struct{} // some may not have been heard
}

// Listen hears the answers of one node, or of all where node is "*".
func (c *Client) Listen(ctx context.Context, node string) (*Waiter, error) {
	if node == "*" {
		if err := c.learnKeys(ctx); err != nil {
			return nil, err
		}
	}
	w := &Waiter{client: c, heard: make(map[string]message.Delivery), moved: make(chan struct{}, 1), missed: make(chan struct{}, 1)}
	sub, err := c.conn.Subscribe(subjects.AnswersOf(node), w.hear, nil)
	if err != nil {
		return nil, err
	}
	w.sub = sub
	if err := c.conn.Flush(ctx); err != nil {
		sub.Stop()
		return nil, err
	}
	c.mu.Lock()
	c.waiters[w] = true
	c.mu.Unlock()
	return w, nil
}

// Close stops hearing.
func (w *Waiter) Close() {
	w.client.mu.Lock()
	delete(w.client.waiters, w)
	w.client.mu.Unlock()
	w.sub.Stop()
}

// heardKey tells answers apart: an id alone could be borrowed by a command of
// another domain.
func heardKey(command, domain string) string { return command + "." + domain }

func (s Sent) key() string {
	domain := ""
	if subject, err := subjects.Parse(s.Subject); err == nil {
		domain = subject.Domain
	}
	return heardKey(s.ID, domain)
}

// heardMost bounds the answers kept that nobody has waited for yet, since on a
// large fleet most are to others' commands. A lost one is looked up.
const heardMost = 1 << 16

func (w *Waiter) hear(d message.Delivery) {
	// Proven here, while the caller may still be sending: a fleet's answers come
	// faster than one goroutine that does everything can look at them.
	ctx, cancel := context.WithTimeout(context.Background(), keyTime)
	defer cancel()
	if !w.client.proven(ctx, d) {
		return
	}
	w.mu.Lock()
	key := heardKey(d.Message.Command, d.Message.AnsweredDomain())
	have, known := w.heard[key]
	if known && !have.Message.State.Final() || !known && len(w.heard) < heardMost {
		w.heard[key] = d
	}
	w.mu.Unlock()
	poke(w.moved)
}

// keyTime bounds the question for a node's key: without a link there is no
// answer, and what was not proven is looked up later.
const keyTime = 5 * time.Second

// The store is asked for ends that were not heard: again and again, less often
// while that finds nothing, and at once when messages were lost on the way.
const (
	lookFirst = 2 * time.Second
	lookLast  = 30 * time.Second
)

// Wait returns when every command has its end, or ctx ends; then those without
// are in the state that was heard last, published where nothing was. changed,
// which may be nil, is called for each outcome that moved.
func (w *Waiter) Wait(ctx context.Context, sent []Sent, changed func(Outcome)) []Outcome {
	outcomes := make([]Outcome, len(sent))
	open := make(map[string]int, len(sent))
	for i, s := range sent {
		outcomes[i] = Outcome{Sent: s, State: message.Published}
		open[s.key()] = i
	}
	take := func(i int, d message.Delivery) {
		o := &outcomes[i]
		if o.State == d.Message.State {
			return
		}
		o.take(d)
		if o.State.Final() {
			delete(open, o.key())
		}
		if changed != nil {
			changed(*o)
		}
	}
	pause := lookFirst
	tick := time.NewTimer(pause)
	defer tick.Stop()
	for len(open) > 0 {
		for _, d := range w.takeAll(open) {
			take(open[heardKey(d.Message.Command, d.Message.AnsweredDomain())], d)
		}
		if len(open) == 0 {
			break
		}
		select {
		case <-w.moved:
		case <-w.missed:
			pause = lookFirst
			tick.Reset(0)
		case <-tick.C:
			before := len(open)
			w.look(ctx, outcomes, open, take)
			if pause = min(2*pause, lookLast); len(open) < before {
				pause = lookFirst
			}
			tick.Reset(pause)
		case <-ctx.Done():
			return outcomes
		}
	}
	return outcomes
}

// takeAll are the answers heard to open commands. Others stay: they may be to
// commands that are waited for next.
func (w *Waiter) takeAll(open map[string]int) []message.Delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []message.Delivery
	for key, d := range w.heard {
		if _, ok := open[key]; ok {
			all = append(all, d)
			delete(w.heard, key)
		}
	}
	return all
}

// look asks the store for ends that were not heard, as after a reconnection.
func (w *Waiter) look(ctx context.Context, outcomes []Outcome, open map[string]int, take func(int, message.Delivery)) {
	var from []string
	for _, i := range open {
		if s, err := subjects.Parse(outcomes[i].Subject); err == nil {
			from = append(from, subjects.FinalAnswer(s, message.AnswerID(outcomes[i].ID, s.Domain, message.Succeeded)))
		}
	}
	var ends []message.Delivery
	err := w.client.conn.LastOf(ctx, subjects.Events, from, func(s message.Stored) { ends = append(ends, message.Receive(s)) })
	if err != nil {
		w.client.log.Debug("ends cannot be looked up", "error", err)
	}
	for _, d := range ends {
		i, ok := open[heardKey(d.Message.Command, d.Message.AnsweredDomain())]
		if ok && w.client.proven(ctx, d) {
			take(i, d)
		}
	}
}

// proven reports whether an answer is its node's, or one that a station gives
// in the node's place: that the command expired, or was called off since the node was removed.
func (c *Client) proven(ctx context.Context, d message.Delivery) bool {
	m := d.Message
	if (m.From == m.Subject.Node || m.State == message.Expired || m.State == message.Cancelled) && c.Proven(ctx, d) {
		return true
	}
	c.log.Warn("ignored an answer: it is not signed by its node", "id", m.ID, "node", m.Subject.Node)
	return false
}
