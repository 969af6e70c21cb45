package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/manifest"
)

func newDelete(a *app) *cobra.Command {
	var paths []string
	var dry, wait bool
	timeout := days(time.Minute)
	c := &cobra.Command{
		Use:   "delete -f PATH",
		Short: "remove resources; the nodes stop serving them",
		Example: `  fairlead delete -f examples/proxy --wait
  fairlead delete -f site.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: a.withSet(&paths, func(ctx context.Context, c *client.Client, set manifest.Set) error {
			if dry {
				return a.printPlan(ctx, c, set, true)
			}
			plan, err := c.Plan(ctx, set, true)
			if err != nil {
				return err
			}
			return a.carryOut(ctx, c, plan, wait, timeout)
		}),
	}
	pathFlag(c, &paths)
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would change and remove nothing")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the nodes that are there have proven the change")
	c.Flags().Var(&timeout, "timeout", "how long to wait; the change itself goes on")
	return c
}
