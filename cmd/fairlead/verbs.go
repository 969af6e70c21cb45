//go:build !node

package main

import "github.com/spf13/cobra"

// begin and example are what the help of the program says of how to begin.
const (
	begin = `Begin with everything on this host:
  fairlead dev
and in a second terminal:
  fairlead status`
	example = `  fairlead dev --apply examples/hello
  fairlead apply -f examples/proxy --wait
  fairlead audit --replay`
)

// verbs are all there are, by their groups. The program for nodes, which is built with
// the tag node, has fewer: what it leaves out an agent would partly keep in memory.
func verbs(a *app) map[string][]*cobra.Command {
	return map[string][]*cobra.Command{
		"look":     {newNodes(a), newStatus(a), newTop(a), newWhy(a), newHistory(a), newLogs(a), newAudit(a), newGet(a), newExplain(a)},
		"change":   {newApply(a), newDiff(a), newDelete(a), newLabel(a), newRollback(a), newRollout(a)},
		"command":  {newPublish(a), newOrder(a), newCancel(a), newReload(a), newPause(a), newResume(a), newAdopt(a), newHealth(a), newPing(a), newShell(a), newPush(a)},
		"run":      {newDev(a), newBroker(a), newStation(a), newAgent(a), newBench(a)},
		"identity": {newInit(a), newUser(a), newToken(a), newJoin(a), newTenant(a), newRotate(a), newExpiring(a)},
		"more":     {newContext(a), newVersion(a)},
	}
}
