package main

import (
	"context"
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
	var selector string
	c := &cobra.Command{
		Use:   "nodes [-l SELECTOR]",
		Short: "list the nodes and whether they are there",
		Example: `  fairlead nodes
  fairlead nodes -l 'role=edge,region!=eu'
  fairlead nodes -o name`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && nearest(c, args[0]) == "" {
				return usagef("`fairlead nodes` takes no names: `fairlead status %s` shows one node, -l SELECTOR chooses several", args[0])
			}
			return cobra.NoArgs(c, args)
		},
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			nodes, now, err := c.Nodes(ctx, station.NodesQuestion{Selector: selector})
			if err != nil {
				return err
			}
			return a.printNodes(nodes, selector, func(t *table) {
				t.cut = true
				t.row("NODE", "PRESENCE", "LAST SEEN", "SYNC", "REVISION", "LABELS").more("ADDRESS", "AGENT", "KEY")
				for _, n := range nodes {
					t.row(n.Name, n.Presence, ago(n.LastSeen, now), n.Sync, revisions(n), labels(n.Labels)).more(n.Address, n.Version, n.Key)
				}
			})
		}),
	}
	c.Flags().StringVarP(&selector, "selector", "l", "", "only nodes whose labels match, such as role=edge,region!=eu")
	c.AddCommand(newNodesAdd(a), newNodesApprove(a), newNodesRemove(a))
	return c
}

// printNodes prints nodes that a selector chose, and says so when there are none.
func (a *app) printNodes(nodes []station.NodeStatus, selector string, rows func(*table)) error {
	if nodes == nil {
		nodes = []station.NodeStatus{}
	}
	if len(nodes) == 0 && (a.output == "table" || a.output == "wide") {
		if selector == "" {
			a.say("no node is registered: `fairlead token create` prints the line by which a host becomes one")
		} else {
			a.say("no node matches %q", selector)
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
func (a *app) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c, err := a.open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name+"\t"+n.Presence)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
