package main

import (
	"context"
	"slices"
	"strings"
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
		Use:   "delete -f PATH | KIND/NAME … | KIND NAME …",
		Short: "remove resources; the nodes stop serving them",
		Long: `Removes resources that are stored: those that files hold, or some by kind and name. All of them or none: one that
another resource needs is refused, unless that one goes too. With KIND and NAME the exit code is 4 where one is not there,
and nothing is removed.
` + strategyHelp,
		Example: `  fairlead delete -f examples/proxy --wait
  fairlead delete -f site.yaml --dry-run
  fairlead delete VirtualHost old-shop --message 'the shop has closed' --wait
  fairlead delete VirtualHost/old-shop Upstream/old-shop`,
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
			named, err := kindsAndNames(args)
			if err != nil {
				return err
			}
			return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
				found, err := a.find(ctx, c, named)
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

// kindsAndNames reads "KIND NAME …" and "KIND/NAME …", also mixed; nothing is ever
// all of a kind.
func kindsAndNames(args []string) (all []resourceName, err error) {
	if len(args) == 0 {
		return nil, usagef("give -f PATH, or KIND and NAME of what to remove: `fairlead get` lists what there is")
	}
	kind := ""
	for _, arg := range args {
		if kind != "" && !strings.Contains(arg, "/") {
			all = append(all, resourceName{kind, arg})
			continue
		}
		k, name, err := kindAndName([]string{arg})
		if err != nil {
			return nil, err
		}
		kind = k
		if name != "" {
			all = append(all, resourceName{kind, name})
		}
	}
	if len(all) == 0 {
		return nil, usagef("name the %s to remove: `fairlead get %[1]s` lists those there are", kind)
	}
	return all, nil
}

// resourceName is a resource as people write it.
type resourceName struct{ kind, name string }

// find are stored resources by their names; those that are not there are told, and
// end it.
func (a *app) find(ctx context.Context, c *client.Client, wanted []resourceName) ([]fleet.Resource, error) {
	there := make(map[resourceName]fleet.Resource)
	asked := make(map[string]bool)
	for _, w := range wanted {
		if asked[w.kind] {
			continue
		}
		asked[w.kind] = true
		stored, err := c.Resources(ctx, w.kind, "")
		if err != nil {
			return nil, err
		}
		for _, r := range stored {
			there[resourceName{w.kind, r.Metadata.Name}] = r.Resource
		}
	}
	var found []fleet.Resource
	missing := false
	for _, w := range wanted {
		r, ok := there[w]
		if !ok {
			a.say("%s", none(w.kind, w.name))
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
