package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Kinds of fault in how commands ended.
const (
	EndTwice   = "ended twice"       // two proven final answers
	EndMissing = "no end"            // its time is over and nobody said how it ended
	EndEarly   = "end of no command" // a proven final answer to what nobody sent
)

// EndFault is a command that did not end once.
type EndFault struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Subject  string `json:"subject"`  // of the command
	Sequence uint64 `json:"sequence"` // of the audit, where it shows
	Message  string `json:"message"`
}

// Ends is how the commands of the audit ended.
type Ends struct {
	Commands int                   `json:"commands"`
	States   map[message.State]int `json:"states"` // by proven final state
	// Waiting are those without an end whose time is not over.
	Waiting int `json:"waiting"`
	// Unproven are final answers that are not by who may give them. They count as none.
	Unproven int `json:"unproven"`
	// Faults are the first ones, by sequence; Further is how many more there are.
	Faults  []EndFault `json:"faults"`
	Further int        `json:"further"`
}

// EndsOptions say which commands to look at.
type EndsOptions struct {
	Node  string    // "" for all
	Since time.Time // by the broker's clock: what was stored later; zero is all
}

// Ends reads the audit and counts for each command its proven final answers:
// there has to be one, or time left for it. Answers to commands that the audit
// does not hold any more, or that are older than asked for, are left out.
func (c *Client) Ends(ctx context.Context, o EndsOptions) (Ends, error) {
	if err := c.learnKeys(ctx); err != nil {
		return Ends{}, err
	}
	state, err := c.conn.State(ctx, subjects.Audit)
	if err != nil {
		return Ends{}, err
	}
	r := &ending{client: c, commands: make(map[string]*ended)}
	// What a cut at a moment leaves out looks like an answer to nothing.
	r.whole = o.Since.IsZero() && state.First <= 1
	node := cmp.Or(o.Node, "*")
	err = c.conn.Read(ctx, subjects.Audit, bus.ReadOptions{Filter: subjects.EverythingOf(node), Since: o.Since}, func(i bus.Item) error {
		r.read(ctx, message.ReceiveCopied(i.Stored, i.Origin))
		return nil
	})
	if err != nil {
		return Ends{}, err
	}
	return r.result(state.Now), nil
}

// ending is a reading of the audit under way.
type ending struct {
	client   *Client
	whole    bool              // it is read from its beginning
	commands map[string]*ended // by node, method, domain and id
	unproven int
}

// ended is a command, or what was said of one that was not read yet: the audit
// copies two streams.
type ended struct {
	id, subject string
	sequence    uint64 // of the command, 0 before it is read
	expires     time.Time
	ends        []message.State
	last        uint64 // sequence of the last of ends
}

func (r *ending) read(ctx context.Context, d message.Delivery) {
	m := d.Message
	if m.Subject.Direction == subjects.Command {
		if d.Fault != nil && m.Subject.Node == "" {
			return // nobody hears it and nobody answers
		}
		c := r.command(m.Subject, m.ID)
		if c.sequence == 0 { // published again it is the same
			c.sequence, c.expires = d.Sequence, d.StoredAt.Add(subjects.MaxCommandAge)
			if !m.Expires.IsZero() && m.Expires.Before(c.expires) {
				c.expires = m.Expires
			}
		}
		return
	}
	if m.Subject.Method != subjects.MethodAck || !m.State.Final() {
		return
	}
	if d.Fault != nil || !r.client.Proven(ctx, d) {
		r.unproven++
		return
	}
	to := subjects.Subject{Node: m.Subject.Node, Direction: subjects.Command, Method: m.Subject.Domain, Domain: m.AnsweredDomain()}
	c := r.command(to, m.Command)
	c.ends, c.last = append(c.ends, m.State), d.Sequence
}

func (r *ending) command(s subjects.Subject, id string) *ended {
	key := s.String() + " " + id
	c, known := r.commands[key]
	if !known {
		c = &ended{id: id, subject: s.String()}
		r.commands[key] = c
	}
	return c
}

// endGrace is how long after its time a command may be without an end: its node
// may still answer for a minute, and then a station ends it.
const endGrace = 2 * time.Minute

func (r *ending) result(now time.Time) Ends {
	e := Ends{States: make(map[message.State]int), Unproven: r.unproven, Faults: []EndFault{}}
	for _, c := range r.commands {
		fault := EndFault{ID: c.id, Subject: c.subject, Sequence: max(c.sequence, c.last)}
		switch {
		case c.sequence == 0 && !r.whole:
			continue
		case c.sequence == 0:
			fault.Kind, fault.Message = EndEarly, fmt.Sprintf("it is said to be %s, and nobody sent it", c.ends[0])
		case len(c.ends) > 1:
			fault.Kind, fault.Message = EndTwice, fmt.Sprintf("it is said to be %s and %s", c.ends[0], c.ends[1])
		case len(c.ends) == 0 && now.After(c.expires.Add(endGrace)):
			fault.Kind, fault.Message = EndMissing, fmt.Sprintf("it expired %s and nobody said how it ended", c.expires.UTC().Format(time.RFC3339))
		}
		if c.sequence > 0 {
			e.Commands++
		}
		switch {
		case fault.Kind != "":
			e.Faults = append(e.Faults, fault)
		case len(c.ends) == 0:
			e.Waiting++
		default:
			e.States[c.ends[0]]++
		}
	}
	slices.SortFunc(e.Faults, func(a, b EndFault) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
	})
	e.Further = max(0, len(e.Faults)-mostFaults)
	e.Faults = e.Faults[:len(e.Faults)-e.Further]
	return e
}
