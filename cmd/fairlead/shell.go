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
	"fairlead/pkg/message"
)

func newShell(a *app) *cobra.Command {
	var t targets
	var w waiting
	limit := days(30 * time.Second)
	c := &cobra.Command{
		Use:   "shell " + targetsUse + " -- PROGRAM [ARGUMENT …]",
		Short: "run a program that the nodes allow, and show what it wrote",
		Long: `Runs one program with its arguments on each node; no shell reads them.
The program must be on the node's allow-list (fairlead agent --allow).`,
		Example: `  fairlead shell node1 -- uname -a
  fairlead shell -l role=edge -- df -h /`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeMany,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		dash := cmd.ArgsLenAtDash()
		if dash < 0 || dash == len(args) {
			return usagef("write the program behind two dashes: fairlead shell node1 -- uname -a")
		}
		body, err := json.Marshal(handlers.ShellCommandBody{Argv: args[dash:], TimeoutSeconds: int(time.Duration(limit).Seconds())})
		if err != nil {
			return err
		}
		return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			nodes, err := t.find(ctx, a, c, args[:dash])
			if err != nil {
				return err
			}
			w.timeout = max(w.timeout, limit+days(5*time.Second))
			outcomes, err := a.command(ctx, c, nodes, "shellcommand", "operatingsystem", body, w)
			if err != nil {
				return err
			}
			if a.events || a.output != "table" && a.output != "wide" {
				return a.printOutcomes(ctx, c, outcomes)
			}
			return a.printShell(ctx, c, outcomes)
		})(cmd, args)
	}
	t.flags(a, c)
	w.flags(a, c)
	c.Flags().Var(&limit, "stop-after", "how long the program may run on the node")
	return c
}

// printShell writes the programs' own output, the node's name above each where
// there are several, and what went wrong to stderr.
func (a *app) printShell(ctx context.Context, c *client.Client, outcomes []client.Outcome) error {
	seen := a.lastSeen(ctx, c, outcomes)
	for _, o := range outcomes {
		if len(outcomes) > 1 {
			fmt.Fprintln(a.stdout, a.paint(dim, "== "+o.Node))
		}
		var r handlers.ShellResult
		if len(o.Answer.Result) > 0 && json.Unmarshal(o.Answer.Result, &r) == nil {
			fmt.Fprint(a.stdout, r.Stdout)
			fmt.Fprint(a.stderr, r.Stderr)
		}
		if o.State != message.Succeeded || r.Truncated {
			a.say("%s", strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", o.Node, stateOf(o, seen), o.Answer.Message), ": "))
		}
	}
	return a.end(ctx, outcomes)
}
