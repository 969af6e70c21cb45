package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

func newLabel(a *app) *cobra.Command {
	var t targets
	var overwrite bool
	c := &cobra.Command{
		Use:   "label " + targetsUse + " KEY=VALUE … KEY- …",
		Short: "give nodes labels, or take them away",
		Long: `Gives nodes labels, and takes those away that are written with a - behind them. A label that a node has with another value is
left as it is, and nothing is changed, unless --overwrite is given. Resources choose nodes by their labels: what selects the
node after that is what it becomes.`,
		Example: `  fairlead label ship1 ship2 region=eu role=edge
  fairlead label -l region=eu --field 'os=debian-12' ring=canary --overwrite
  fairlead label ship1 ring-`,
		Args: func(_ *cobra.Command, args []string) error {
			_, give, take := labelArgs(args)
			if len(give)+len(take) == 0 {
				return usagef("name a label: `fairlead label NODE … KEY=VALUE`, or KEY- to take it away")
			}
			return nil
		},
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			nodes, give, take := labelArgs(args)
			if faults := fleet.CheckLabels(give); len(faults) > 0 {
				return faults.Err()
			}
			to, err := t.find(ctx, a, c, nodes)
			if err != nil {
				return err
			}
			if !overwrite {
				if err := unlike(ctx, c, to.names, give); err != nil {
					return err
				}
			}
			changed, err := c.Edit(ctx, to.names, func(r *station.NodeRecord) error {
				r.Labels = maps.Clone(r.Labels)
				if r.Labels == nil {
					r.Labels = make(map[string]string)
				}
				maps.Copy(r.Labels, give)
				for _, key := range take {
					delete(r.Labels, key)
				}
				return nil
			})
			return a.printChanged(to.names, changed, "labelled", err)
		}),
	}
	t.editFlags(a, c)
	c.Flags().BoolVar(&overwrite, "overwrite", false, "give a label another value where a node has it")
	return c
}

// labelArgs tells nodes, labels to give and labels to take away apart.
func labelArgs(args []string) (nodes []string, give map[string]string, take []string) {
	give = make(map[string]string)
	for _, arg := range args {
		key, value, isLabel := strings.Cut(arg, "=")
		switch {
		case isLabel && !strings.HasPrefix(arg, "@"):
			give[key] = value
		case strings.HasSuffix(arg, "-") && arg != "-":
			take = append(take, strings.TrimSuffix(arg, "-"))
		default:
			nodes = append(nodes, arg)
		}
	}
	return nodes, give, take
}

// unlike is the error for nodes that have one of the labels with another value.
func unlike(ctx context.Context, c *client.Client, names []string, give map[string]string) error {
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{Names: names, Show: station.ShowList})
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(give)) {
		var have []string
		for _, n := range nodes {
			if value, given := n.Labels[key]; given && value != give[key] {
				have = append(have, n.Name+" ("+key+"="+value+")")
			}
		}
		if len(have) > 0 {
			return fleet.Errorf(fleet.Conflict, "%s of these have %s with another value: %s; --overwrite gives it %s=%s", strconv.Itoa(len(have)), key, client.NameNodes(have), key, give[key])
		}
	}
	return nil
}

// printChanged says which nodes were changed, and how many were so already.
func (a *app) printChanged(names, changed []string, word string, err error) error {
	if err != nil {
		if len(changed) > 0 {
			a.say("%s all the same: %s", word, client.NameNodes(changed))
		}
		return err
	}
	return a.print(changed, func(*table) {
		for _, name := range changed {
			fmt.Fprintf(a.stdout, "%s %s\n", word, name)
		}
		if same := len(names) - len(changed); same > 0 {
			a.say("nothing to change on %s", count(same, "node"))
		}
	}, func() []string { return changed })
}
