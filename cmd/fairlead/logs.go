package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func newLogs(a *app) *cobra.Command {
	var follow bool
	since := lately(time.Hour)
	c := &cobra.Command{
		Use:   "logs [NODE] [-f]",
		Short: "show the log lines that nodes forwarded",
		Example: `  fairlead logs node1
  fairlead logs -f
  fairlead logs node1 --since 7d --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if a.output == "name" {
				return usagef("-o name: log lines have no names; use table, json or yaml")
			}
			o := client.LogOptions{Since: since.Time, Follow: follow}
			if len(args) == 1 {
				if _, err := c.Node(ctx, args[0]); err != nil {
					return err
				}
				o.Node = args[0]
			}
			lines := 0
			err := c.Logs(ctx, o, func(b client.LogBatch) error {
				lines += len(b.Records)
				return a.printLogs(b)
			})
			if ctx.Err() != nil && follow {
				return nil
			}
			if err == nil && lines == 0 {
				a.say("no log lines %s: --since 7d looks further back, -f waits for the next", since.since())
				return exitError(message.ExitNothing)
			}
			return err
		}),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until interrupted")
	since.flag(c.Flags(), "how far to look back")
	return c
}

func (a *app) printLogs(b client.LogBatch) error {
	if b.Missed > 0 {
		a.say("%s: %s came faster than %s could be read and are lost", b.Node, count(int(b.Missed), "record"), b.Domain)
	}
	for _, r := range b.Records {
		if a.streams() {
			err := a.printNext(map[string]any{"node": b.Node, "domain": b.Domain, "storedAt": b.StoredAt, "record": r})
			if err != nil {
				return err
			}
			continue
		}
		at := r.At
		if at.IsZero() {
			at = b.StoredAt
		}
		if _, err := fmt.Fprintf(a.stdout, "%s %s %s %s\n", a.paint(dim, at.Local().Format(time.RFC3339)), b.Node, r.App, oneLine(r.Message)); err != nil {
			return err
		}
	}
	return nil
}
