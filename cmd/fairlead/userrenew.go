package main

import (
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
)

func userRenew(a *app) *cobra.Command {
	var o authorityFlags
	var due bool
	var ttl days
	c := &cobra.Command{
		Use: "renew [NAME … | --due]", Short: "issue JWTs anew, for the same keys",
		Long: `A JWT is renewed for as long as it held before. People and stations take the new one from the broker when they next
connect; a creds file in the directory has it at once. Nodes renew theirs by themselves.

With --due those of people and stations are renewed of which two thirds of the time are over: run it once a day where
the identity directory lies. ` + "`fairlead dev`, and `fairlead broker`" + ` where it has the keys, do so by themselves.`,
		Example: `  fairlead user renew alice
  fairlead user renew --due
  fairlead user renew guest --ttl 7d`,
		ValidArgsFunction: a.completeUsers(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			if due == (len(args) > 0) {
				return usagef("give NAME or --due: `fairlead user renew --due` renews what is due")
			}
			if due && cmd.Flags().Changed("ttl") {
				return usagef("--ttl goes with NAME")
			}
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			renewed := []identity.User{}
			if due {
				found, err := au.RenewDue()
				renewed = append(renewed, found...)
				if err != nil {
					return err
				}
			}
			for _, name := range args {
				u, err := au.Renew(name, time.Duration(ttl))
				if err != nil {
					return err
				}
				renewed = append(renewed, u)
			}
			err = a.print(renewed, func(t *table) {
				if len(renewed) > 0 {
					t.row("RENEWED", "ROLE", "EXPIRES")
				}
				for _, u := range renewed {
					t.row(u.Name, string(u.Role), expiresText(u.Expires, time.Now()))
				}
			}, func() []string { return userNames(renewed) })
			if err != nil {
				return err
			}
			if len(renewed) == 0 {
				a.say("nothing is due")
				return nil
			}
			return a.change(cmd.Context(), o, au, news{renewed: renewed, trust: true})
		},
	}
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	c.Flags().BoolVar(&due, "due", false, "all people and stations of which two thirds of the time are over")
	c.Flags().Var(&ttl, "ttl", "how long it holds, instead of as long as before")
	return c
}
