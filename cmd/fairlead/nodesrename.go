package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
)

func newNodesRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "say how a host gets another name",
		Long: `A node's name cannot be changed in place. It is in its JWT and so in what the broker lets it say, and under the signatures of
its waiting commands, its answers and its desired state: nobody but who signed them could write them anew, and what waits for
a node that is away would be lost. So the host joins again under the new name, and the old one is taken out. This says how,
with the labels that the node has, and changes nothing.`,
		Example:           `  fairlead nodes rename ship1 ship2`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			before, after := args[0], args[1]
			if err := fleet.CheckNode(after); err != nil {
				return err
			}
			r, err := c.Registered(ctx, before)
			if fleet.KindOf(err) == fleet.Unknown {
				return fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", before)
			}
			if err != nil {
				return err
			}
			if _, err := c.Registered(ctx, after); fleet.KindOf(err) != fleet.Unknown {
				return fleet.Errorf(fleet.Conflict, "there is a node %q already", after)
			}
			token := "fairlead token create --node " + after
			for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
				token += " --label " + key + "=" + r.Labels[key]
			}
			if r.Address != "" {
				token += " --address " + r.Address
			}
			return fleet.Errorf(fleet.Refused, "%s", strings.Join([]string{
				"a node's name cannot be changed in place: it is in its JWT and under the signatures of all that concerns it. Have the host join anew:",
				"  fairlead cancel " + before + "          what waits for it would find nobody",
				"  " + token,
				"  then on the host, with the agent stopped: mv its state/identity aside, and the line that the token's creation prints",
				"  fairlead nodes rm " + before,
			}, "\n"))
		}),
	}
}
