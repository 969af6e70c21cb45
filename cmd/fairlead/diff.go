package main

import (
	"context"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/manifest"
)

func newDiff(a *app) *cobra.Command {
	var paths []string
	c := &cobra.Command{
		Use:   "diff -f PATH",
		Short: "show what an apply would change, as resources and as nginx files",
		Long: `Compares files with what is stored, and what every node runs with what it would run.
Nodes for which the same would change are shown together, with the digest that they must report afterwards.`,
		Example: `  fairlead diff -f examples/proxy`,
		Args:    cobra.NoArgs,
		RunE: a.withSet(&paths, func(ctx context.Context, c *client.Client, set manifest.Set) error {
			return a.printPlan(ctx, c, set, false)
		}),
	}
	pathFlag(c, &paths)
	return c
}
