package handlers

import (
	"context"

	"fairlead/subjects"
)

// ResumeBody is empty: resume takes no parameters.
type ResumeBody struct{}

var _ = define(Definition[ResumeBody]{
	Method:  "resume",
	Summary: "end a pause before its time is over",
	Details: "What was changed by hand meanwhile is healed or reported, as the node's policy says, and the newest revision is applied.",
	Lane:    laneNginx,
	Role:    subjects.Operator,
	Domain:  "nginx",
	Handle: func(ctx context.Context, n *Node, c Command[ResumeBody]) (Result, error) {
		was, err := n.Nginx.Resume(ctx, c.From)
		if err != nil {
			return Result{}, err
		}
		if !was {
			return Result{Message: "there was no pause"}, nil
		}
		return Result{Changed: true, Message: "the pause is over"}, nil
	},
})
