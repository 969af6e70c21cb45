package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func newNodesRemove(a *app) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "rm NODE",
		Short: "take a node out of the fleet",
		Long: `Takes the node out of the register: stations believe nothing that it says from then on, compile nothing for it and do not
renew its JWT. Its nginx goes on with what it has. Another host may join under its name.`,
		Example:           `  fairlead nodes rm ship1`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if !yes {
				if ok, err := a.ask(fmt.Sprintf("take %s out of the fleet?", args[0])); err != nil || !ok {
					return cmp.Or(err, error(exitError(message.ExitRefused)))
				}
			}
			if _, err := c.RemoveNode(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "removed %s\n", args[0])
			return nil
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
