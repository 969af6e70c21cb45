package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fairlead/pkg/fleet"
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// prepare has every command say what it takes when it is given something else,
// and note that it runs.
func (a *app) prepare(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var usage usageError
			switch {
			case err == nil:
				return lacking(c)
			case errors.As(err, &usage):
				return err
			}
			return wrongArguments(c, args)
		}
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			a.begun = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		a.prepare(sub)
	}
}

// lacking names a flag that must be given and is not, with what it is.
func lacking(c *cobra.Command) (err error) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[cobra.BashCompOneRequiredFlag] == nil || f.Changed || err != nil {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		value, what := pflag.UnquoteUsage(f)
		err = usagef("%s %s is missing: %s (see `%s --help`)", name, value, what, c.CommandPath())
	})
	return err
}

// positive refuses numbers of flags that count something below 1.
func positive(c *cobra.Command, _ []string) error {
	var wrong []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if n, err := c.Flags().GetInt(f.Name); err == nil && n < 1 {
			wrong = append(wrong, fmt.Sprintf("--%s %d: use 1 or more", f.Name, n))
		}
	})
	if len(wrong) > 0 {
		return usagef("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// wrongArguments says what a command takes instead.
func wrongArguments(c *cobra.Command, args []string) error {
	_, takes, _ := strings.Cut(c.Use, " ")
	usage := strings.TrimSpace(c.CommandPath() + " " + takes)
	if len(args) == 0 {
		return usagef("an argument is missing: write `%s`", usage)
	}
	if near := nearest(c, args[0]); near != "" {
		return usagef("`%s` has no %q: did you mean `%s`?", c.CommandPath(), args[0], near)
	}
	if c == c.Root() {
		return usagef("there is no command %q: `fairlead --help` lists those there are", args[0])
	}
	if takesCommand(c) {
		var names []string
		for _, sub := range c.Commands() {
			names = append(names, sub.Name())
		}
		return usagef("`%s` has no %q: use one of %s", c.CommandPath(), args[0], strings.Join(names, ", "))
	}
	for _, f := range []string{"plan", "nodes"} { // --dry-run alone is --dry-run=plan
		if args[0] == f && c.Flags().Changed("dry-run") {
			return usagef("too many arguments (%s): write `--dry-run=%[1]s`", f)
		}
	}
	return usagef("too many arguments (%s): write `%s`", strings.Join(args, " "), usage)
}

// wrongFlag says which flag was probably meant, or that it is the command before
// the flags that does not exist: `fairlead aply -f x` has no command to ask about -f.
func wrongFlag(c *cobra.Command, err error) error {
	if args := c.Flags().Args(); len(args) > 0 && (takesCommand(c) || nearest(c, args[0]) != "") {
		return wrongArguments(c, args)
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := fleet.Nearest(unknown.GetSpecifiedName(), known); near != "" && unknown.GetSpecifiedShortnames() == "" {
			return usagef("%w: did you mean --%s? (see `%s --help`)", err, near, c.CommandPath())
		}
	}
	return usagef("%w (see `%s --help`)", err, c.CommandPath())
}

// takesCommand reports whether a command does nothing but through its subcommands.
func takesCommand(c *cobra.Command) bool {
	return c == c.Root() || c.HasAvailableSubCommands() && !strings.Contains(c.Use, " ")
}

// helpOf is cobra's help, which would answer `fairlead frobnicate --help` with the
// help of fairlead and success.
func (a *app) helpOf(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(c *cobra.Command, args []string) {
		if rest := c.Flags().Args(); len(rest) > 0 && takesCommand(c) {
			a.helpless = wrongArguments(c, rest)
			return
		}
		help(c, args)
	}
}

// nearest is the subcommand that was probably meant.
func nearest(c *cobra.Command, name string) string {
	c.SuggestionsMinimumDistance = max(c.SuggestionsMinimumDistance, 2)
	if found := c.SuggestionsFor(name); len(found) > 0 && c.HasAvailableSubCommands() {
		return c.CommandPath() + " " + found[0]
	}
	return ""
}

// newHelp is cobra's help, which would answer an unknown topic with success.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND …]", GroupID: "more", Short: "show the help of a command",
		Example: `  fairlead help apply
  fairlead help context add`,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, _, err := c.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return wrongArguments(of, rest)
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// addCompletion is cobra's, in the words of the other commands.
func addCompletion(root *cobra.Command) {
	root.SetCompletionCommandGroupID("more")
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "print the script that completes commands and node names in your shell"
		c.Example = "  source <(fairlead completion bash)"
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		for _, shell := range c.Commands() {
			shell.Short = "print the completion script for " + shell.Name()
			shell.Example = "  fairlead completion " + shell.Name()
		}
	}
}
