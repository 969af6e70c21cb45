package agent_test

import (
	"context"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// What a node reports while it has no link is stored when it has one again, whether
// or not the node has an nginx that looks at its state from time to time.
func TestAReportThatWasNotStoredIsStoredLater(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	p := newProxy(t, n.url)
	said, say := make(chan error, 1), make(chan struct{})
	teller := handlers.Of(handlers.Definition[struct{}]{
		Method: "tell", Summary: "reports when it is told to", Role: subjects.Operator, Domain: "nginx",
		Handle: func(context.Context, *handlers.Node, handlers.Command[struct{}]) (handlers.Result, error) {
			return handlers.Result{}, nil
		},
		Serve: func(ctx context.Context, n *handlers.Node) error {
			select {
			case <-say:
				said <- n.State.Report(ctx, handlers.MethodNginxConfig, "nginx", handlers.Reported{ObservedRevision: 7})
			case <-ctx.Done():
			}
			return nil
		},
	})
	n.start(t, func(c *agent.Config) { c.URL, c.Registry = p.url(), handlers.New(teller) })
	n.becomes(t, station.Online)
	p.cut()
	close(say)
	<-said // an error or not: there is no link
	p.heal()
	eventually(t, "the report is there", func() bool { return n.detail(t).ObservedRevision == 7 })
}
