package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func newAuditCheck(a *app) *cobra.Command {
	var o client.EndsOptions
	var since pastTime
	c := &cobra.Command{
		Use:   "check [--node N] [--since 24h]",
		Short: "prove from the audit that every command ended once, or still can",
		Long: `Reads the audit from its beginning and counts for every command the final answers that are signed by its node, or by a
station in the node's place. There has to be exactly one, or time left for it.
Exit codes: 0 every command ended once, 1 some did not, 3 some still wait, 4 there is no command.
` + "`fairlead audit verify`" + ` shows that the audit itself is what it was.`,
		Example: `  fairlead audit check
  fairlead audit check --node node1 --since 7d
  fairlead audit check --json`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.with(func(ctx context.Context, cl *client.Client, _ []string) error {
		if a.output == "name" {
			return usagef("-o name: what is counted has no names; use table, json or yaml")
		}
		o.Since = since.Time
		a.progress("reading the audit …")
		ends, err := cl.Ends(ctx, o)
		a.clearProgress()
		if err != nil {
			return err
		}
		if err := a.print(ends, func(t *table) {
			t.row("VERDICT", verdictOf(ends))
			endRows(t, ends)
		}, nil); err != nil {
			return err
		}
		switch {
		case len(ends.Faults) > 0:
			return exitError(message.ExitFailed)
		case ends.Waiting > 0:
			return exitError(message.ExitPending)
		case ends.Commands == 0:
			return exitError(message.ExitNothing)
		}
		return nil
	})
	f := c.Flags()
	f.StringVar(&o.Node, "node", "", "only commands to one node")
	since.flag(f, "only what was stored later (default all that the audit holds)")
	if err := c.RegisterFlagCompletionFunc("node", a.completeNodes); err != nil {
		panic(err) // the flag was made above
	}
	return c
}

// verdictOf says in words how commands ended.
func verdictOf(e client.Ends) string {
	switch {
	case len(e.Faults) > 0:
		return count(len(e.Faults)+e.Further, "command") + " did not end once"
	case e.Commands == 0:
		return "there is no command"
	case e.Waiting > 0:
		return "every command ended once, or waits and can"
	}
	return "every command ended once"
}

func endRows(t *table, e client.Ends) {
	t.row("COMMANDS", fmt.Sprint(e.Commands))
	var states []string
	for _, state := range slices.Sorted(maps.Keys(e.States)) {
		states = append(states, fmt.Sprintf("%d %s", e.States[state], state))
	}
	if len(states) > 0 {
		t.row("ENDED", strings.Join(states, ", "))
	}
	if e.Waiting > 0 {
		t.row("WAITING", fmt.Sprint(e.Waiting))
	}
	if e.Unproven > 0 {
		t.row("UNPROVEN", count(e.Unproven, "final answer")+" by nobody who may give it, not counted")
	}
	for _, f := range e.Faults {
		t.row(strings.ToUpper(f.Kind), fmt.Sprintf("%s %s (sequence %d): %s", f.Subject, f.ID, f.Sequence, f.Message))
	}
	if e.Further > 0 {
		t.row("…", count(e.Further, "fault")+" more")
	}
}
