//go:build !node

package main

import (
	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

func newBenchChart(a *app) *cobra.Command {
	var table bool
	c := &cobra.Command{
		Use:   "chart FILE…",
		Short: "a picture (SVG) or a table of how cost grows, from results of `fairlead bench fleet --json`",
		Example: `  fairlead bench chart fleet-100.json fleet-1000.json fleet-10000.json
  fairlead bench chart --table fleet-100.json fleet-1000.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			runs, err := bench.ReadScaled(files...)
			if err != nil {
				return err
			}
			if table {
				return bench.Table(a.stdout, runs)
			}
			return bench.Chart(a.stdout, runs)
		},
	}
	c.Flags().BoolVar(&table, "table", false, "a table in Markdown")
	return c
}
