package handlers

import (
	"context"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// CancelBody names the command to call off.
type CancelBody struct {
	ID string `json:"id"` // of a command that waits on the same node
}

var _ = define(Definition[CancelBody]{
	Method:  subjects.MethodCancel,
	Summary: "call off a command that has not begun",
	Details: "The domain is the method of the command to call off. A waiting command ends cancelled and names this one; " +
		"one that runs or has ended is left alone, and this command is rejected and says so. " +
		"To a node that is offline both wait in its mailbox, and cancellations are read first.",
	Role:   subjects.Operator,
	Domain: "reload", AnyDomain: true,
	Example: CancelBody{ID: "01KAM3S2Y1C6Q8Z5V7W9X0ABCD"},
	Handle: func(ctx context.Context, n *Node, c Command[CancelBody]) (Result, error) {
		if c.Body.ID == "" {
			return Result{}, fleet.Errorf(fleet.Invalid, "body of cancel: id is empty: name the command to call off")
		}
		if err := n.Queue.Cancel(ctx, c.Body.ID, c.ID); err != nil {
			return Result{}, err
		}
		return Result{Changed: true, Message: "called off " + c.Body.ID}, nil
	},
})
