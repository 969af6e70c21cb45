//go:build !node

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

func newBenchJoin(a *app) *cobra.Command {
	var o bench.JoinOptions
	c := &cobra.Command{
		Use:   "join",
		Short: "hosts that become nodes, and how fast all of them believe that a person is revoked",
		Long: `Has hosts join with one token, all that ` + "`fairlead join`" + ` does for each, beside bare connections to the same broker. Then
their agents run, a person who is connected is revoked, and what counts is when the last node believed it.`,
		Example: `  fairlead bench join
  fairlead bench join --nodes 100 --json`,
		Args:    cobra.NoArgs,
		PreRunE: positive,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.benchOptions(&o.Options); err != nil {
				return err
			}
			j, err := bench.Join(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.clearProgress()
			return a.print(j, func(t *table) { joinTable(t, j) }, func() []string { return nil })
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 1000, "hosts that join")
	f.IntVar(&o.Parallel, "parallel", 32, "hosts that join at once")
	f.StringVar(&o.Sync, "sync", "2m", "when the broker's disk is synced: an interval, or always")
	f.StringVar(&o.Data, "data", "", "directory of the broker (default a temporary one)")
	f.StringVar(&o.Journals, "journals", "", "directory of the nodes (default in memory: one disk must not stand for a thousand)")
	return c
}

func joinTable(t *table, j bench.Joined) {
	t.row("WHAT", "COUNT", "P50", "P99", "PER SECOND", "RATIO")
	for _, f := range j.Figures {
		ratio := "1"
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f × %s", f.Ratio, f.Against)
		}
		t.row(f.Name, fmt.Sprint(f.Count), micros(f.P50), micros(f.P99), fmt.Sprintf("%.0f", f.Rate), ratio)
	}
	t.row("")
	for _, f := range j.Figures {
		t.row("processor time for each", fmt.Sprintf("%s host, %s broker, %s station (%s)", micros(f.Agents), micros(f.Broker), micros(f.Station), f.Name))
	}
	t.row(fmt.Sprintf("all %d joined in", j.Nodes), micros(j.Took))
	t.row("a revocation reached them in", fmt.Sprintf("%s; half %s, 99 of 100 %s", micros(j.Revoked), micros(j.RevokedP50), micros(j.RevokedP99)))
	t.row("who was revoked was cut off in", micros(j.CutOff))
	t.row("station, at most", size(j.StationPeak))
	t.row("broker, at most", size(j.BrokerPeak))
	t.row("machine", machine(j.Machine))
}
