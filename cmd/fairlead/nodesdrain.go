package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/station"
)

func newNodesDrain(a *app) *cobra.Command {
	var t targets
	var why reason
	c := &cobra.Command{
		Use:   "drain " + targetsUse,
		Short: "leave nodes out of selections and rollouts",
		Long: `Takes nodes out of what is done to many: no -l, --field or --all chooses them for a command, and no rollout has them in its
waves. They are shown everywhere, do what somebody tells them by name, and still become what the resources say that select
them: ` + "`fairlead pause`" + ` leaves a node's nginx as it is. --include-drained chooses them all the same.`,
		Example: `  fairlead nodes drain ship1 -m 'in the dockyard until June'
  fairlead nodes drain -l region=eu`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			to, err := t.find(ctx, a, c, args)
			if err != nil {
				return err
			}
			changed, err := c.Edit(ctx, to.names, func(r *station.NodeRecord) error {
				if r.Drained == nil || why != "" && r.Drained.Reason != string(why) {
					r.Drained = &station.Drain{By: c.Me(), At: time.Now().UTC().Truncate(time.Second), Reason: string(why)}
				}
				return nil
			})
			return a.printChanged(to.names, changed, "drained", err)
		}),
	}
	t.editFlags(a, c)
	why.flagFor(c, "for those who wonder")
	return c
}

func newNodesUncordon(a *app) *cobra.Command {
	t := targets{}
	c := &cobra.Command{
		Use:     "uncordon " + targetsUse,
		Aliases: []string{"undrain"},
		Short:   "have selections and rollouts choose drained nodes again",
		Example: `  fairlead nodes uncordon ship1
  fairlead nodes uncordon --field drained=true`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			t.drained = true // they are what it is about
			to, err := t.find(ctx, a, c, args)
			if err != nil {
				return err
			}
			changed, err := c.Edit(ctx, to.names, func(r *station.NodeRecord) error {
				r.Drained = nil
				return nil
			})
			return a.printChanged(to.names, changed, "uncordoned", err)
		}),
	}
	t.editFlags(a, c)
	c.Flags().Lookup("include-drained").Hidden = true
	return c
}
