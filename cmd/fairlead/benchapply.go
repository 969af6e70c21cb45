//go:build !node

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

func newBenchApply(a *app) *cobra.Command {
	var o bench.ApplyOptions
	c := &cobra.Command{
		Use:   "apply",
		Short: "changes of nginx: desired state → proven serving, and what clients see meanwhile",
		Long: `Changes a real nginx again and again, and beside it, in turns, another one by bare means: files written in place,
nginx -t, a signal, and the last answer of an old worker. Then it applies revisions while clients ask without a pause, and
counts requests that failed and answers that came from two revisions at once.`,
		Example: `  fairlead bench apply
  fairlead bench apply --runs 50 --hosts 5000
  fairlead bench apply --json`,
		Args:    cobra.NoArgs,
		PreRunE: positive,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.benchOptions(&o.Options); err != nil {
				return err
			}
			applied, err := bench.Apply(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.clearProgress()
			return a.print(applied, func(t *table) { applyTable(t, applied) }, func() []string { return nil })
		},
	}
	f := c.Flags()
	f.IntVar(&o.Runs, "runs", 20, "changes of each kind")
	f.IntVar(&o.Hosts, "hosts", 1000, "virtual hosts of the large node")
	f.IntVar(&o.Applies, "applies", 100, "changes under load")
	return c
}

func applyTable(t *table, a bench.Applied) {
	t.row("WHAT", "COUNT", "P50", "P99", "RATIO")
	for _, f := range a.Figures {
		ratio := "1"
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		t.row(f.Name, fmt.Sprint(f.Count), micros(f.P50), micros(f.P99), ratio)
	}
	t.row("")
	t.row(fmt.Sprintf("UNDER %d CHANGES", a.Applies), "REQUESTS", "FAILED", "OF TWO REVISIONS")
	for _, l := range a.Load {
		t.row(l.Client, fmt.Sprint(l.Requests), fmt.Sprint(l.Failed), fmt.Sprint(l.Mixed))
	}
	t.row("machine", machine(a.Machine))
}
