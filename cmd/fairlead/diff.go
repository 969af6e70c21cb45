package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
)

func newDiff(a *app) *cobra.Command {
	var paths []string
	var healed bool
	var from, to uint64
	var w waiting
	c := &cobra.Command{
		Use:   "diff -f PATH | NODE | --from REV [--to REV] [KIND/NAME]",
		Short: "show what an apply would change, what was changed since a revision, or by hand on a node",
		Long: `With -f, compares files with what is stored, and what every node runs with what it would run.
Nodes for which the same would change are shown together, with the digest that they must report afterwards.

With NODE, shows what was changed by hand there, file by file against what Fairlead put there. Keys and passwords are
never shown. With --healed it is what was changed before Fairlead healed it last. Here the exit code is 1 where something
differs; with -f and --from it is 0 whatever would change.

With --from, compares the resources of the whole fleet as they were at two revisions, without --to with what is stored now,
and what they render to on the nodes by their labels and facts of today. With KIND/NAME it is what that one resource changed.`,
		Example: `  fairlead diff -f examples/proxy
  fairlead diff node1
  fairlead diff node1 --healed
  fairlead diff --from 7
  fairlead diff --from 7 --to 12 VirtualHost/hello`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeHistory,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case from > 0 && len(paths) > 0:
				return usagef("give -f PATH or --from REV, not both")
			case from > 0 && healed:
				return usagef("--healed goes with NODE")
			case to > 0 && from == 0:
				return usagef("--to goes with --from")
			case from > 0:
				kind, name, err := kindAndName(args)
				if err != nil {
					return err
				}
				if kind != "" && name == "" {
					return usagef("name the %s: `fairlead get %[1]s` lists those there are", kind)
				}
				return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
					b, err := c.Between(ctx, from, to, kind, name)
					if err != nil {
						return err
					}
					return a.printBetween(b)
				})(cmd, args)
			case len(args) == 2:
				return usagef("KIND NAME goes with --from REV")
			case len(args) == 1 && strings.Contains(args[0], "/") && len(paths) == 0:
				return usagef("what of %[1]s? `fairlead diff --from REV %[1]s` shows what changed since a revision, and `fairlead history %[1]s` lists them", args[0])
			case len(args) == 1 && len(paths) > 0:
				return usagef("give -f PATH or NODE, not both")
			case len(args) == 1:
				return a.with(func(ctx context.Context, c *client.Client, args []string) error {
					return a.printChanges(ctx, c, args[0], healed, &w)
				})(cmd, args)
			case len(paths) == 0:
				return usagef("give -f PATH to see what an apply would change, or NODE to see what was changed by hand there")
			case healed:
				return usagef("--healed goes with NODE")
			}
			return a.withSet(&paths, func(ctx context.Context, c *client.Client, set manifest.Set) error {
				return a.printPlan(ctx, c, set, false)
			})(cmd, args)
		},
	}
	optionalPathFlag(c, &paths)
	c.Flags().BoolVar(&healed, "healed", false, "with NODE: what was changed before it was healed last")
	c.Flags().Uint64Var(&from, "from", 0, "compare with what the fleet was at this `REV`ision; see `fairlead history`")
	c.Flags().Uint64Var(&to, "to", 0, "and at this `REV`ision; now by default")
	a.completeRevisions(c, "from", "to")
	w.timeout = days(30 * time.Second)
	w.expires = life{days(time.Minute)} // nobody waits for it longer
	c.Flags().Var(&w.timeout, "timeout", "with NODE: how long to wait for its answer")
	return c
}

// printBetween shows what changed between two revisions.
func (a *app) printBetween(b client.Between) error {
	if a.output == "json" || a.output == "yaml" {
		return a.print(b, nil, nil)
	}
	a.showResources(b.Resources, " by %s")
	a.showNodes(b.Nodes, "changed to")
	for _, id := range b.NotKept {
		a.say("what %s was is not kept any more", id)
	}
	if len(b.Resources)+len(b.NotKept) == 0 {
		a.say("nothing differs between revisions %d and %d", b.From, b.To)
	}
	return nil
}

// printChanges asks a node what was changed by hand there.
func (a *app) printChanges(ctx context.Context, c *client.Client, node string, healed bool, w *waiting) error {
	nodes, err := new(targets).find(ctx, a, c, []string{node})
	if err != nil {
		return err
	}
	body, err := json.Marshal(handlers.NginxDiffBody{Healed: healed})
	if err != nil {
		return err
	}
	outcomes, err := a.command(ctx, c, nodes, handlers.MethodNginxDiff, "nginx", body, *w)
	if err != nil {
		return err
	}
	o := outcomes[0]
	if o.State != message.Succeeded {
		return a.printOutcomes(ctx, c, outcomes)
	}
	var changes nginx.Changes
	if err := json.Unmarshal(o.Answer.Result, &changes); err != nil {
		return fleet.Errorf(fleet.Internal, "the answer of %s: %w", node, err)
	}
	if a.output == "json" || a.output == "yaml" {
		err = a.print(changes, nil, nil)
	} else {
		fmt.Fprint(a.stdout, a.paintDiff(changes.Diff))
		a.sayChanges(node, changes)
	}
	if err == nil && len(changes.Files) > 0 {
		return exitError(message.ExitFailed)
	}
	return err
}

// sayChanges says on stderr what a difference is of.
func (a *app) sayChanges(node string, c nginx.Changes) {
	switch {
	case len(c.Files) == 0 && c.Healed.IsZero():
		a.say("nothing on %s differs from revision %d", node, c.Revision)
	case len(c.Files) == 0:
		a.say("nothing on %s differs from revision %d; what was healed at %s: `fairlead diff %s --healed`", node, c.Revision, c.Healed.Format(time.DateTime), node)
	case !c.At.IsZero():
		a.say("%s of revision %d on %s, healed at %s by its clock", count(len(c.Files), "file"), c.Revision, node, c.At.Format(time.DateTime))
	default:
		a.say("%s of revision %d on %s", count(len(c.Files), "file"), c.Revision, node)
	}
	if c.Cut {
		a.say("the difference is longer than an answer may be: the rest is on the node")
	}
}
