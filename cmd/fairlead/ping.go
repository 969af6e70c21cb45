package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func newPing(a *app) *cobra.Command {
	var t targets
	wait := days(5 * time.Second)
	c := &cobra.Command{
		Use:   "ping " + targetsUse,
		Short: "ask nodes whether they are there, all at once",
		Long: `Asks by one question that nothing stores and no agent journals, and prints who answered, after how long. Each answer is
signed by its node and names the question. It says what the node was proven to run, and what waits on it.

A node that does not answer may be away, or have been asked more than ten times in this second. The exit code is 0 when all
answered, 3 when some did not, 4 when there is no such node.`,
		Example: `  fairlead ping node1
  fairlead ping -l role=edge
  fairlead ping --all --wait 10s --json`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			nodes, err := t.find(ctx, a, c, args)
			if err != nil {
				return err
			}
			within, cancel := context.WithTimeout(ctx, time.Duration(wait))
			defer cancel()
			pongs, err := c.Ping(within, nodes.names, nil)
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return errors.Join(a.printPongs(nodes.names, pongs), ctx.Err())
		}),
	}
	t.chooseFlags(a, c)
	f := c.Flags()
	f.BoolVar(&t.all, "all", false, "every node")
	f.Var(&wait, "wait", "how long answers are waited for")
	return c
}

// printPongs tells who answered, and on stderr who did not.
func (a *app) printPongs(asked []string, pongs []client.Pong) error {
	answered := make(map[string]bool, len(pongs))
	var last time.Duration
	for _, p := range pongs {
		answered[p.Node] = true
		last = max(last, p.Took)
	}
	slices.SortFunc(pongs, func(x, y client.Pong) int { return strings.Compare(x.Node, y.Node) })
	if pongs == nil {
		pongs = []client.Pong{}
	}
	err := a.print(pongs, func(t *table) {
		if len(pongs) == 0 {
			return
		}
		t.row("NODE", "AFTER", "OBSERVED", "ANSWERS WAIT", "LOG BATCHES WAIT").more("AGENT", "CLOCK")
		for _, p := range pongs {
			t.row(p.Node, p.Took.Round(10*time.Microsecond).String(), fmt.Sprint(p.Observed), fmt.Sprint(p.Outbox), fmt.Sprint(p.Spool)).
				more(p.Agent, p.Clock.UTC().Format(time.RFC3339))
		}
	}, func() (names []string) {
		for _, p := range pongs {
			names = append(names, p.Node)
		}
		return names
	})
	if err != nil {
		return err
	}
	var silent []string
	for _, name := range asked {
		if !answered[name] {
			silent = append(silent, name)
		}
	}
	if len(silent) == 0 {
		a.say("%s answered, the last after %s", count(len(pongs), "node"), last.Round(time.Millisecond))
		return nil
	}
	const shown = 10
	more := ""
	if n := len(silent) - shown; n > 0 {
		silent, more = silent[:shown], fmt.Sprintf(" and %d more", n)
	}
	a.say("%d of %s answered; silent: %s%s", len(pongs), count(len(asked), "node"), strings.Join(silent, ", "), more)
	return exitError(message.ExitPending)
}
