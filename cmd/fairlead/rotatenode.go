package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func rotateNode(a *app) *cobra.Command {
	var t targets
	var w waiting
	c := &cobra.Command{
		Use:   "node " + targetsUse,
		Short: "have nodes take another key",
		Long: `Each node makes another key, proves to a station that it holds both, and goes on with the new one. What the old key signed
counts for a day more, so that no answer that is on its way is lost. A key that was stolen is not rotated but taken back:
` + "`fairlead nodes rm NODE --revoke`" + `, and the node joins again.`,
		Example: `  fairlead rotate node ship1
  fairlead rotate node -l role=edge`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			body, err := json.Marshal(handlers.RenewIdentityBody{NewKey: true})
			if err != nil {
				return err
			}
			return a.simple(ctx, c, args, &t, &w, handlers.MethodRenewIdentity, message.LifecycleDomain, body)
		}),
	}
	t.flags(a, c)
	w.flags(a, c)
	return c
}
