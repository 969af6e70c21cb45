package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
)

func newUser(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "make, list, renew and revoke people, stations and nodes",
		Long: `Works on an identity directory, which ` + "`fairlead init`, `fairlead broker` or `fairlead dev`" + ` made. A user is a key and a JWT
that says for how long and as what it is let in; what a role may do stands in the account, and is the same for all
who have it. Changes reach running brokers, stations and nodes at once.`,
		Args: cobra.NoArgs,
		Example: `  fairlead user create alice --role operator
  fairlead user create olga --role operator --nodes ship1,ship2 --methods reload,healthreport
  fairlead user revoke alice`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(userCreate(a), userList(a), userShow(a), userRenew(a), userRevoke(a))
	return c
}

// limitsText says what a user is limited to.
func limitsText(u identity.User) string {
	var parts []string
	if len(u.Nodes) > 0 {
		parts = append(parts, "nodes "+strings.Join(u.Nodes, ","))
	}
	if len(u.Methods) > 0 {
		parts = append(parts, "methods "+strings.Join(u.Methods, ","))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, "; ")
}

// expiresText is when something ends.
func expiresText(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "never"
	case at.Before(now):
		return at.Format(time.DateOnly) + ", EXPIRED"
	case at.Sub(now) < 30*24*time.Hour:
		return at.Format(time.DateOnly) + ", in " + span(at.Sub(now))
	}
	return at.Format(time.DateOnly)
}
