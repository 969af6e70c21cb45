//go:build !node

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
	"fairlead/pkg/message"
)

func newBenchChaos(a *app) *cobra.Command {
	var o bench.ChaosOptions
	pause := days(2 * time.Second)
	c := &cobra.Command{
		Use:   "chaos",
		Short: "commands while half of the nodes are away and broker and station are killed at random: none lost, none run twice",
		Long: `Sends commands to a fleet of which every other node has no link, while broker and station are killed with SIGKILL and links
are cut at random. Then all come back, and what the handlers really ran is compared with what the audit says: every command
has exactly one final state, none is lost, none ran twice. The same --seed does the same in the same order.

It measures nothing in seconds; it is a proof. Exit codes: 0 the fleet did all right, 1 it did not.`,
		Example: `  fairlead bench chaos
  fairlead bench chaos --nodes 200 --commands 10000 --kills 60
  fairlead bench chaos --seed 42 --json`,
		Args:    cobra.NoArgs,
		PreRunE: positive,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.benchOptions(&o.Options); err != nil {
				return err
			}
			o.Pause = time.Duration(pause)
			r, err := bench.Mistreat(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.clearProgress()
			if err := a.print(r, func(t *table) { chaosTable(t, r) }, func() []string { return nil }); err != nil {
				return err
			}
			if len(r.Faults) > 0 {
				return exitError(message.ExitFailed)
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 100, "simulated agents, every other one without a link while commands are sent")
	f.IntVar(&o.Commands, "commands", 10_000, "commands over all of them")
	f.IntVar(&o.Kills, "kills", 20, "how often broker or station are killed, at least")
	f.Var(&pause, "pause", "between two of what is done to the fleet, at most")
	f.Uint64Var(&o.Seed, "seed", 0, "of what is done when (default by the clock)")
	f.BoolVar(&o.Plain, "plain", false, "without TLS")
	f.StringVar(&o.Sync, "sync", "2m", "when the broker's disk is synced: an interval, or always")
	f.StringVar(&o.Data, "data", "", "directory of the broker (default a temporary one)")
	f.StringVar(&o.Journals, "journals", "", "directory of the agents' journals (default in memory)")
	return c
}

func chaosTable(t *table, r bench.Chaos) {
	verdict := "every command ended once, as it ran"
	if len(r.Faults) > 0 {
		verdict = count(len(r.Faults), "fault")
	}
	t.row("VERDICT", verdict)
	t.row("SEED", fmt.Sprint(r.Seed))
	t.row("NODES", fmt.Sprintf("%d, %d of them without a link meanwhile", r.Nodes, r.Away))
	t.row("KILLED", fmt.Sprintf("the broker %d times, the station %d times; links cut %d times", r.Brokers, r.Stations, r.Links))
	t.row("SENT", fmt.Sprintf("%d acknowledged, of %d tries; %d in the audit", r.Sent, r.Tries, r.Ends.Commands))
	t.row("RAN", fmt.Sprintf("%d times", r.Effects))
	endRows(t, r.Ends)
	for _, f := range r.Faults {
		t.row("FAULT", f)
	}
}
