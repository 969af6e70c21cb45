package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func newOrder(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "order",
		Short: "commands to many nodes: whom they were meant for, and what became of them",
		Long: `A command to several nodes is stored as an order before it is sent: whom it was meant for at that moment, by whose signature.
What became of it is told against these nodes, from any host and also later: who has not answered is pending, whatever the
selection would choose today. Orders are kept as long as answers, 37 days.`,
		Example: `  fairlead order ls
  fairlead order status`,
		Args: noSubcommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newOrderList(a), newOrderStatus(a), newOrderCancel(a))
	return c
}

// noSubcommand refuses what is no subcommand.
func noSubcommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongArguments(c, args)
	}
	return nil
}

func newOrderList(a *app) *cobra.Command {
	since := lately(24 * time.Hour)
	c := &cobra.Command{
		Use: "ls", Short: "list orders, the newest last",
		Example: `  fairlead order ls
  fairlead order ls --since 7d -o json`,
		Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := c.Orders(ctx, since.Time)
			if err != nil {
				return err
			}
			if len(all) == 0 && !a.streams() {
				a.say("no order %s: --since 7d looks further back", since.since())
			}
			var shown []orderLine
			for _, o := range all {
				shown = append(shown, orderLine{o.ID, o.By, o.At, o.Method, o.Domain, o.Chosen, len(o.Nodes), o.Expires})
			}
			err = a.print(shown, func(t *table) {
				t.cut = true
				if len(all) > 0 {
					t.row("ORDER", "WHEN", "BY", "COMMAND", "NODES", "CHOSEN")
				}
				for _, o := range all {
					t.row(o.ID, o.At.Local().Format(time.DateTime), o.By, o.Method+"."+o.Domain, count(len(o.Nodes), "node"), o.Chosen)
				}
			}, func() (ids []string) {
				for _, o := range all {
					ids = append(ids, o.ID)
				}
				return ids
			})
			if err == nil && len(all) == 0 {
				return exitError(message.ExitNothing)
			}
			return err
		}),
	}
	since.flag(c.Flags(), "how far to look back")
	return c
}

// orderLine is an order in a list for machines.
type orderLine struct {
	ID      string    `json:"id"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Method  string    `json:"method"`
	Domain  string    `json:"domain"`
	Chosen  string    `json:"chosen,omitempty"`
	Nodes   int       `json:"nodes"`
	Expires time.Time `json:"expires"`
}

func newOrderStatus(a *app) *cobra.Command {
	var wait bool
	w := waiting{}
	c := &cobra.Command{
		Use: "status [ID]", Short: "what became of an order on every node that it was meant for",
		Long: `Shows what became of an order, of your last one where no ID is given, on every node that it was meant for. With -w it waits
for those that have not ended, as the command itself did.`,
		Example: `  fairlead order status
  fairlead order status 01KAM3S2Y1C6Q8Z5V7W9X0ABCD -w --timeout 1h
  fairlead order status 01KAM3S2Y1C6Q8Z5V7W9X0ABCD -o wide`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeOrders,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			o, err := a.orderOf(ctx, c, args)
			if err != nil {
				return err
			}
			outcomes, err := a.outcomesOf(ctx, c, o, wait, w.timeout)
			if err != nil {
				return err
			}
			if !a.streams() && !a.events && a.output != "name" {
				a.say("order %s of %s: %s to %s, by %s%s", o.ID, o.At.Local().Format(time.DateTime), o.Method+"."+o.Domain, count(len(o.Nodes), "node"), o.By, prefixed(", chosen by ", o.Chosen))
			}
			return a.printOutcomes(ctx, c, outcomes)
		}),
	}
	c.Flags().BoolVarP(&wait, "wait", "w", false, "wait for the nodes that have not ended")
	w.flags(a, c)
	c.Flags().Lookup("expires").Hidden = true
	return c
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// orderOf is the order of that id, or the user's last one.
func (a *app) orderOf(ctx context.Context, c *client.Client, args []string) (message.Order, error) {
	if len(args) > 0 {
		return c.FindOrder(ctx, args[0])
	}
	all, err := c.Orders(ctx, time.Time{})
	if err != nil {
		return message.Order{}, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].By == c.Me() {
			return all[i], nil
		}
	}
	a.say("you have sent no order: `fairlead order ls` lists those of all")
	return message.Order{}, exitError(message.ExitNothing)
}

// outcomesOf looks how far an order has come, and waits for the rest if it is to.
func (a *app) outcomesOf(ctx context.Context, c *client.Client, o message.Order, wait bool, timeout days) ([]client.Outcome, error) {
	var w *client.Waiter
	var err error
	if wait { // before it is looked, so that nothing is missed between
		if w, err = c.Listen(ctx, "*"); err != nil {
			return nil, err
		}
		defer w.Close()
	}
	outcomes, err := c.Outcomes(ctx, o)
	if err != nil || !wait {
		return outcomes, err
	}
	var open []client.Sent
	at := make(map[string]int)
	for i, outcome := range outcomes {
		if !outcome.State.Final() && outcome.State != client.Unsent {
			open = append(open, outcome.Sent)
			at[outcome.ID] = i
		}
	}
	if len(open) > 0 {
		for _, outcome := range a.waitFor(ctx, c, w, open, timeout) {
			outcomes[at[outcome.ID]] = outcome
		}
	}
	return outcomes, nil
}

func (a *app) completeOrders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
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
	all, err := c.Orders(ctx, time.Now().Add(-7*24*time.Hour))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID+"\t"+o.Method+" to "+count(len(o.Nodes), "node")+" by "+o.By)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
