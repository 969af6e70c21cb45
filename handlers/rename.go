package handlers

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// RenameBody says what the node is to be called.
type RenameBody struct {
	// To is the name, which no node has.
	To string `json:"to,omitempty"`
}

// Renamed is what the node is from then on.
type Renamed struct {
	// Name is the new one.
	Name string `json:"name"`
	// Key is its public key, made for that name.
	Key string `json:"key"`
	// Until is when its JWT ends, unless it is renewed.
	Until time.Time `json:"until"`
}

// MethodRename is the method by which a node gets another name.
const MethodRename = "rename"

var _ = define(Definition[RenameBody]{
	Method:  MethodRename,
	Summary: "have the node go on under another name",
	Details: "The node makes a key for the name and shows a station this very command, which is all that it takes to become that node: " +
		"the station enters it into the register with the labels and the address that it has. The answer is the node's last word under its old name; " +
		"what it still has to say is sent, then it goes on under the new one. nginx is left as it is. " +
		"Where the station refuses, the node stays what it is and the answer says why. " +
		"`fairlead nodes rename` sends it, waits, and takes the old name out of the register.",
	Role:    subjects.Admin,
	Domain:  "agent",
	Returns: Renamed{},
	Example: RenameBody{To: "ship7"},
	Handle: func(ctx context.Context, n *Node, c Command[RenameBody]) (Result, error) {
		if err := fleet.CheckNode(c.Body.To); err != nil {
			return Result{}, err
		}
		if c.Body.To == n.Name {
			return Result{Message: "the node has that name"}, nil
		}
		if n.Identity == nil {
			return Result{}, fleet.Errorf(fleet.Failed, "this node's credentials are not of the kind that is renewed: have it join with a token, under the new name")
		}
		key, until, err := n.Identity.Rename(ctx, c.Body.To, c.Signed())
		if err != nil {
			return Result{}, err
		}
		return Result{Changed: true, Message: "is " + c.Body.To + " from now on, key " + key,
			Data: Renamed{c.Body.To, key, until.UTC()}}, nil
	},
})
