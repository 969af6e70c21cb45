package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

// With --events a verb that waits writes one JSON value a line: that commands
// were sent, each state that one comes to, and at the end the result.

type sentEvent struct {
	Event string    `json:"event"` // "sent"
	At    time.Time `json:"at"`    // by this host's clock
	Order string    `json:"order,omitempty"`
	Nodes int       `json:"nodes"`
}

type stateEvent struct {
	Event string `json:"event"` // "state"
	client.Outcome
}

type resultEvent struct {
	Event  string                `json:"event"` // "result"
	Order  string                `json:"order,omitempty"`
	Nodes  int                   `json:"nodes"`
	States map[message.State]int `json:"states"`
	Groups []client.Group        `json:"groups"`
	Exit   int                   `json:"exit"` // the exit code
}

// event writes one, where events are asked for.
func (a *app) event(value any) {
	if a.events {
		_ = a.printNext(value) // whoever reads has gone: the verb ends all the same
	}
}

// printResult is the last event.
func (a *app) printResult(ctx context.Context, outcomes []client.Outcome) error {
	end := a.end(ctx, outcomes)
	r := resultEvent{Event: "result", Nodes: len(outcomes), States: make(map[message.State]int), Groups: client.Groups(outcomes)}
	for _, o := range outcomes {
		r.States[o.State]++
		r.Order = cmp.Or(r.Order, o.Order)
	}
	var code exitError
	if errors.As(end, &code) {
		r.Exit = int(code)
	}
	if err := a.printNext(r); err != nil {
		return err
	}
	return end
}
