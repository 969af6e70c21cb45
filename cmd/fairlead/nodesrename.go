package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
)

func newNodesRename(a *app) *cobra.Command {
	var yes, dryRun, manual bool
	timeout := days(2 * time.Minute)
	c := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "have a node go on under another name",
		Long: `Has the agent of a node that is there go on under another name, with its labels, address and drain mark. Its nginx is left as it
is and serves all the time. A name is in the node's JWT and under the signatures of all that it says, so the host becomes a
node with a key of its own once more: by this command, which an administrator signs and which is of use to no other host.

What the node still has to say it says as OLD; what runs there is given its grace and then ends interrupted; what waits
for OLD ends cancelled. Then OLD is taken out of the register, and history and audit of both names stay where they are.
Resources that choose the node by its name (node=OLD), or that say it, mean it no more: --dry-run shows what would become of it.

Interrupted, the same command again goes on where it was. A node that is away, or part of a rollout that is under way, is
not renamed. --manual prints how a host gets another name by hand, and changes nothing.`,
		Example: `  fairlead nodes rename ship1 ship2
  fairlead nodes rename ship1 ship2 --dry-run
  fairlead nodes rename ship1 ship2 --manual`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			way, err := c.Renaming(ctx, args[0], args[1])
			switch {
			case err != nil:
				return err
			case manual:
				for _, step := range way.Manual() {
					fmt.Fprintln(a.stdout, step)
				}
				return nil
			case !way.Entered:
				if ok, err := a.mayBegin(ctx, c, way, dryRun, yes); err != nil || !ok {
					return err
				}
			case dryRun:
				a.say("%s is on its way to be %s: the same without --dry-run goes on", way.Node, way.To)
				return nil
			}
			return a.rename(ctx, c, way, time.Duration(timeout))
		}),
	}
	f := c.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "show what the node would be, and change nothing")
	f.BoolVar(&manual, "manual", false, "print how the host gets the name by hand, and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.Var(&timeout, "timeout", "how long to wait until the node is there under its new name")
	return c
}

// mayBegin shows what another name makes of a node, and asks whether it is to have it.
func (a *app) mayBegin(ctx context.Context, c *client.Client, way client.Renaming, dryRun, yes bool) (bool, error) {
	n, err := c.Node(ctx, way.Node)
	if err != nil {
		return false, err
	}
	refused := client.MayRename(n)
	if refused != nil && !dryRun {
		return false, refused
	}
	p, err := c.PlanRename(ctx, way)
	if err != nil {
		return false, err
	}
	a.sayRename(p)
	if dryRun {
		if a.output == "json" || a.output == "yaml" {
			err = a.print(p, nil, nil)
		} else {
			fmt.Fprint(a.stdout, a.paintDiff(p.Diff))
		}
		return false, cmp.Or(err, refused)
	}
	if p.Fault != "" {
		return false, fleet.Errorf(fleet.Refused, "%s could not take what it would be given under that name: %s", way.Node, p.Fault)
	}
	if yes {
		return true, nil
	}
	ok, err := a.ask(fmt.Sprintf("rename %s to %s?", way.Node, way.To))
	if err == nil && !ok {
		err = exitError(message.ExitRefused)
	}
	return ok, err
}

// sayRename says which resources mean a node by its name.
func (a *app) sayRename(p client.RenamePlan) {
	for _, of := range []struct {
		resources []string
		text      string
	}{
		{p.Lost, "%s loses what chooses it by its name: %s"},
		{p.Gained, "%s gets what chooses the new name: %s"},
		{p.Changed, "%s has what says its name otherwise: %s"},
	} {
		if len(of.resources) > 0 {
			a.say(a.paint(yellow, "note: ")+of.text, p.Node, strings.Join(of.resources, ", "))
		}
	}
	switch {
	case p.Fault != "":
		a.say("under the new name it could not take its resources: %s", p.Fault)
	case p.Digest == "":
	case p.Before == p.Digest:
		a.say("its configuration stays as it is (%s)", nginx.Short(p.Digest))
	case p.Diff != "":
		a.say("its configuration changes from %s to %s", nginx.Short(cmp.Or(p.Before, "none")), nginx.Short(p.Digest))
	}
}

// renamed is what came of it.
type renamed struct {
	Node      string `json:"node"`
	To        string `json:"to"`
	Sync      string `json:"sync"`
	Cancelled int    `json:"cancelled"` // commands that waited for the old name
}

func (a *app) rename(ctx context.Context, c *client.Client, way client.Renaming, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, cancelled, err := c.Rename(ctx, way, func(what string) { a.progress("%s", what) })
	a.clearProgress()
	if fleet.KindOf(err) == fleet.Timeout {
		return fmt.Errorf("%w: `fairlead nodes rename %s %s` again goes on", err, way.Node, way.To)
	}
	if err != nil {
		return err
	}
	if a.output == "json" || a.output == "yaml" {
		err = a.print(renamed{way.Node, way.To, n.Sync, cancelled}, nil, nil)
	} else {
		fmt.Fprintf(a.stdout, "renamed %s to %s\n", way.Node, way.To)
		if cancelled > 0 {
			fmt.Fprintf(a.stdout, "cancelled %s to %s\n", count(cancelled, "waiting command"), way.Node)
		}
		if n.Sync != station.InSync && n.Sync != station.NoneDue {
			a.say("%s is there, and its configuration is %s: `fairlead why %[1]s`", way.To, n.Sync)
		}
	}
	return cmp.Or(err, a.exitOf(n))
}
