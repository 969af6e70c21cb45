//go:build !node

package main

import (
	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

// newBenchAgents is what bench fleet starts for its nodes.
func newBenchAgents() *cobra.Command {
	return &cobra.Command{
		Use:     "agents SOCKET",
		Short:   "simulated nodes of a bench that another process runs",
		Example: "  fairlead bench agents @bench",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.Crew(cmd.Context(), args[0])
		},
	}
}
