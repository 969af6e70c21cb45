package main

import (
	"context"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
)

func newReload(a *app) *cobra.Command {
	var t targets
	var w waiting
	c := &cobra.Command{
		Use:   "reload NODE | -l SELECTOR",
		Short: "reload nginx and wait until new workers are proven to serve",
		Example: `  fairlead reload node1
  fairlead reload -l region=eu --timeout 2m`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return a.simple(ctx, c, args, &t, &w, "reload", "nginx", nil)
		}),
	}
	t.flags(c)
	w.flags(c)
	return c
}

// simple sends one command to each target and prints how they ended.
func (a *app) simple(ctx context.Context, c *client.Client, args []string, t *targets, w *waiting, method, domain string, body []byte) error {
	nodes, err := t.find(ctx, c, args)
	if err != nil {
		return err
	}
	commands, err := each(nodes, method, domain, body, w.expires)
	if err != nil {
		return err
	}
	outcomes, err := a.sendAndWait(ctx, c, commands, w.timeout)
	if err != nil {
		return err
	}
	return a.printOutcomes(ctx, c, outcomes)
}
