package main

import (
	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
)

func tenantExport(a *app) *cobra.Command {
	var o authorityFlags
	var s identity.Share
	var remove bool
	c := &cobra.Command{
		Use: "export NAME SUBJECT", Short: "let a tenant share messages, or answers to requests", Args: cobra.ExactArgs(2),
		Long: `The tenant NAME shares what is published on SUBJECT, or with --service answers requests there. Nobody has it before
` + "`fairlead tenant import`" + ` grants it.`,
		Example: `  fairlead tenant export shop '*.event.healthreport.*'
  fairlead tenant export shop 'live.query.*' --service
  fairlead tenant export shop 'live.query.*' --service --remove`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.tenant, s.Subject = args[0], args[1]
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			if err := au.Export(s, remove); err != nil {
				return err
			}
			return a.shared(cmd, o, au)
		},
	}
	tenantFlags(c, &o)
	c.Flags().BoolVar(&s.Service, "service", false, "requests that it answers, instead of messages that it publishes")
	c.Flags().BoolVar(&remove, "remove", false, "share it no longer")
	return c
}

func tenantImport(a *app) *cobra.Command {
	var o authorityFlags
	var s identity.Share
	var remove bool
	c := &cobra.Command{
		Use: "import NAME SUBJECT --from TENANT", Short: "give a tenant what another one shares", Args: cobra.ExactArgs(2),
		Long: `The tenant NAME gets what --from exports on SUBJECT: the account of --from signs that it may. Its administrators hear, or
ask, it below live.import.TENANT, unless --as says otherwise; $1 stands for the first wildcard there.`,
		Example: `  fairlead tenant import hq '*.event.healthreport.*' --from shop
  fairlead tenant import hq 'live.query.*' --from shop --service
  fairlead tenant import hq 'live.query.*' --from shop --service --remove`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.tenant, s.Subject = args[0], args[1]
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			if err := au.Import(s, remove); err != nil {
				return err
			}
			return a.shared(cmd, o, au)
		},
	}
	tenantFlags(c, &o)
	f := c.Flags()
	f.StringVar(&s.From, "from", "", "the `TENANT` that exports it")
	f.StringVar(&s.Local, "as", "", "`SUBJECT` where it is heard or asked (default live.import.TENANT.SUBJECT)")
	f.BoolVar(&s.Service, "service", false, "requests that the other answers, instead of messages that it publishes")
	f.BoolVar(&remove, "remove", false, "take it away again")
	if err := c.MarkFlagRequired("from"); err != nil {
		panic(err) // the flag was made above
	}
	_ = c.RegisterFlagCompletionFunc("from", a.completeTenants(&o))
	return c
}

// shared prints what a tenant shares now, and tells the brokers.
func (a *app) shared(cmd *cobra.Command, o authorityFlags, au *identity.Authority) error {
	r, err := rowOf(au)
	if err != nil {
		return err
	}
	err = a.print(r, func(t *table) {
		t.row("TENANT", "SHARE", "SUBJECT", "WITH", "HEARD ON")
		kind := map[bool]string{false: "messages", true: "answers"}
		for _, s := range r.Exports {
			t.row(r.Name, "gives "+kind[s.Service], s.Subject, "whom `tenant import` grants it", "")
		}
		for _, s := range r.Imports {
			t.row(r.Name, "has "+kind[s.Service], s.Subject, s.From, s.Local)
		}
	}, func() []string { return []string{r.Name} })
	if err != nil {
		return err
	}
	accounts, err := accountOf(au)
	if err != nil {
		return err
	}
	return a.change(cmd.Context(), o, au, news{accounts: accounts})
}
