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
		Use:   "reload " + targetsUse,
		Short: "reload nginx and wait until new workers are proven to serve",
		Example: `  fairlead reload node1
  fairlead reload -l region=eu --timeout 2m
  fairlead reload --field 'nginx.version<1.26,presence=online' --limit 10% --random-seed 7
  fairlead reload @nodes.txt`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return a.simple(ctx, c, args, &t, &w, "reload", "nginx", nil)
		}),
	}
	t.flags(a, c)
	w.flags(a, c)
	w.waitFlag(c, true)
	return c
}

// simple sends one command to each target and prints how they ended.
func (a *app) simple(ctx context.Context, c *client.Client, args []string, t *targets, w *waiting, method, domain string, body []byte) error {
	nodes, err := t.find(ctx, a, c, args)
	if err != nil {
		return err
	}
	return a.sendTo(ctx, c, nodes, method, domain, body, *w)
}
