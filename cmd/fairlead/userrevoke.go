package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

func userRevoke(a *app) *cobra.Command {
	var o authorityFlags
	var why reason
	var since pastTime
	var yes bool
	c := &cobra.Command{
		Use: "revoke NAME", Short: "take a user's key out of everything, at once", Args: cobra.ExactArgs(1),
		Long: `Brokers disconnect the user and let its key in no more; nodes and stations believe nothing that it signs from now on,
those that are away before they run any command. What it wrote before stands: resources stay, and with --since, after a
theft, only those from before it. The name is free again.

The exit code is 3 where the directory is changed and a broker or the nodes could not be told yet.`,
		Example: `  fairlead user revoke alice -m 'left the company'
  fairlead user revoke alice --since 36h -m 'laptop stolen'
  fairlead user revoke ship7 --yes`,
		ValidArgsFunction: a.completeUsers(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			u, err := au.Find(args[0])
			if err != nil {
				return err
			}
			if !yes {
				if ok, err := a.ask(fmt.Sprintf("revoke %s %q of tenant %q? Its key is never taken again", u.Role, u.Name, au.Tenant())); err != nil || !ok {
					return firstOf(err, exitError(message.ExitRefused))
				}
			}
			useless := contextsOf(func(c *identity.Credentials) bool { return c.Key == u.Key })
			if u, err = au.RevokeSince(args[0], string(why), since.Time); err != nil {
				return err
			}
			if err := a.print(u, func(t *table) { t.row("revoked " + u.Name) }, func() []string { return []string{u.Name} }); err != nil {
				return err
			}
			a.tellContexts(useless)
			accounts, err := accountOf(au)
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), o, au, news{accounts: accounts, trust: true})
		},
	}
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	why.flagFor(c, "for those who read the trust set later")
	since.flag(c.Flags(), "when the key was stolen: what it wrote since is not believed either (default now)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
