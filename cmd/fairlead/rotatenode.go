package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func rotateNode(a *app) *cobra.Command {
	var t targets
	var w waiting
	var o authorityFlags
	var finish bool
	c := &cobra.Command{
		Use:   "node " + targetsUse,
		Short: "have nodes take another key",
		Long: `Each node makes another key, proves to a station that it holds both, and goes on with the new one. What the old key signed
counts for a day more, so that no answer that is on its way is lost. Brokers let the old key in no more where the identity
directory is at hand (--dir); else --finish does that there, later, for nodes that have shown their new key. A key that was
stolen is not rotated but taken back: ` + "`fairlead nodes rm NODE --revoke`" + `, and the node joins again.`,
		Example: `  fairlead rotate node ship1
  fairlead rotate node -l role=edge
  fairlead rotate node ship1 --finish`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			nodes, err := t.find(ctx, a, c, args)
			if err != nil {
				return err
			}
			if finish {
				return a.endFormer(ctx, o, c, nodes.names, false)
			}
			body, err := json.Marshal(handlers.RenewIdentityBody{NewKey: true})
			if err != nil {
				return err
			}
			outcomes, err := a.command(ctx, c, nodes, handlers.MethodRenewIdentity, message.LifecycleDomain, body, w)
			if err != nil {
				return err
			}
			told := a.printOutcomes(ctx, c, outcomes)
			var done []string
			for _, one := range outcomes {
				if one.State == message.Succeeded {
					done = append(done, one.Node)
				}
			}
			if len(done) > 0 {
				told = firstOf(told, a.endFormer(ctx, o, c, done, true))
			}
			return told
		}),
	}
	c.Flags().BoolVar(&finish, "finish", false, "have brokers let in the old keys of nodes no more that have shown their new ones")
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	t.flags(a, c)
	w.flags(a, c)
	return c
}

// endFormer has brokers let in no more the keys that nodes had before. just says
// that they have taken others this moment: then it is left for later where the
// identity directory is not here.
func (a *app) endFormer(ctx context.Context, o authorityFlags, c *client.Client, nodes []string, just bool) error {
	if dir := a.identityDir(o); just && !there(filepath.Join(dir, "operator.jwt")) {
		a.say("the old key opens a connection until its JWT ends; where the identity directory is, `fairlead rotate node %s --finish` ends that", nodes[0])
		return nil
	}
	au, err := a.authority(o)
	if err != nil {
		return err
	}
	keys, waits, err := c.FormerKeys(ctx, nodes, just)
	if err == nil {
		err = au.EndKeys(keys...)
	}
	if err != nil {
		return fmt.Errorf("take the old keys back: %w", err)
	}
	if len(waits) > 0 {
		a.say("%s shown no new key yet: its old one stays", strings.Join(waits, ", ")+note(len(waits) == 1, " has", " have"))
	}
	if len(keys) == 0 {
		return nil
	}
	a.say("brokers let in %s no more; what was signed with it counts for its day", count(len(keys), "old key"))
	return a.tellRevoked(ctx, o, au)
}
