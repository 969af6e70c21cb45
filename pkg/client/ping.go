package client

import (
	"context"
	"sync"
	"time"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Pong is a node's answer to Ping, proven to be its own and younger than the
// question.
type Pong struct {
	Node string        `json:"node"`
	Took time.Duration `json:"tookNs"`
	// What the node says of itself, see message.Heartbeat.
	Agent    string    `json:"agent"` // which start of it
	BootID   string    `json:"bootID,omitempty"`
	Clock    time.Time `json:"clock"`
	Observed uint64    `json:"observedRevision"`
	Spool    int       `json:"spooledBatches"`
	Outbox   int       `json:"outbox"`
}

// Ping asks nodes whether they are there, all at once, and returns when every one
// has answered or ctx ends; a node that is missing then did not. Nothing is stored
// and nothing runs on a node. each, which may be nil, is called for every answer, one
// at a time.
func (c *Client) Ping(ctx context.Context, nodes []string, each func(Pong)) ([]Pong, error) {
	if len(nodes) > message.MaxAsked {
		if err := c.knowAll(ctx, nodes); err != nil {
			return nil, err
		}
	}
	q := message.NewQuestion(nodes)
	p := &pinging{client: c, id: q.ID, open: make(map[string]bool, len(nodes)), each: each, done: make(chan struct{})}
	for _, n := range nodes {
		p.open[n] = true
	}
	if len(p.open) == 0 {
		return nil, nil
	}
	sub, err := c.conn.Listen(subjects.HeartbeatAll, func(subject string, data []byte) { p.hear(ctx, subjects.NodeOfHeartbeat(subject), data) })
	if err != nil {
		return nil, err
	}
	defer sub.Stop()
	if err := c.conn.Flush(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.begun = time.Now()
	p.mu.Unlock()
	if err := c.conn.Tell(subjects.Ask, q.Text()); err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.pongs, nil
}

// knowAll reads the keys of all nodes, unless those of these are known.
func (c *Client) knowAll(ctx context.Context, nodes []string) error {
	c.mu.Lock()
	known := true
	for _, n := range nodes {
		if c.keys[n] == "" {
			known = false
			break
		}
	}
	c.mu.Unlock()
	if known {
		return nil
	}
	return c.learnKeys(ctx)
}

// pinging is a question under way.
type pinging struct {
	client *Client
	id     string
	each   func(Pong)
	done   chan struct{}

	mu     sync.Mutex
	begun  time.Time
	open   map[string]bool // nodes that have not answered
	pongs  []Pong
	closed bool
}

// hear takes what may be an answer. What is not proven may be anybody's.
func (p *pinging) hear(ctx context.Context, node string, data []byte) {
	h, err := message.ReadHeartbeat(data)
	if err != nil || h.Asked != p.id {
		return
	}
	p.mu.Lock()
	meant := p.open[node] && !p.closed
	p.mu.Unlock()
	if !meant {
		return
	}
	if !p.client.provesBeat(ctx, node, data) {
		p.client.log.Warn("ignored an answer: it is not signed by its node", "node", node)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.open[node] {
		return
	}
	delete(p.open, node)
	pong := Pong{Node: node, Took: time.Since(p.begun), Agent: h.Instance, BootID: h.BootID, Clock: h.Clock, Observed: h.Observed, Spool: h.Spool, Outbox: h.Outbox}
	p.pongs = append(p.pongs, pong)
	if p.each != nil {
		p.each(pong)
	}
	if len(p.open) == 0 {
		close(p.done)
	}
}

// provesBeat reports whether the node's key signed a heartbeat. Where the key that
// is known did not, the register may have another since.
func (c *Client) provesBeat(ctx context.Context, node string, data []byte) bool {
	key := c.key(ctx, node)
	if key == "" || message.VerifyHeartbeat(node, data, key) != nil {
		c.mu.Lock()
		delete(c.keys, node)
		c.mu.Unlock()
		if key = c.key(ctx, node); key == "" || message.VerifyHeartbeat(node, data, key) != nil {
			return false
		}
	}
	return !c.takenBack(ctx, key, time.Now())
}
