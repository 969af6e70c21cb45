package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
)

// dryRun are the flags of what shows a change and stores nothing.
type dryRun struct {
	mode  string // "", dryPlan or dryNodes
	limit portion
}

// What a dry run does.
const (
	dryPlan  = "plan"  // shows what would change
	dryNodes = "nodes" // also has the nodes check what they would get
)

func (d *dryRun) flags(c *cobra.Command) {
	c.Flags().Var(d, "dry-run", "show what would change and store nothing; with =nodes the nodes check it too, each with its own nginx")
	c.Flags().Lookup("dry-run").NoOptDefVal = dryPlan
	c.Flags().Var(&d.limit, "limit", "with --dry-run=nodes: so many nodes, or a part such as 10%, of each group with the same resources; at least one")
	c.PreRunE = func(*cobra.Command, []string) error { return d.check() }
	complete := cobra.FixedCompletions([]string{dryPlan, dryNodes}, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc("dry-run", complete); err != nil {
		panic(err) // the flag was made above
	}
}

// Set takes a mode; true and false are what they were when the flag had no modes.
func (d *dryRun) Set(text string) error {
	modes := map[string]string{dryPlan: dryPlan, "true": dryPlan, dryNodes: dryNodes, "false": ""}
	mode, ok := modes[text]
	if !ok {
		return fmt.Errorf("%q: use plan or nodes", text)
	}
	d.mode = mode
	return nil
}

func (d *dryRun) String() string { return d.mode }

// Type is shown in the help.
func (d *dryRun) Type() string { return "plan|nodes" }

// check refuses flags that do not go together.
func (d *dryRun) check() error {
	if d.limit != (portion{}) && d.mode != dryNodes {
		return usagef("--limit goes with --dry-run=nodes")
	}
	return nil
}

// dryRun shows a plan, and has nodes check it where that is asked for. The exit
// code is that of what they answer.
func (a *app) dryRun(ctx context.Context, c *client.Client, plan client.Plan, d dryRun, timeout days) error {
	if d.mode != dryNodes {
		return a.showPlan(plan)
	}
	wait := time.Duration(timeout)
	commands, err := client.Checks(plan, func(nodes []string) []string { return nodes[:d.limit.of(len(nodes))] }, wait+time.Minute)
	if err != nil {
		return err
	}
	machine := a.output == "json" || a.output == "yaml"
	if !machine {
		if err := a.showPlan(plan); err != nil {
			return err
		}
	}
	outcomes := []client.Outcome{}
	if len(commands) > 0 {
		if outcomes, err = a.sendAndWait(ctx, c, commands, timeout); err != nil {
			return refusedCheck(err)
		}
	}
	if machine {
		err := a.print(struct {
			client.Plan
			Checks []client.Outcome `json:"checks"`
		}{plan, outcomes}, nil, nil)
		if err != nil {
			return err
		}
		return a.end(ctx, outcomes)
	}
	if len(commands) == 0 {
		a.say("no node has anything to check")
		return nil
	}
	fmt.Fprintln(a.stdout)
	return a.printOutcomes(ctx, c, outcomes)
}

// refusedCheck says why a broker may not take the method.
func refusedCheck(err error) error {
	if fleet.KindOf(err) == fleet.Refused {
		return fmt.Errorf("%w: to have nodes check a change is for operators, and for them once a broker of this version has opened the identity directory", err)
	}
	return err
}
