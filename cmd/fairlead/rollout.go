package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

func newRollout(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "rollout", Args: cobra.NoArgs,
		Short: "watch and steer changes that travel in waves",
		Long: `A rollout begins with ` + "`fairlead apply --waves`" + ` or ` + "`fairlead delete --waves`" + `. Stations drive it, whether this command line is
there or not. Where no ID is given the one that is under way is meant, and none that is queued behind it, or else the newest;
a beginning or an end of an ID does.`,
		Example: `  fairlead rollout ls
  fairlead rollout status -w
  fairlead rollout undo --wait`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(rolloutList(a), rolloutStatus(a), rolloutUndo(a),
		rolloutOrder(a, rollout.OrderPause, "release no more nodes; those released keep the change", "A failure among them is seen when it is resumed.",
			"  fairlead rollout pause -m 'the shop is busy'"),
		rolloutOrder(a, rollout.OrderResume, "go on after a pause, also one that a failure made", "What has failed until now is forgiven: the next failure counts.",
			"  fairlead rollout resume"),
		rolloutOrder(a, rollout.OrderAbort, "have all released nodes return to what was before", "What is queued ends at once.",
			"  fairlead rollout abort -m 'wrong price list'"),
		rolloutOrder(a, rollout.OrderPromote, "go on with the next wave now, whatever bake, gates and approval say",
			"Nodes must still prove it, and too many failures still end it. With --all that goes for every wave that follows.",
			"  fairlead rollout promote\n  fairlead rollout promote --all"),
		rolloutOrder(a, rollout.OrderApprove, "say that the next wave may follow", "It is for the wave that is under way and no later one.",
			"  fairlead rollout approve"))
	return c
}

// rolloutOrder is a command that gives an order.
func rolloutOrder(a *app, do, short, long, example string) *cobra.Command {
	o := rollout.Order{Do: do}
	timeout := days(30 * time.Second)
	c := &cobra.Command{
		Use: do + " [ID]", Short: short, Args: cobra.MaximumNArgs(1), Example: example,
		Long: strings.ToUpper(short[:1]) + short[1:] + ". " + long + ` The order stands once it is stored; the exit code is
0 where a station has followed it, 2 with the reason where it cannot be, 3 where none has taken it up yet.`,
		ValidArgsFunction: a.completeRollouts,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			r, _, err := c.Rollout(ctx, idOf(args))
			if err != nil {
				return err
			}
			if o.Wave == 0 && (do == rollout.OrderPromote || do == rollout.OrderApprove) {
				o.Wave = r.State.Wave // the one that the person has seen
			}
			octx, cancel := context.WithTimeout(ctx, time.Duration(timeout))
			defer cancel()
			r, err = c.Steer(octx, r.ID, o)
			if fleet.KindOf(err) == fleet.Timeout && ctx.Err() == nil {
				a.say("%v", err)
				return exitError(message.ExitPending)
			}
			if err != nil {
				return err
			}
			return a.print(r, func(t *table) { t.row("rollout "+r.ID, r.Progress) }, func() []string { return []string{r.ID} })
		}),
	}
	switch do {
	case rollout.OrderPromote:
		c.Flags().BoolVar(&o.All, "all", false, "every wave that follows, too")
	case rollout.OrderApprove:
		c.Flags().IntVar(&o.Wave, "wave", 0, "the `NUMBER` of the wave that you approve (default the one under way)")
	}
	(*reason)(&o.Why).flagFor(c, "signed and kept in the audit")
	c.Flags().Var(&timeout, "timeout", "how long to wait for a station")
	return c
}

func idOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func rolloutUndo(a *app) *cobra.Command {
	var now, wait bool
	var why reason
	timeout := days(time.Minute)
	c := &cobra.Command{
		Use: "undo [ID]", Short: "take a rollout back, also one that is complete", Args: cobra.MaximumNArgs(1),
		Long: `Of a rollout that is under way it is the same as abort. One that is complete is taken back by a new change: each resource
becomes what it was before, unless it was changed again since. That change travels through the same waves, or with --now to
all nodes at once.`,
		Example: `  fairlead rollout undo --wait
  fairlead rollout undo 01J9ZC3V0N --now --message 'customers complain'`,
		ValidArgsFunction: a.completeRollouts,
	}
	c.RunE = a.with(func(ctx context.Context, cl *client.Client, args []string) error {
		r, _, err := cl.Rollout(ctx, idOf(args))
		switch {
		case err != nil:
			return err
		case !r.State.Phase.Ended():
			if _, err = cl.Steer(ctx, r.ID, rollout.Order{Do: rollout.OrderAbort, Why: string(why)}); err != nil {
				return err
			}
			return a.shown(ctx, cl, r.ID, wait, timeoutOf(c, timeout))
		case r.State.Phase != rollout.Complete:
			return fleet.Errorf(fleet.Conflict, "rollout %s is %s: there is nothing to undo", r.ID, r.State.Phase)
		}
		plan, err := cl.TakeBack(ctx, r.State.Sequence)
		if err != nil {
			return err
		}
		plan.Message = string(why)
		if why == "" {
			plan.Message = "undoes rollout " + r.ID
		}
		if now {
			return a.carryOut(ctx, cl, plan, wait, timeout)
		}
		return a.beginRollout(ctx, cl, plan, r.Strategy, r.ID, wait, timeoutOf(c, timeout))
	})
	c.Flags().BoolVar(&now, "now", false, "to all nodes at once instead of through the same waves")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is over")
	why.flag(c)
	c.Flags().Var(&timeout, "timeout", "how long to wait; without it, and not --now, until the end of the rollout")
	return c
}

// timeoutOf is a timeout that somebody gave, 0 for none.
func timeoutOf(c *cobra.Command, timeout days) time.Duration {
	if !c.Flags().Changed("timeout") {
		return 0
	}
	return time.Duration(timeout)
}

// beginRollout has a plan travel, and tells what became of it where somebody waits.
func (a *app) beginRollout(ctx context.Context, c *client.Client, plan client.Plan, how rollout.Strategy, undoes string, wait bool, timeout time.Duration) error {
	if plan.Changes() == 0 {
		return a.carryOut(ctx, c, plan, false, 0)
	}
	a.sayLeftOut(plan)
	for _, text := range plan.Warnings {
		a.say("%s", text)
	}
	id, err := c.StartRollout(ctx, plan, how, undoes)
	if err != nil {
		return err
	}
	a.say("rollout %s begins: `fairlead rollout status -w` watches it", id)
	return a.shown(ctx, c, id, wait, timeout)
}

// shown prints a rollout now, or watches it to its end.
func (a *app) shown(ctx context.Context, c *client.Client, id string, wait bool, timeout time.Duration) error {
	if wait {
		return a.watchRollout(ctx, c, id, timeout)
	}
	r, now, err := a.found(ctx, c, id)
	if err != nil {
		return err
	}
	if err := a.printRollout(r, now); err != nil {
		return err
	}
	if r.State.Phase.Ended() {
		return rolloutExit(r)
	}
	return nil // it was begun, and that is what was asked for
}

// found is a rollout that was begun this moment: stations may not have read it yet.
func (a *app) found(ctx context.Context, c *client.Client, id string) (station.RolloutStatus, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, foundTime)
	defer cancel()
	for {
		r, now, err := c.Rollout(ctx, id)
		if fleet.KindOf(err) != fleet.Unknown || ctx.Err() != nil {
			return r, now, err
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
		}
	}
}

const foundTime = 5 * time.Second

// rolloutExit is the exit code of a rollout: that of its worst node.
func rolloutExit(r station.RolloutStatus) error {
	switch s := r.State; {
	case !s.Phase.Ended():
		return exitError(message.ExitPending)
	case s.Phase != rollout.Complete, s.Counts.Failed > 0:
		return exitError(message.ExitFailed)
	case s.Counts.Pending+s.Counts.Working > 0:
		return exitError(message.ExitPending)
	}
	return nil
}

// completeRollouts knows the ids of rollouts, the newest first.
func (a *app) completeRollouts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) > 0 {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c, err := a.open(ctx)
	if err != nil {
		return nil, nothing
	}
	defer c.Close()
	all, err := c.Rollouts(ctx, station.RolloutsQuestion{})
	if err != nil {
		return nil, nothing
	}
	var known []string
	for _, r := range all {
		known = append(known, fmt.Sprintf("%s\t%s%s%s", r.ID, r.State.Phase, by(r.By), because(oneLine(r.Message))))
	}
	return known, nothing
}
