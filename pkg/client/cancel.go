package client

import (
	"context"
	"encoding/json"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// CommandsWaiting are the commands without a final answer that a question is
// about, and the broker's time.
func (c *Client) CommandsWaiting(ctx context.Context, q station.WaitingQuestion) (all []station.Waiting, now time.Time, err error) {
	err = inParts(q.Names, func(names []string) error {
		q.Names, q.After = names, 0
		for {
			page, err := ask[station.WaitingAnswer](ctx, c, station.QueryWaiting, q)
			if err != nil {
				return err
			}
			all, now = append(all, page.Commands...), page.Now
			if !page.More {
				return nil
			}
			q.After = page.Last
		}
	})
	return all, now, err
}

// CallOff makes the command that calls off a waiting one. It waits at least as
// long: a node that returns when the cancellation has expired would run what was
// called off.
func CallOff(w station.Waiting) (Command, error) {
	target, err := subjects.Parse(w.Subject)
	if err != nil {
		return Command{}, err
	}
	s, err := subjects.Build(target.Node, subjects.Command, subjects.MethodCancel, target.Method)
	if err != nil {
		return Command{}, err
	}
	body, err := json.Marshal(handlers.CancelBody{ID: w.ID})
	return Command{Subject: s, Body: body, Expires: min(max(time.Until(w.Expires)+callOffLonger, message.DefaultExpiry), subjects.MaxCommandAge)}, err
}

// callOffLonger is how much longer a cancellation waits than what it calls off,
// since the clocks of those who send the two may differ.
const callOffLonger = time.Hour

// EndsOf are the final answers to commands that have ended, by id.
func (c *Client) EndsOf(ctx context.Context, sent []Sent) (map[string]Outcome, error) {
	outcomes := make([]Outcome, len(sent))
	open := make(map[string]int, len(sent))
	for i, s := range sent {
		outcomes[i] = Outcome{Sent: s, State: message.Published}
		open[s.ID] = i
	}
	err := c.answers(ctx, outcomes, open, message.Succeeded)
	ends := make(map[string]Outcome)
	for _, o := range outcomes {
		if o.State.Final() {
			ends[o.ID] = o
		}
	}
	return ends, err
}
