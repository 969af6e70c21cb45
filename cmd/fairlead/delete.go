package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
)

func newDelete(a *app) *cobra.Command {
	var paths []string
	var dry dryRun
	var wait bool
	var why reason
	var how strategy
	timeout := days(time.Minute)
	c := &cobra.Command{
		Use:   "delete -f PATH | KIND NAME …",
		Short: "remove resources; the nodes stop serving them",
		Long: `Removes resources that are stored: those that files hold, or some by kind and name. All of them or none: one that
another resource needs is refused, unless that one goes too. With KIND and NAME the exit code is 4 where one is not there,
and nothing is removed.
` + strategyHelp,
		Example: `  fairlead delete -f examples/proxy --wait
  fairlead delete -f site.yaml --dry-run
  fairlead delete VirtualHost old-shop --message 'the shop has closed' --wait`,
		ValidArgsFunction: a.completeResources,
		RunE: func(cmd *cobra.Command, args []string) error {
			waves, wanted, err := how.read(cmd)
			if err != nil {
				return err
			}
			remove := func(ctx context.Context, c *client.Client, set manifest.Set) error {
				plan, err := c.Plan(ctx, set, true)
				if err != nil {
					return err
				}
				if dry.mode != "" {
					return a.dryRun(ctx, c, plan, dry, timeout)
				}
				plan.Message = string(why)
				if wanted {
					return a.beginRollout(ctx, c, plan, waves, "", wait, timeoutOf(cmd, timeout))
				}
				return a.carryOut(ctx, c, plan, wait, timeout)
			}
			switch {
			case len(args) > 0 && len(paths) > 0:
				return usagef("give -f PATH or KIND NAME, not both")
			case len(paths) > 0:
				return a.withSet(&paths, remove)(cmd, args)
			}
			kind, names, err := kindAndNames(args)
			if err != nil {
				return err
			}
			return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
				found, err := a.find(ctx, c, kind, names)
				if err != nil {
					return err
				}
				return remove(ctx, c, manifest.Of(found...))
			})(cmd, args)
		},
	}
	optionalPathFlag(c, &paths)
	dry.flags(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait until the nodes that are there have proven the change")
	why.flag(c)
	c.Flags().Var(&timeout, "timeout", "how long to wait; the change itself goes on; for a rollout without end unless given")
	how.flags(c)
	return c
}

// kindAndNames reads "KIND NAME …" or "KIND/NAME"; nothing is ever all of a kind.
func kindAndNames(args []string) (kind string, names []string, err error) {
	if len(args) == 0 {
		return "", nil, usagef("give -f PATH, or KIND and NAME of what to remove: `fairlead get` lists what there is")
	}
	kind, name, err := kindAndName(args[:1])
	switch names = args[1:]; {
	case err != nil:
		return "", nil, err
	case name != "":
		names = append([]string{name}, names...)
	}
	if len(names) == 0 {
		return "", nil, usagef("name the %s to remove: `fairlead get %[1]s` lists those there are", kind)
	}
	return kind, names, nil
}

// find are stored resources of a kind by their names; those that are not there
// are told, and end it.
func (a *app) find(ctx context.Context, c *client.Client, kind string, names []string) ([]fleet.Resource, error) {
	stored, err := c.Resources(ctx, kind, "")
	if err != nil {
		return nil, err
	}
	there := make(map[string]fleet.Resource, len(stored))
	for _, r := range stored {
		there[r.Metadata.Name] = r.Resource
	}
	var found []fleet.Resource
	missing := false
	for _, name := range names {
		r, ok := there[name]
		if !ok {
			a.say("%s", none(kind, name))
			missing = true
			continue
		}
		if !slices.ContainsFunc(found, func(f fleet.Resource) bool { return f.ID() == r.ID() }) {
			found = append(found, r)
		}
	}
	if missing {
		return nil, exitError(message.ExitNothing)
	}
	return found, nil
}
