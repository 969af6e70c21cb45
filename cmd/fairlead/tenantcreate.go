package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
)

func tenantCreate(a *app) *cobra.Command {
	var o authorityFlags
	var q quotaFlags
	var admin, out string
	c := &cobra.Command{
		Use: "create NAME", Short: "make a tenant with an administrator and a station", Args: cobra.ExactArgs(1),
		Long: `Makes the account with its keys, an administrator and a station, and tells the running brokers. The quota is held by the
brokers, but for the nodes, which stations hold. Then start its station: each tenant has its own.`,
		Example: `  fairlead tenant create shop --max-nodes 500 --max-storage 10G --max-streams 40
  fairlead tenant create shop --admin shopkeeper --out handout`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.identityDir(o)
			o.tenant = args[0]
			if out == "" && identity.Encrypted(dir) {
				out = args[0]
			}
			a.progress("making the keys of tenant %s", args[0])
			au, err := identity.CreateTenant(dir, a.authorityOptions(o, dir), q.Quota)
			if err != nil {
				return err
			}
			users, err := a.firstUsers(au, admin, out)
			if err != nil {
				return err
			}
			made, err := a.userContext(au, users[0], out, au.Tenant())
			if err != nil {
				a.say("the NATS context was not written: %v", err)
			}
			r, err := rowOf(au)
			if err != nil {
				return err
			}
			if err := a.printTenants([]tenantRow{r}); err != nil {
				return err
			}
			if made != "" {
				a.say("context %s: `fairlead nodes --context %s`", made, made)
			}
			a.say("next: `%s`", startStation(au, users[1].CredsFile))
			accounts, err := accountOf(au)
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), o, au, news{accounts: accounts})
		},
	}
	tenantFlags(c, &o)
	q.flags(c.Flags())
	c.Flags().StringVar(&admin, "admin", "admin", "`NAME` of its administrator")
	c.Flags().StringVar(&out, "out", "", "`DIR` to write the administrator's and the station's credentials to, keeping no private key of theirs here")
	return c
}

// tenantFlags are those of verbs that name the tenant as an argument.
func tenantFlags(c *cobra.Command, o *authorityFlags) {
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	_ = c.Flags().MarkHidden("tenant") // the flag is made above
}

func tenantSet(a *app) *cobra.Command {
	var o authorityFlags
	var q quotaFlags
	c := &cobra.Command{
		Use: "set NAME --max-…", Short: "change a tenant's quota", Args: cobra.ExactArgs(1),
		Long: `Bounds that are not given stay as they are; 0 takes one away. What is beyond a new bound already stays, and nothing comes
to it.`,
		Example:           `  fairlead tenant set shop --max-nodes 1000 --max-storage 50G`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.tenant = args[0]
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			want := q.given(cmd.Flags(), au.Quota())
			if want == au.Quota() {
				return usagef("give a bound that is another: `fairlead tenant ls` shows those of now")
			}
			if err := au.SetQuota(want); err != nil {
				return err
			}
			r, err := rowOf(au)
			if err != nil {
				return err
			}
			if err := a.printTenants([]tenantRow{r}); err != nil {
				return err
			}
			accounts, err := accountOf(au)
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), o, au, news{accounts: accounts, trust: true})
		},
	}
	tenantFlags(c, &o)
	q.flags(c.Flags())
	return c
}

func tenantRemove(a *app) *cobra.Command {
	var o authorityFlags
	var yes bool
	c := &cobra.Command{
		Use: "rm NAME", Short: "remove a tenant and its keys, for good", Args: cobra.ExactArgs(1),
		Long: `Brokers forget the account: all of its people, stations and nodes are cut off, and nobody can sign for it any more. What
its streams hold stays on the brokers' disks, below jetstream/ACCOUNT of their store, until you remove it there.`,
		Example:           `  fairlead tenant rm shop`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.tenant = args[0]
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			r, err := rowOf(au)
			if err != nil {
				return err
			}
			if !yes {
				question := fmt.Sprintf("remove tenant %q with %s for good? Its nodes are cut off", r.Name, count(r.Users, "user"))
				if ok, err := a.ask(question); err != nil || !ok {
					return firstOf(err, exitError(2))
				}
			}
			useless := contextsOf(func(c *identity.Credentials) bool { return c.Account == r.Account })
			deletion, err := au.RemoveTenant()
			if err != nil {
				return err
			}
			if err := a.printTenants([]tenantRow{r}); err != nil {
				return err
			}
			a.say("removed; what its streams hold lies below jetstream/%s of each broker's store", r.Account)
			a.tellContexts(useless)
			return a.change(cmd.Context(), o, au, news{deletion: deletion})
		},
	}
	tenantFlags(c, &o)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func tenantPush(a *app) *cobra.Command {
	var o authorityFlags
	c := &cobra.Command{
		Use: "push [NAME]", Short: "tell brokers and nodes what the directory says", Args: cobra.MaximumNArgs(1),
		Long: `Hands the accounts of all tenants, or of one, to the brokers, and their trust sets to nodes and stations. It is done by
itself after every change; use it where that could not reach somebody, or after --offline.`,
		Example: `  fairlead tenant push
  fairlead tenant push shop`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.tenant = args[0]
				au, err := a.authority(o)
				if err != nil {
					return err
				}
				return a.pushTenant(cmd.Context(), o, au)
			}
			all, err := a.tenants(o)
			if err != nil {
				return err
			}
			var worst error
			for _, au := range all {
				if err := a.pushTenant(cmd.Context(), o, au); err != nil {
					worst = err
				}
			}
			return worst
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("tenant")
	return c
}
