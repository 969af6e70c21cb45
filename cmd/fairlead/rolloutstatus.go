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

func rolloutList(a *app) *cobra.Command {
	var open bool
	c := &cobra.Command{
		Use: "ls", Short: "list rollouts, the newest first", Args: cobra.NoArgs,
		Long: "Lists rollouts of the last 90 days, at most a hundred. The exit code is 4 where there is none.",
		Example: `  fairlead rollout ls
  fairlead rollout ls --open -o name`,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: open})
			if err != nil {
				return err
			}
			if len(all) == 0 {
				a.say("no rollout: `fairlead apply --waves` begins one")
			}
			err = a.print(all, func(t *table) {
				t.cut = true
				if len(all) > 0 {
					t.row("ID", "BY", "BEGUN", "NODES", "STATE", "CHANGES", "MESSAGE")
				}
				for _, r := range all {
					t.row(r.ID, r.By, r.At.Local().Format(time.DateTime), fmt.Sprint(r.Size), r.Progress, changesOf(r), r.Message)
				}
			}, func() []string {
				var ids []string
				for _, r := range all {
					ids = append(ids, r.ID)
				}
				return ids
			})
			if err == nil && len(all) == 0 {
				err = exitError(message.ExitNothing)
			}
			return err
		}),
	}
	c.Flags().BoolVar(&open, "open", false, "only those that are not over")
	return c
}

// sayRollouts tells of rollouts that are under way, which hold nodes back from what
// is stored.
func (a *app) sayRollouts(ctx context.Context, c *client.Client) {
	open, err := c.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	if err != nil {
		a.say("whether a rollout is under way is not known: %v", err)
	}
	for _, r := range open {
		a.say("rollout %s%s is %s; `fairlead rollout status` tells more", r.ID, by(r.By), r.Progress)
	}
}

func changesOf(r station.RolloutStatus) string {
	var all []string
	for _, c := range r.Changes {
		text := c.Resource()
		if c.Delete {
			text += " (removed)"
		}
		all = append(all, text)
	}
	if more := len(all) - 3; more > 0 {
		all = append(all[:3], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ")
}

func rolloutStatus(a *app) *cobra.Command {
	var watch bool
	timeout := days(0)
	c := &cobra.Command{
		Use: "status [ID]", Short: "how far a rollout is, what it waits for, and which nodes are not well", Args: cobra.MaximumNArgs(1),
		Long: `Shows waves, counts, gates, and each released node that has not proven the change. With -w it watches until the end: live on
a terminal, and a line for each step elsewhere. The exit code is 0 where it is complete on every node, 1 where it was rolled
back, aborted or has failed, or where a node has failed, and 3 while it is under way or nodes are pending.`,
		Example: `  fairlead rollout status
  fairlead rollout status -w
  fairlead rollout status 01J9ZC3V0N --json`,
		ValidArgsFunction: a.completeRollouts,
	}
	c.RunE = a.with(func(ctx context.Context, cl *client.Client, args []string) error {
		r, now, err := cl.Rollout(ctx, idOf(args))
		if err != nil {
			return err
		}
		if watch {
			return a.watchRollout(ctx, cl, r.ID, time.Duration(timeout))
		}
		if err := a.printRollout(r, now); err != nil {
			return err
		}
		return rolloutExit(r)
	})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "watch it until it is over")
	c.Flags().Var(&timeout, "timeout", "how long to watch; without it until the end")
	return c
}

func (a *app) printRollout(r station.RolloutStatus, now time.Time) error {
	return a.print(r, func(t *table) {
		s := r.State
		t.row("rollout", r.ID+by(r.By)+since(r.At, now))
		if r.Message != "" {
			t.row("message", r.Message)
		}
		if r.Undoes != "" {
			t.row("undoes", r.Undoes)
		}
		t.row("state", r.Progress)
		if s.Reason != "" && s.Phase != rollout.Queued {
			t.row("why", s.Reason)
		}
		if s.Phase == rollout.Queued && s.Behind != "" {
			t.row("why", s.Behind+" has "+s.Shares+" too")
		}
		t.row("changes", changesOf(r))
		t.row("strategy", described(r.Strategy))
		from := 0
		for i, step := range r.Steps {
			t.row("wave", waveText(s, i+1, step, from))
			from = step.Upto
		}
		for _, g := range s.Gates {
			t.row("gate", g.Gate+" "+g.Says+because(oneLine(g.Reason)))
		}
		for _, text := range notWell(r) {
			t.row("node", text)
		}
	}, func() []string { return []string{r.ID} })
}

// waveText is where a wave is.
func waveText(s rollout.State, number int, step rollout.Step, from int) string {
	text := fmt.Sprintf("%d: %s", number, count(step.Upto-from, "node"))
	if step.Approve {
		text += ", then a person"
	}
	switch {
	case number <= s.Wave && (s.Phase == rollout.RollingBack || s.Phase.Ended() && s.Phase != rollout.Complete):
		return text + ", taken back"
	case s.Phase == rollout.Complete || number < s.Wave:
		return text + ", through"
	case number > s.Wave:
		return text + ", not released"
	case s.Released < step.Upto:
		return fmt.Sprintf("%s, %d released", text, s.Released-from)
	}
	return text + ", released"
}

// notWell are the released nodes that have not proven the change, on a line each.
func notWell(r station.RolloutStatus) (lines []string) {
	for _, n := range r.Nodes {
		text := n.Name + " is " + n.Is
		if n.Is == "failed" {
			text = n.Name + " failed"
		}
		if n.Reason != "" {
			text += ": " + n.Reason
		}
		lines = append(lines, text)
	}
	if len(r.Nodes) > 0 && len(r.Nodes) < r.State.Counts.Pending+r.State.Counts.Working+r.State.Counts.Failed {
		lines = append(lines, "and more")
	}
	return lines
}

// watchEvery is how often a watched rollout is looked at.
const watchEvery = 250 * time.Millisecond

// watchRollout follows a rollout to its end, or until a timeout, 0 for none.
func (a *app) watchRollout(ctx context.Context, c *client.Client, id string, timeout time.Duration) error {
	wctx, cancel := ctx, func() {}
	if timeout > 0 {
		wctx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	r, now, err := a.found(wctx, c, id)
	last := ""
	for {
		switch kind := fleet.KindOf(err); {
		case wctx.Err() != nil: // below
		case err == nil:
			if line := a.watched(r); line != last {
				last = line
				if err := a.tellWatched(r, now, line); err != nil {
					return err
				}
			}
			if r.State.Phase.Ended() {
				return a.watchedEnd(r)
			}
			a.progress("%s", bar(r, a.columns()-1))
		case kind == fleet.Unavailable || kind == fleet.Timeout:
			a.progress("%v", err)
		default:
			return err
		}
		select {
		case <-time.After(watchEvery):
		case <-wctx.Done():
			a.clearProgress()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if r.State.Phase == rollout.Paused {
				a.say("it is paused: `fairlead rollout resume` goes on with it, `fairlead rollout abort` takes it back")
			} else {
				a.say("it goes on; `fairlead rollout status -w` watches it")
			}
			return exitError(message.ExitPending)
		}
		r, now, err = c.Rollout(wctx, id)
	}
}

// watched is what a line tells of a rollout: on a terminal the counts move in the
// bar, and lines are for what happens.
func (a *app) watched(r station.RolloutStatus) string {
	s := r.State
	text := r.Progress
	if a.terminal && s.Phase == rollout.Running {
		text = fmt.Sprintf("%s: wave %d of %d", s.Phase, s.Wave, len(r.Steps))
	}
	if s.Reason != "" && s.Phase != rollout.Queued && !(s.Phase == rollout.Running && s.Counts.Working > 0) {
		text += ": " + s.Reason
	}
	return oneLine(text)
}

func (a *app) tellWatched(r station.RolloutStatus, now time.Time, line string) error {
	a.clearProgress()
	if a.streams() {
		return a.printNext(r)
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s\n", now.Local().Format(time.TimeOnly), line)
	return err
}

// watchedEnd names the nodes that are not well, and gives the exit code.
func (a *app) watchedEnd(r station.RolloutStatus) error {
	a.clearProgress()
	for _, text := range notWell(r) {
		a.say("%s", oneLine(text))
	}
	return rolloutExit(r)
}

// bar is how far the nodes of a rollout are.
func bar(r station.RolloutStatus, width int) string {
	text := r.Progress
	if r.State.Reason != "" {
		text += " (" + r.State.Reason + ")"
	}
	if width < 3*barWidth || r.Size == 0 {
		return text
	}
	full, half := barWidth*r.State.Counts.Applied/r.Size, barWidth*r.State.Released/r.Size
	return strings.Repeat("█", full) + strings.Repeat("▒", max(0, half-full)) + strings.Repeat("░", barWidth-max(half, full)) + " " + text
}
