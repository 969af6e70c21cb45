package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// waiting is how long to wait for answers.
type waiting struct {
	timeout days
	expires life
}

func (w *waiting) flags(c *cobra.Command) {
	w.timeout = days(30 * time.Second)
	c.Flags().Var(&w.timeout, "timeout", "how long to wait for the answers; the command itself goes on")
	w.expiryFlag(c)
}

func (w *waiting) expiryFlag(c *cobra.Command) {
	w.expires = life{days(message.DefaultExpiry)}
	c.Flags().Var(&w.expires, "expires", "how long the command waits for a node that is not there, up to 30d")
}

// command sends the same command to every node that was chosen and waits for
// their ends.
func (a *app) command(ctx context.Context, c *client.Client, to chosen, method, domain string, body []byte, w waiting) ([]client.Outcome, error) {
	commands, err := to.each(method, domain, body, w)
	if err != nil {
		return nil, err
	}
	return a.sendAndWait(ctx, c, commands, w.timeout)
}

// each makes the same command for every node.
func (to chosen) each(method, domain string, body []byte, w waiting) ([]client.Command, error) {
	var all []client.Command
	for _, n := range to.names {
		s, err := subjects.Build(n, subjects.Command, method, domain)
		if err != nil {
			return nil, err
		}
		all = append(all, client.Command{Subject: s, Body: body, Expires: time.Duration(w.expires.days)})
	}
	return all, nil
}

// sendAndWait sends commands and waits for their ends. Where not all could be
// sent it says which were, and does not wait.
func (a *app) sendAndWait(ctx context.Context, c *client.Client, commands []client.Command, timeout days) ([]client.Outcome, error) {
	w, err := c.Listen(ctx, listenTo(commands))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	sent, err := c.Send(ctx, commands...)
	if err != nil {
		if len(sent) > 0 {
			a.say("%d of %s were sent all the same: %s", len(sent), count(len(commands), "command"), sentTo(sent))
		}
		return nil, err
	}
	return a.waitFor(ctx, c, w, sent, timeout), nil
}

// sentTo names the nodes that commands were sent to, as many as a person reads.
func sentTo(sent []client.Sent) string {
	const most = 10
	var names []string
	for _, s := range sent[:min(len(sent), most)] {
		names = append(names, s.Node)
	}
	if len(sent) > most {
		names = append(names, fmt.Sprintf("… and %d more; `fairlead audit --since 5m` has them", len(sent)-most))
	}
	return strings.Join(names, ", ")
}

func listenTo(commands []client.Command) string {
	node := commands[0].Subject.Node
	for _, c := range commands {
		if c.Subject.Node != node {
			return "*"
		}
	}
	return node
}

// goneGrace is how long a node that is not there is waited for, since it might
// just be coming back.
const goneGrace = 2 * time.Second

// waitFor waits for ends with progress, and stops early when all that is open
// is open at nodes that are not there.
func (a *app) waitFor(ctx context.Context, c *client.Client, w *client.Waiter, sent []client.Sent, timeout days) []client.Outcome {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeout))
	defer cancel()
	done := make(chan struct{})
	open := make(map[string]client.Sent, len(sent))
	for _, s := range sent {
		open[s.ID] = s
	}
	a.progress("waiting for %s …", count(len(sent), "answer"))
	ended := make(chan string, len(sent))
	go func() {
		defer close(done)
		a.watchOpen(ctx, c, open, ended, cancel)
	}()
	answered := 0
	outcomes := w.Wait(ctx, sent, func(o client.Outcome) {
		if o.State.Final() {
			answered++
			ended <- o.ID
		}
		a.progress("%d of %d answered; %s on %s is %s …", answered, len(sent), method(o.Subject), o.Node, o.State)
	})
	cancel()
	<-done
	a.clearProgress()
	return outcomes
}

// watchOpen calls giveUp when every open command is for a node that is not
// there.
func (a *app) watchOpen(ctx context.Context, c *client.Client, open map[string]client.Sent, ended <-chan string, giveUp func()) {
	all := len(open)
	tick := time.NewTicker(goneGrace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-ended:
			delete(open, id)
			continue
		case <-tick.C:
		}
		var names []string
		for _, s := range open {
			names = append(names, s.Node)
		}
		nodes, _, err := c.Nodes(ctx, station.NodesQuestion{Names: names})
		if err != nil {
			continue
		}
		there := slices.ContainsFunc(nodes, func(n station.NodeStatus) bool { return n.Presence == station.Online })
		if !there && len(open) > 0 {
			giveUp()
			return
		}
		a.progress("waiting for %d of %s …", len(open), count(all, "answer"))
	}
}

// printOutcomes prints how commands ended and returns the exit code.
func (a *app) printOutcomes(ctx context.Context, c *client.Client, outcomes []client.Outcome) error {
	seen := a.lastSeen(ctx, c, outcomes)
	err := a.print(outcomes, func(t *table) {
		for _, o := range outcomes {
			columns := []string{o.Node, method(o.Subject), stateOf(o, seen), explain(o)}
			if t.wide {
				columns = append(columns, o.ID)
			}
			t.row(columns...)
		}
	}, func() []string {
		var ids []string
		for _, o := range outcomes {
			ids = append(ids, o.ID)
		}
		return ids
	})
	if err != nil {
		return err
	}
	return a.end(ctx, outcomes)
}

// end is the exit code of what was waited for, and tells what goes on when
// the waiting was interrupted.
func (a *app) end(ctx context.Context, outcomes []client.Outcome) error {
	var open []string
	for _, o := range outcomes {
		if !o.State.Final() {
			open = append(open, o.ID)
		}
	}
	if ctx.Err() == nil || len(open) == 0 {
		return worst(outcomes)
	}
	what := "the command goes on"
	if len(open) > 1 {
		what = fmt.Sprintf("%d commands go on", len(open))
	}
	a.say("interrupted; %s: `fairlead audit --id %s` shows how it ends, `fairlead cancel %s` calls it off", what, open[0], open[0])
	return exitError(exitInterrupted)
}

func method(subject string) string {
	s, err := subjects.Parse(subject)
	if err != nil {
		return subject
	}
	return s.Method + "." + s.Domain
}

// lastSeen asks for the nodes of commands that have no end, and says what is
// known of each.
func (a *app) lastSeen(ctx context.Context, c *client.Client, outcomes []client.Outcome) map[string]string {
	var names []string
	for _, o := range outcomes {
		if !o.State.Final() {
			names = append(names, o.Node)
		}
	}
	seen := make(map[string]string)
	if len(names) == 0 {
		return seen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	nodes, now, err := c.Nodes(ctx, station.NodesQuestion{Names: names})
	word := "not in the register"
	if err != nil {
		word = "no station answers"
	}
	for _, name := range names {
		seen[name] = word
	}
	for _, n := range nodes {
		seen[n.Name] = "last seen " + ago(n.LastSeen, now)
		if n.LastSeen.IsZero() {
			seen[n.Name] = "never seen"
		}
	}
	return seen
}

func stateOf(o client.Outcome, seen map[string]string) string {
	switch {
	case o.State == message.Rejected && message.ExitOf(o.State, o.Answer.Kind) == message.ExitPending:
		return fmt.Sprintf("pending (%s)", o.Answer.Kind)
	case o.State.Final():
		return string(o.State)
	}
	word := "pending"
	if o.State != message.Published {
		word = string(o.State)
	}
	return fmt.Sprintf("%s (%s)", word, seen[o.Node])
}

func explain(o client.Outcome) string {
	text := o.Answer.Message
	if o.Answer.Took > 0 && o.State.Final() {
		text += fmt.Sprintf(" (%s)", time.Duration(o.Answer.Took*float64(time.Millisecond)).Round(time.Millisecond/10))
	}
	return strings.TrimSpace(text)
}

// worst is the exit code of several outcomes: a failure counts more than a
// refusal, and a refusal more than something pending.
func worst(outcomes []client.Outcome) error {
	has := make(map[int]bool)
	for _, o := range outcomes {
		has[message.ExitOf(o.State, o.Answer.Kind)] = true
	}
	for _, code := range []int{message.ExitFailed, message.ExitRefused, message.ExitPending} {
		if has[code] {
			return exitError(code)
		}
	}
	return nil
}
