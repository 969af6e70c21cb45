package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/nginx"
)

func newPause(a *app) *cobra.Command {
	var t targets
	var w waiting
	var why reason
	length := days(time.Hour)
	c := &cobra.Command{
		Use:   "pause " + targetsUse,
		Short: "leave nginx as it is for a while, so that you can work on the node",
		Long: `Until the pause is over nothing that you change by hand on the node is healed, and nothing is applied there;
the newest revision is applied when it ends. nginx is still started when it dies. A pause ends by itself.`,
		Example: `  fairlead pause node1 --for 1h -m 'looking for a slow upstream'
  fairlead pause -l region=eu --for 30m`,
		ValidArgsFunction: a.completeMany,
		PreRunE: func(*cobra.Command, []string) error {
			if d := time.Duration(length); d <= 0 || d > nginx.MaxPause {
				return usagef("--for %s: give a time up to 7d", length.String())
			}
			return nil
		},
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			body, err := json.Marshal(handlers.PauseBody{For: time.Duration(length).String(), Reason: string(why)})
			if err != nil {
				return err
			}
			return a.simple(ctx, c, args, &t, &w, "pause", "nginx", body)
		}),
	}
	t.flags(a, c)
	w.flags(a, c)
	w.waitFlag(c, true)
	c.Flags().Var(&length, "for", "how long, up to 7d")
	why.flagFor(c, "for those who wonder")
	return c
}
