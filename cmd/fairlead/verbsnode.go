//go:build node

package main

import "github.com/spf13/cobra"

// begin and example are what the help of the program says of how to begin.
const (
	begin = `This is the program for nodes: it makes a host one and runs its agent. What it leaves out an agent would partly keep in memory.
A token comes from whoever manages the fleet, by "fairlead token create".`
	example = `  fairlead join FL1.eyJ1cmwi…
  fairlead agent`
)

// verbs are those of the program for nodes: a host becomes one, and is one.
func verbs(a *app) map[string][]*cobra.Command {
	return map[string][]*cobra.Command{"run": {newAgent(a)}, "identity": {newJoin(a)}, "more": {newVersion(a)}}
}
