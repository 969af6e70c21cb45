package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

func userList(a *app) *cobra.Command {
	var o authorityFlags
	c := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "list the users of a tenant", Args: cobra.NoArgs,
		Long: `Lists who the directory has issued a JWT for. Nodes that joined by a token are not among them: ` + "`fairlead nodes`" + ` lists those.`,
		Example: `  fairlead user ls
  fairlead user ls --tenant shop -o wide`,
		RunE: func(*cobra.Command, []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			users, err := au.Users()
			if users == nil {
				users = []identity.User{}
			}
			now := time.Now()
			perr := a.print(users, func(t *table) {
				if len(users) > 0 {
					t.row("USER", "ROLE", "LIMITED TO", "EXPIRES").more("KEY", "CREDENTIALS")
				}
				for _, u := range users {
					t.row(u.Name, string(u.Role), limitsText(u), expiresText(u.Expires, now)).more(u.Key, u.CredsFile)
				}
			}, func() []string { return userNames(users) })
			if err != nil || perr != nil {
				return firstOf(perr, a.partly(err))
			}
			if len(users) == 0 {
				a.say("tenant %q has no users yet: `fairlead user create` makes one", au.Tenant())
				return exitError(message.ExitNothing)
			}
			return nil
		},
	}
	o.flags(c.Flags())
	return c
}

// partly says what could not be read where the rest was shown: that some of it
// is missing is no wrong use.
func (a *app) partly(err error) error {
	if err == nil {
		return nil
	}
	for _, line := range strings.Split(err.Error(), "\n") { // errors.Join's
		a.say("%s %s", a.paint(red, "not read:"), line)
	}
	return exitError(message.ExitFailed)
}

func userNames(users []identity.User) []string {
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	return names
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
