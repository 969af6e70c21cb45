package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

func newNodesApprove(a *app) *cobra.Command {
	var key string
	var yes bool
	c := &cobra.Command{
		Use:   "approve [NODE]",
		Short: "let a node in that waits for it; without NODE, list those that wait",
		Long: `A host that joins with a token made by --approve waits for this. Compare the key with the one that the host shows: it is
the node's from then on, and no other host's.`,
		Example: `  fairlead nodes approve
  fairlead nodes approve ship1
  fairlead nodes approve ship1 --key UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			waiting, err := c.Waiting(ctx)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.printWaiting(waiting)
			}
			w, err := theOne(waiting, args[0], key)
			if err != nil {
				return err
			}
			if !yes && key == "" {
				a.say("%s, host %s, labels %s\n  %s", w.Node, firstWord(w.Facts.Hostname, "unknown"), firstWord(labels(w.Labels), "none"), w.Key)
				if ok, err := a.ask("does the host show this key? let it in"); err != nil || !ok {
					return cmp.Or(err, error(exitError(message.ExitRefused)))
				}
			}
			if err := c.Approve(ctx, w); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "approved %s\n", w.Node)
			return nil
		}),
	}
	c.Flags().StringVar(&key, "key", "", "the `KEY` that the host shows: approve without a question if it is the one")
	c.Flags().BoolVar(&yes, "yes", false, "approve without a question")
	return c
}

// theOne is the node that waits under a name, and with a key where one is given.
func theOne(waiting []station.WaitingNode, name, key string) (station.WaitingNode, error) {
	var found []station.WaitingNode
	for _, w := range waiting {
		if w.Node == name && (key == "" || w.Key == key) {
			found = append(found, w)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return station.WaitingNode{}, usagef("%d hosts wait as %s, with different tokens: choose one with --key", len(found), name)
	case key != "":
		return station.WaitingNode{}, fleet.Errorf(fleet.Unknown, "no host waits as %s with that key: `fairlead nodes approve` lists those that wait", name)
	}
	return station.WaitingNode{}, fleet.Errorf(fleet.Unknown, "no host waits as %s: `fairlead nodes approve` lists those that wait", name)
}

func (a *app) printWaiting(waiting []station.WaitingNode) error {
	if len(waiting) == 0 && !a.streams() {
		a.say("no node waits for its approval")
	}
	err := a.print(waiting, func(t *table) {
		if len(waiting) > 0 {
			t.row("NODE", "HOST", "KEY", "LABELS").more("TOKEN", "SYSTEM")
		}
		for _, w := range waiting {
			t.row(w.Node, w.Facts.Hostname, w.Key, labels(w.Labels)).more(station.ShortID(w.Token), w.Facts.OS)
		}
	}, func() []string {
		var names []string
		for _, w := range waiting {
			names = append(names, w.Node)
		}
		return names
	})
	if err == nil && len(waiting) == 0 {
		return exitError(message.ExitNothing)
	}
	return err
}
