package dev_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// busy is a handler that keeps nginx's lane until a file is there.
func busy(gate string, begun chan<- struct{}) handlers.Handler {
	return handlers.Of(handlers.Definition[struct{}]{Method: "busy", Summary: "wait", Lane: "nginx", Role: subjects.Operator, Domain: "nginx",
		Handle: func(ctx context.Context, _ *handlers.Node, _ handlers.Command[struct{}]) (handlers.Result, error) {
			close(begun)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				if _, err := os.Stat(gate); err == nil {
					return handlers.Result{}, nil
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return handlers.Result{}, ctx.Err()
				}
			}
		}})
}

// Who sent the command waits for its own outcome.
func TestTheNodesOwnConvergenceTakesNoCommandsPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	gate, begun := filepath.Join(r.Data(), "gate"), make(chan struct{})
	r.agentWith(0, func(c *agent.Config) {
		c.HealthEvery, c.ConvergeEvery = 500*time.Millisecond, 100*time.Millisecond
		c.Registry = handlers.New(append(handlers.All().Handlers(), busy(gate, begun))...)
	})
	ctx, cancel := patient(t)
	defer cancel()
	if _, err := r.client.Send(ctx, client.Command{Subject: subjects.Subject{Node: "node1", Direction: subjects.Command, Method: "busy", Domain: "nginx"}}); err != nil {
		t.Fatal(err)
	}
	<-begun
	told := apply(t, r.client, set(t, site("s", "", 8080, "applied")), false)
	// By the node's own reports there was time for several convergences.
	first := node(t, r.client, "node1").LastSeen
	eventually(t, "the node reports for a while", func() bool { return node(t, r.client, "node1").LastSeen.After(first.Add(4 * time.Second)) })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes(t, r.client, told) {
		if o.State != message.Succeeded || !o.Answer.Changed {
			t.Errorf("ended %s: %s", o.State, o.Answer.Message)
		}
	}
	serves(t, r.nodes[0].Address, 8080, "applied")
	endedOnce(t, r.client, "node1")
}
