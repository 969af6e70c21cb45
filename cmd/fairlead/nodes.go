package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
)

func newNodes(a *app) *cobra.Command {
	var t targets
	c := &cobra.Command{
		Use:   "nodes [-l SELECTOR]",
		Short: "list the nodes and whether they are there",
		Example: `  fairlead nodes
  fairlead nodes -l 'role=edge,region!=eu'
  fairlead nodes --field 'presence=offline,seen>1d'
  fairlead nodes -o name`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && nearest(c, args[0]) == "" {
				return usagef("`fairlead nodes` takes no names: `fairlead status %s` shows one node, -l SELECTOR chooses several", args[0])
			}
			return cobra.NoArgs(c, args)
		},
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			nodes, now, err := t.list(ctx, a, c, nil, map[string]string{"table": station.ShowList, "name": station.ShowNames}[a.output])
			if err != nil {
				return err
			}
			return a.printNodes(nodes, t.asked(), func(t *table) {
				t.cut = true
				t.row("NODE", "PRESENCE", "LAST SEEN", "SYNC", "REVISION", "LABELS").more("ADDRESS", "AGENT", "KEY")
				for _, n := range nodes {
					t.row(n.Name, presenceWord(n), ago(n.LastSeen, now), syncOf(n, now), revisions(n), labels(n.Labels)).more(n.Address, n.Version, n.Key)
				}
			})
		}),
	}
	t.chooseFlags(a, c)
	c.AddCommand(newNodesAdd(a), newNodesApprove(a), newNodesDrain(a), newNodesUncordon(a), newNodesRename(a), newNodesRemove(a))
	return c
}

// presenceWord says whether a node is there, and whether it is drained.
func presenceWord(n station.NodeStatus) string {
	word := n.Presence
	if n.Presence == station.Duplicate {
		word += " (" + twins(n) + ")"
	}
	if n.Drained != nil {
		word += ", drained"
	}
	return word
}

// twins are the agents that live under one name: where they run on one host, that host.
func twins(n station.NodeStatus) string {
	var all []string
	for _, i := range n.Agents {
		all = append(all, cmp.Or(i.Host, "?")+" boot "+shortID(i.BootID))
	}
	if one := slices.Compact(slices.Clone(all)); len(one) == 1 && len(all) > 1 {
		return fmt.Sprintf("%d on one host, %s", len(all), one[0])
	}
	return strings.Join(all, ", ")
}

// shortID is enough of a boot id to tell two.
func shortID(id string) string { return id[:min(8, len(id))] }

// printNodes prints nodes that were chosen, and says so when there are none. how
// is how they were, "" for all.
func (a *app) printNodes(nodes []station.NodeStatus, how string, rows func(*table)) error {
	if nodes == nil {
		nodes = []station.NodeStatus{}
	}
	if len(nodes) == 0 && (a.output == "table" || a.output == "wide") {
		if how == "" {
			a.say("no node is registered: `fairlead token create` prints the line by which a host becomes one")
		} else {
			a.say("no node matches %s", how)
		}
		return exitError(message.ExitNothing)
	}
	err := a.print(nodes, rows, func() []string {
		var names []string
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		return names
	})
	if err == nil && len(nodes) == 0 {
		return exitError(message.ExitNothing)
	}
	return err
}

func revisions(n station.NodeStatus) string {
	switch {
	case n.DesiredRevision == 0:
		return "-"
	case n.DesiredRevision == n.ObservedRevision:
		return strconv.FormatUint(n.DesiredRevision, 10)
	}
	return strconv.FormatUint(n.ObservedRevision, 10) + " of " + strconv.FormatUint(n.DesiredRevision, 10)
}

func labels(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return strings.Join(all, ",")
}

func short(digest string) string { return nginx.Short(digest) }

// completeNodes completes the first argument with the nodes' names.
func (a *app) completeNodes(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeMany(cmd, args, typed)
}

// completeMany completes every argument with the nodes' names, and @ with files.
func (a *app) completeMany(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.HasPrefix(typed, "@") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c, err := a.open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{Show: station.ShowList})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name+"\t"+n.Presence)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
