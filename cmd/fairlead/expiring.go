package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

func newExpiring(a *app) *cobra.Command {
	var o authorityFlags
	within := days(30 * 24 * time.Hour)
	c := &cobra.Command{
		Use: "expiring [--within 30d]", Short: "list the JWTs and certificates that end soon, and what renews them", Args: cobra.NoArgs,
		Long: `Looks at the users and certificates of the identity directory, and where a station answers at the certificates that nodes
serve. What renews itself is listed too: when it is still here shortly before its end, that does not work.

The exit code is 1 where something has ended already, 3 where something ends, 0 where nothing does.`,
		Example: `  fairlead expiring --within 30d
  fairlead expiring --within 1w --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			now := time.Now()
			before := now.Add(time.Duration(within))
			all, err := au.Expiring(before)
			if err != nil {
				return err
			}
			all = append(all, a.servedExpiring(cmd.Context(), before)...)
			return a.printExpiring(all, now)
		},
	}
	o.flags(c.Flags())
	c.Flags().Var(&within, "within", "how soon")
	return c
}

// servedExpiring are the certificates that nodes serve, where a station can be
// asked.
func (a *app) servedExpiring(ctx context.Context, before time.Time) []identity.Expiry {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	a.progress("asking for the certificates that nodes serve")
	c, err := a.open(ctx)
	if err != nil {
		a.say("%s the certificates that nodes serve are not known: %v", a.paint(dim, "·"), err)
		return nil
	}
	defer c.Close()
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{})
	if err != nil {
		a.say("%s the certificates that nodes serve are not known: %v", a.paint(dim, "·"), err)
		return nil
	}
	var all []identity.Expiry
	for _, n := range nodes {
		if e := n.Expiring; e != nil && e.NotAfter.Before(before) {
			all = append(all, identity.Expiry{Kind: "served certificate", Name: e.Name + " on " + n.Name, Expires: e.NotAfter, Renew: "renew it and `fairlead apply`"})
		}
	}
	return all
}

func (a *app) printExpiring(all []identity.Expiry, now time.Time) error {
	if all == nil {
		all = []identity.Expiry{}
	}
	err := a.print(all, func(t *table) {
		if len(all) > 0 {
			t.row("EXPIRES", "WHAT", "NAME", "RENEW")
		}
		for _, e := range all {
			t.row(expiresText(e.Expires, now), e.Kind, e.Name, e.Renew)
		}
	}, func() []string {
		var names []string
		for _, e := range all {
			names = append(names, e.Name)
		}
		return names
	})
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Expires.Before(now) {
			return exitError(message.ExitFailed)
		}
	}
	if len(all) > 0 {
		return exitError(message.ExitPending)
	}
	a.say("nothing ends")
	return nil
}
