package handlers

import (
	"context"
	"fmt"
	"time"

	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// laneNginx is shared by all handlers that touch nginx.
const laneNginx = "nginx"

// MethodReload is the method of reload, which the agent names too.
const MethodReload = "reload"

// ReloadBody is empty: reload takes no parameters.
type ReloadBody struct{}

var _ = define(Definition[ReloadBody]{
	Method:  MethodReload,
	Summary: "reload nginx and prove that new workers serve",
	Details: "nginx reads its running version again, for example after a certificate file or a name's address changed. " +
		"The command succeeds when every worker is new and the status socket answers with the running digest. " +
		"A desired revision that failed here before is tried once more after it. " +
		"A reload that happened after the command had reached the node counts as this one: " +
		"a node that was offline reloads once, not once for each thing that waited.",
	Lane:    laneNginx,
	Latest:  true,
	Durable: true,
	Timeout: 2 * time.Minute,
	Role:    subjects.Operator,
	Domain:  "nginx",
	Returns: nginx.Verdict{},
	Handle: func(ctx context.Context, n *Node, c Command[ReloadBody]) (Result, error) {
		since := c.Received
		if c.Resumed {
			since = c.Started
		}
		verdict, err := n.Nginx.Reload(ctx, true, since)
		if err != nil {
			return Result{}, err
		}
		n.Nginx.Pardon("")                      // who reloads wants what failed to be tried again
		changed := verdict.Changed || c.Resumed // by this run, or the one that was cut off
		message := fmt.Sprintf("reloaded: %d new workers", verdict.Workers)
		if !changed {
			message = "nginx was reloaded after this command had come: not done again"
		}
		return Result{Changed: changed, Message: message, Data: verdict}, nil
	},
})
