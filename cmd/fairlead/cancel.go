package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

func newCancel(a *app) *cobra.Command {
	var w waiting
	c := &cobra.Command{
		Use:   "cancel ID …",
		Short: "call off commands that have not begun",
		Long: `Calls off waiting commands. To a node that is not there the cancellation waits beside the command
and is read first; a command that runs or has ended is left alone, and the answer says so.`,
		Example: `  fairlead cancel 01KAM3S2Y1C6Q8Z5V7W9X0ABCD`,
		Args:    cobra.MinimumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			var commands []client.Command
			for _, id := range args {
				found, err := c.Command(ctx, id)
				if err != nil {
					return err
				}
				switch {
				case found.State == "":
					return fleet.Errorf(fleet.Unknown, "no command %s waits or ended lately: `fairlead audit --id %s` looks further back", id, id)
				case found.State.Final():
					return fleet.Errorf(fleet.Conflict, "command %s has ended already: %s", id, found.State)
				}
				target, err := subjects.Parse(found.Waiting.Subject)
				if err != nil {
					return err
				}
				s, err := subjects.Build(target.Node, subjects.Command, subjects.MethodCancel, target.Method)
				if err != nil {
					return err
				}
				body, err := json.Marshal(handlers.CancelBody{ID: id})
				if err != nil {
					return err
				}
				commands = append(commands, client.Command{Subject: s, Body: body})
			}
			outcomes, err := a.sendAndWait(ctx, c, commands, w.timeout)
			if err != nil {
				return err
			}
			return a.printOutcomes(ctx, c, outcomes)
		}),
	}
	w.flags(c)
	return c
}
