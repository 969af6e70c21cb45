package handlers

import (
	"context"
	"fmt"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Identity is what a node proves itself with.
type Identity interface {
	// Renew asks a station for a new JWT, for a new key if newKey, and returns
	// the key and when the JWT ends. The node's next words are signed by it. The
	// error is Unavailable where no station answers.
	Renew(ctx context.Context, newKey bool) (key string, until time.Time, err error)
	// Rename has a station make the node one of another name, by the signed command
	// that says so. Once that has its final answer the agent goes on as that node.
	// The error is what the station refuses it for, or Unavailable.
	Rename(ctx context.Context, to string, command message.Enclosed) (key string, until time.Time, err error)
}

// RenewIdentityBody says whether the key is to be another.
type RenewIdentityBody struct {
	// NewKey has the node make another key; without it the key stays and its
	// JWT is issued anew.
	NewKey bool `json:"newKey,omitempty"`
}

// RenewedIdentity is what the node proves itself with from then on.
type RenewedIdentity struct {
	// Key is its public key.
	Key string `json:"key"`
	// Until is when its JWT ends, unless it is renewed.
	Until time.Time `json:"until"`
}

// MethodRenewIdentity is the method by which a node's key is rotated.
const MethodRenewIdentity = "renewidentity"

var _ = define(Definition[RenewIdentityBody]{
	Method:  MethodRenewIdentity,
	Summary: "have the node ask for a new JWT, or take another key",
	Details: "A node renews its JWT by itself when two thirds of its life are over; this does it now. " +
		"With newKey the node makes another key and proves to a station that it holds both. " +
		"What the former key signed counts for a day more, so that no answer that is on its way is lost. " +
		"A key that was stolen is not rotated but taken back: `fairlead nodes rm NODE --revoke`, and the node joins again.",
	Role:    subjects.Admin,
	Domain:  "agent",
	Returns: RenewedIdentity{},
	Example: RenewIdentityBody{NewKey: true},
	Handle: func(ctx context.Context, n *Node, c Command[RenewIdentityBody]) (Result, error) {
		if n.Identity == nil {
			return Result{}, fleet.Errorf(fleet.Failed, "this node's credentials are not of the kind that is renewed: have it join with a token")
		}
		key, until, err := n.Identity.Renew(ctx, c.Body.NewKey)
		if err != nil {
			return Result{}, err
		}
		return Result{Changed: true, Message: fmt.Sprintf("key %s, good until %s", key, until.UTC().Format(time.RFC3339)), Data: RenewedIdentity{key, until.UTC()}}, nil
	},
})
