package handlers

import (
	"context"
	"fmt"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// PauseBody says for how long, and why.
type PauseBody struct {
	// For is a time such as 30m or 24h, up to 168h; empty is 1h.
	For string `json:"for,omitempty"`
	// Reason is for those who wonder.
	Reason string `json:"reason,omitempty"`
}

// How a pause is asked for.
const (
	usualPause  = time.Hour
	mostReason  = 500
	methodPause = "pause"
)

var _ = define(Definition[PauseBody]{
	Method:  methodPause,
	Summary: "leave nginx as it is for a while, so that a person can work on the node",
	Details: "Until the pause is over nothing that was changed by hand is healed, and nothing is applied: " +
		"a nginxconfig command is rejected, and the newest revision is applied when the pause ends. " +
		"nginx is still started when it dies, and a reload that is ordered is done. " +
		"The pause holds over restarts and ends by itself, by the broker's time, never by the node's own clock. " +
		"A second one replaces the first.",
	Lane:    laneNginx,
	Role:    subjects.Operator,
	Domain:  "nginx",
	Returns: nginx.Pause{},
	Example: PauseBody{For: "1h", Reason: "looking for a slow upstream"},
	Handle: func(ctx context.Context, n *Node, c Command[PauseBody]) (Result, error) {
		d := usualPause
		if c.Body.For != "" {
			var err error
			if d, err = time.ParseDuration(c.Body.For); err != nil {
				return Result{}, fleet.Errorf(fleet.Invalid, "body of pause: for: %q is no time: write it as in 30m or 24h", c.Body.For)
			}
		}
		if len(c.Body.Reason) > mostReason {
			return Result{}, fleet.Errorf(fleet.Invalid, "body of pause: reason: it has %d bytes: at most %d", len(c.Body.Reason), mostReason)
		}
		p, err := n.Nginx.Pause(ctx, nginx.Pause{By: c.From, Reason: c.Body.Reason, For: d})
		if err != nil {
			return Result{}, err
		}
		return Result{Changed: true, Message: line(fmt.Sprintf("%s; `fairlead resume %s` ends it", p, n.Name)), Data: p}, nil
	},
})
