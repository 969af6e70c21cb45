package main

import (
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func userShow(a *app) *cobra.Command {
	var o authorityFlags
	c := &cobra.Command{
		Use: "show NAME", Short: "show a user, and all that the broker lets it do", Args: cobra.ExactArgs(1),
		Example:           `  fairlead user show alice`,
		ValidArgsFunction: a.completeUsers(&o),
		RunE: func(_ *cobra.Command, args []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			u, err := au.Find(args[0])
			if err != nil {
				return err
			}
			whole := struct {
				identity.User
				Permissions subjects.Permissions `json:"permissions"`
			}{u, au.Permissions(u)}
			return a.print(whole, func(t *table) {
				t.row("user", u.Name)
				t.row("role", string(u.Role))
				t.row("limited to", limitsText(u))
				t.row("key", u.Key)
				t.row("issued", u.Issued.Format(time.RFC3339))
				t.row("expires", expiresText(u.Expires, time.Now()))
				credentials := u.CredsFile
				if credentials == "" {
					credentials = "given away; the directory keeps the JWT alone"
				}
				t.row("credentials", credentials)
				for _, s := range whole.Permissions.Publish {
					t.row("publish", s)
				}
				for _, s := range whole.Permissions.Subscribe {
					t.row("subscribe", s)
				}
			}, func() []string { return []string{u.Name} })
		},
	}
	o.flags(c.Flags())
	return c
}
