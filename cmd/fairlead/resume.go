package main

import (
	"context"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
)

func newResume(a *app) *cobra.Command {
	var t targets
	var w waiting
	c := &cobra.Command{
		Use:   "resume " + targetsUse,
		Short: "end a pause before its time is over",
		Example: `  fairlead resume node1
  fairlead resume -l region=eu`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return a.simple(ctx, c, args, &t, &w, "resume", "nginx", nil)
		}),
	}
	t.flags(a, c)
	w.flags(a, c)
	w.waitFlag(c, true)
	return c
}
