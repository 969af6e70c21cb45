package agent_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// A handler that does not listen is left behind: the agent says so and ends, and
// the next one tells what is known of the command.
func TestAHandlerThatDoesNotEndDoesNotHoldTheAgent(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	cfg, err := agentConfig(n.dir(), n.url, n.name, n.state)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Registry, cfg.Grace, cfg.Overrun = registry(n.effects, nil), time.Millisecond, time.Millisecond
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	id := n.begun(t, deaf, "x", "never")
	defer n.open(t, "never")
	cancel()
	if err := <-ended; fleet.KindOf(err) != fleet.Timeout || !strings.Contains(err.Error(), "deaf.x ("+id+")") {
		t.Errorf("the agent ended with %v", err)
	}

	n.start(t, nil)
	if end := n.end(t, id); end.State != message.FailedEnd || end.Kind != fleet.Interrupted || n.count(t, id) != 1 {
		t.Errorf("it ended %s (%s) and ran %d times: %s", end.State, end.Kind, n.count(t, id), end.Message)
	}
	n.open(t, "never") // what was left behind says nothing more
	n.wellAfter(t)
}
