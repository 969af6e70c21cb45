package client

import (
	"cmp"
	"context"
	"slices"
	"time"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Step is one thing that became of a command, by a proven answer.
type Step struct {
	State  message.State  `json:"state"`
	At     time.Time      `json:"at"` // the broker's clock
	From   string         `json:"from"`
	Answer message.Answer `json:"answer"`
}

// Steps are what became of a command, in order: accepted, running, its end, as far
// as they are stored. A command that ended at once told it all in its end.
func (c *Client) Steps(ctx context.Context, s subjects.Subject, id string) (all []Step, err error) {
	var asked []string
	for _, state := range []message.State{message.Accepted, message.Running, message.Succeeded} {
		asked = append(asked, subjects.Stored(s.Answer(), message.AnswerID(id, s.Domain, state)))
	}
	err = c.conn.LastOf(ctx, subjects.Events, asked, func(stored message.Stored) {
		d := message.Receive(stored)
		answer, err := d.Message.ReadAnswer()
		if err != nil || d.Fault != nil || !c.proven(ctx, d) {
			return
		}
		if at := answer.AcceptedAt; at != nil {
			all = append(all, Step{State: message.Accepted, At: *at, From: d.Message.From})
		}
		all = append(all, Step{State: d.Message.State, At: d.StoredAt, From: d.Message.From, Answer: answer})
	})
	slices.SortStableFunc(all, func(a, b Step) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a.State), rank(b.State)))
	})
	return all, err
}

// rank orders states of the same moment.
func rank(s message.State) int {
	switch {
	case s == message.Accepted:
		return 0
	case s == message.Running:
		return 1
	}
	return 2
}
