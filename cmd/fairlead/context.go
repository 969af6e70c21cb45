package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
)

func newContext(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "context",
		Args:  cobra.NoArgs,
		Short: "list and select the NATS contexts to connect by",
		Long:  "Contexts are those of the `nats` tool: the same files, the same selection.",
		Example: `  fairlead context ls
  fairlead context select fairlead-dev
  fairlead context add ships --url tls://broker.example.org:4222 --creds admin.creds`,
	}
	c.RunE = func(c *cobra.Command, args []string) error { return c.Help() }
	c.AddCommand(contextList(a), contextSelect(a), contextAdd(a), contextRemove(a))
	return c
}

func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, _ := bus.Contexts()
	return names, cobra.ShellCompDirectiveNoFileComp
}

// contextsOf are the names of the contexts whose credentials are somebody's.
func contextsOf(somebodys func(*identity.Credentials) bool) (names []string) {
	all, _ := bus.Contexts() // none where there are none
	for _, name := range all {
		c, err := bus.LoadContext(name)
		if err != nil {
			continue
		}
		if creds, _ := identity.LoadCreds(c.Creds); creds != nil && somebodys(creds) { // expired ones too
			names = append(names, name)
		}
	}
	return names
}

// tellContexts says which contexts are of no more use.
func (a *app) tellContexts(names []string) {
	for _, name := range names {
		a.say("the context %s is of no more use: `fairlead context rm %s` removes it", name, name)
	}
}

func contextList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "list the contexts; the selected one is marked", Args: cobra.NoArgs,
		Example: "  fairlead context ls",
		RunE: func(*cobra.Command, []string) error {
			names, err := bus.Contexts()
			if err != nil {
				return err
			}
			selected, err := bus.SelectedContext()
			if err != nil {
				selected = ""
			}
			type row struct {
				Name     string `json:"name"`
				URL      string `json:"url"`
				Creds    string `json:"creds,omitempty"`
				Selected bool   `json:"selected"`
			}
			rows := []row{}
			for _, name := range names {
				c, err := bus.LoadContext(name)
				if err != nil {
					a.say("%v", err)
					continue
				}
				rows = append(rows, row{name, c.URL, c.Creds, name == selected})
			}
			if len(rows) == 0 {
				a.say("no context yet: `fairlead dev` makes one, and so does `fairlead context add`")
			}
			return a.print(rows, func(t *table) {
				if len(rows) > 0 {
					t.row("SELECTED", "NAME", "URL", "CREDENTIALS")
				}
				for _, r := range rows {
					mark := ""
					if r.Selected {
						mark = "*"
					}
					t.row(mark, r.Name, r.URL, r.Creds)
				}
			}, func() []string { return names })
		},
	}
}

func contextSelect(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "select NAME", Short: "use a context from now on", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		Example: "  fairlead context select fairlead-dev",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := bus.SelectContext(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "selected %s\n", args[0])
			return nil
		},
	}
}

func contextAdd(a *app) *cobra.Command {
	var greetsFirst bool
	c := &cobra.Command{
		Use: "add NAME --url URL --creds FILE", Short: "make a context, or change one", Args: cobra.ExactArgs(1),
		Example: "  fairlead context add ships --url tls://broker.example.org:4222 --creds admin.creds",
		RunE: func(_ *cobra.Command, args []string) error {
			if a.url == "" || a.creds == "" {
				return usagef("give --url and --creds: fairlead context add ships --url tls://broker.example.org:4222 --creds admin.creds")
			}
			creds, err := loadCreds(a.creds)
			if err != nil {
				return err
			}
			// A context is used from any directory.
			secure := a.secureBy(bus.Context{}, a.url, a.creds)
			secure.GreetsFirst = greetsFirst
			for _, file := range []*string{&a.creds, &secure.CA, &secure.Cert, &secure.Key} {
				if *file != "" {
					if *file, err = filepath.Abs(*file); err != nil {
						return err
					}
				}
			}
			if err := saveContext(args[0], "Fairlead as "+creds.Name, a.url, secure, a.creds, creds.Name); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "added %s\n", args[0])
			return nil
		},
	}
	c.Flags().BoolVar(&greetsFirst, "greets-first", false, "the server speaks before TLS, as other than Fairlead's own do")
	return c
}

func contextRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "remove a context; its credentials file stays", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		Example: "  fairlead context rm ships",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := bus.RemoveContext(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "removed %s\n", args[0])
			return nil
		},
	}
}
