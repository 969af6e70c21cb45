package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
)

func newRollback(a *app) *cobra.Command {
	var to, change uint64
	var dry dryRun
	var wait bool
	var why reason
	var how strategy
	timeout := days(time.Minute)
	c := &cobra.Command{
		Use:   "rollback KIND/NAME [--to REV] | KIND NAME [--to REV] | --change REV",
		Short: "make a resource what it was; the nodes follow",
		Long: `Stores what a resource was at a revision, as a new revision: it is planned, checked and signed like any change. Without --to
it is what the resource was before it became what it is. A revision that is a removal removes it.

With --change REV everything goes back that was changed in the same step as that revision, one apply or delete, unless
something of it was changed again since. Nodes have no revisions of their own to go back to: they are what the resources
make of them, and ` + "`fairlead history NODE`" + ` tells which change did it.
` + strategyHelp,
		Example: `  fairlead rollback VirtualHost/hello --wait
  fairlead rollback VirtualHost hello --to 7 --message 'the new one is slow'
  fairlead rollback VirtualHost/hello --to 7 --dry-run
  fairlead rollback --change 12
  fairlead rollback VirtualHost/hello --waves 1,25%,100% --bake 30s --wait`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := oneResource(args, change)
			if err != nil {
				return err
			}
			if change > 0 && to > 0 {
				return usagef("--to goes with KIND/NAME, and --change alone")
			}
			waves, wanted, err := how.read(cmd)
			if err != nil {
				return err
			}
			return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
				var plan client.Plan
				var err error
				if change > 0 {
					plan, err = c.TakeBack(ctx, change)
				} else {
					plan, err = c.Rollback(ctx, kind, name, to)
				}
				if err != nil {
					return err
				}
				if dry.mode != "" {
					return a.dryRun(ctx, c, plan, dry, timeout)
				}
				if why != "" {
					plan.Message = string(why)
				}
				if wanted {
					return a.beginRollout(ctx, c, plan, waves, "", wait, timeoutOf(cmd, timeout))
				}
				return a.carryOut(ctx, c, plan, wait, timeout)
			})(cmd, args)
		},
	}
	c.Flags().Uint64Var(&to, "to", 0, "the `REV`ision that it is to be again; see `fairlead history`")
	c.Flags().Uint64Var(&change, "change", 0, "take back all that was changed in the same step as this `REV`ision")
	dry.flags(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait until the nodes that are there have proven the change")
	why.flag(c)
	c.Flags().Var(&timeout, "timeout", "how long to wait; the change itself goes on; for a rollout without end unless given")
	how.flags(c)
	a.completeRevisions(c, "to")
	return c
}

// oneResource reads "KIND/NAME" or "KIND NAME", nothing where a change is named
// instead.
func oneResource(args []string, change uint64) (kind, name string, err error) {
	switch kind, name, err = kindAndName(args); {
	case change > 0 && len(args) > 0:
		return "", "", usagef("give KIND/NAME or --change REV, not both")
	case change > 0:
		return "", "", nil
	case len(args) == 0:
		return "", "", usagef("give KIND/NAME, or --change REV: `fairlead history KIND/NAME` lists what there was")
	case err != nil && len(args) == 1 && !strings.Contains(args[0], "/"):
		return "", "", usagef("%w; where %s is a node: it is what the resources make of it, and `fairlead history %[2]s` tells which change did it", err, args[0])
	case err != nil:
		return "", "", err
	case name == "":
		return "", "", usagef("name the %s: `fairlead get %[1]s` lists those there are", kind)
	}
	return kind, name, nil
}

// completeNames completes one kind and one name.
func (a *app) completeNames(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeResources(cmd, args, typed)
}

// completeRevisions completes flags with the revisions of the resource that the
// arguments name.
func (a *app) completeRevisions(c *cobra.Command, flags ...string) {
	complete := func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		kind, name, err := kindAndName(args[:min(2, len(args))])
		if err != nil || name == "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		c, err := a.open(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		all, err := c.History(ctx, kind, name)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var known []string
		for _, r := range all {
			if r.Proven {
				known = append(known, fmt.Sprintf("%d\t%s by %s, %s%s", r.Revision, r.Action, r.By, moment(r.At), because(oneLine(r.Message))))
			}
		}
		return known, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
	for _, flag := range flags {
		if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flag was made by the caller
		}
	}
}
