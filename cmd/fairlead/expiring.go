package main

import (
	"context"
	"slices"
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
		Long: `Looks at the users and certificates of the identity directory, and where a station answers at the JWTs of nodes and the
certificates that they serve. What renews itself is listed too: when it is still here shortly before its end, that does not work.

The exit code is 1 where something has ended already or cannot be read, 3 where something ends, or where no station tells what ends on nodes,
0 where nothing does.`,
		Example: `  fairlead expiring --within 30d
  fairlead expiring --within 1w --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			now := time.Now()
			before := now.Add(time.Duration(within))
			all, unread := au.Expiring(before)
			known := make(map[string]bool)
			for _, e := range all {
				known[e.Name] = known[e.Name] || e.Kind == "node"
			}
			nodes, unknown := a.nodesExpiring(cmd.Context(), before, known)
			all = append(all, nodes...)
			slices.SortStableFunc(all, func(x, y identity.Expiry) int { return x.Expires.Compare(y.Expires) })
			err = a.printExpiring(all, now, within, unknown)
			return firstOf(a.partly(unread), err)
		},
	}
	o.flags(c.Flags())
	c.Flags().Var(&within, "within", "how soon")
	return c
}

// nodesExpiring are the JWTs of nodes that joined, and the certificates that
// nodes serve, where a station can be asked. Known are nodes whose JWT lies in
// the directory. The error is why they cannot be told.
func (a *app) nodesExpiring(ctx context.Context, before time.Time, known map[string]bool) (all []identity.Expiry, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	a.progress("asking what ends on nodes")
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if !n.JWTUntil.IsZero() && n.JWTUntil.Before(before) && !known[n.Name] {
			all = append(all, identity.Expiry{Kind: "node", Name: n.Name, Expires: n.JWTUntil, Renew: "by itself, while its agent runs"})
		}
		if e := n.Expiring; e != nil && e.NotAfter.Before(before) {
			all = append(all, identity.Expiry{Kind: "served certificate", Name: e.Name + " on " + n.Name, Expires: e.NotAfter, Renew: "renew it and `fairlead apply`"})
		}
	}
	return all, nil
}

// printExpiring shows what ends within a time; unknown is why more may end that nobody told of.
func (a *app) printExpiring(all []identity.Expiry, now time.Time, within days, unknown error) error {
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
	if unknown != nil {
		a.say("what ends on nodes is not known: %v", unknown)
	}
	for _, e := range all {
		if e.Expires.Before(now) {
			return exitError(message.ExitFailed)
		}
	}
	if len(all) > 0 || unknown != nil {
		return exitError(message.ExitPending)
	}
	a.say("nothing ends within %s", within.String())
	return nil
}
