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
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// waiting is how long to wait for answers.
type waiting struct {
	wait    bool // see waitFlag
	timeout days
	expires life
}

// waitFlag is of commands that can be left to themselves.
func (w *waiting) waitFlag(c *cobra.Command, byItself bool) {
	usage := "wait for the commands' ends"
	if byItself {
		usage += "; with --wait=false they go on by themselves once they are stored"
	}
	c.Flags().BoolVar(&w.wait, "wait", byItself, usage)
}

func (w *waiting) flags(a *app, c *cobra.Command) {
	w.timeout = days(30 * time.Second)
	c.Flags().Var(&w.timeout, "timeout", "how long to wait for the answers; the command itself goes on")
	c.Flags().BoolVar(&a.events, "events", false, "write what happens while waiting as JSON, one value a line, the result last")
	w.expiryFlag(c)
}

func (w *waiting) expiryFlag(c *cobra.Command) {
	w.expires = life{days(message.DefaultExpiry)}
	c.Flags().Var(&w.expires, "expires", "how long the command waits for a node that is not there, up to 30d")
}

// sendTo sends the same command to every node that was chosen, and prints how they end, or
// where nobody waits for that what was stored.
func (a *app) sendTo(ctx context.Context, c *client.Client, to chosen, method, domain string, body []byte, w waiting) error {
	if w.wait {
		outcomes, err := a.command(ctx, c, to, method, domain, body, w)
		if err != nil {
			return err
		}
		return a.printOutcomes(ctx, c, outcomes)
	}
	sent, err := a.send(ctx, c, to, method, domain, body, w)
	if perr := a.printSent(sent); perr != nil {
		return perr
	}
	return err
}

// command sends the same command to every node that was chosen and waits for
// their ends.
func (a *app) command(ctx context.Context, c *client.Client, to chosen, method, domain string, body []byte, w waiting) ([]client.Outcome, error) {
	o, err := to.order(method, domain, w)
	if err != nil {
		return nil, err
	}
	if o.Bounded() {
		return a.queueAndWait(ctx, c, o, body, w.timeout)
	}
	commands, err := a.commands(ctx, c, to, method, domain, body, w)
	if err != nil {
		return nil, err
	}
	return a.sendAndWait(ctx, c, commands, w.timeout)
}

// send is command without the wait.
func (a *app) send(ctx context.Context, c *client.Client, to chosen, method, domain string, body []byte, w waiting) ([]client.Sent, error) {
	o, err := to.order(method, domain, w)
	if err != nil {
		return nil, err
	}
	if o.Bounded() {
		return c.Queue(ctx, o, body)
	}
	commands, err := a.commands(ctx, c, to, method, domain, body, w)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, commands...)
}

// order is what is stored of a command to many.
func (to chosen) order(method, domain string, w waiting) (message.Order, error) {
	o := client.NewOrder(to.names, to.what, method, domain, time.Duration(w.expires.days))
	return o, to.pace.on(&o)
}

// queueAndWait has stations send an order's commands some at a time, and waits for
// their ends.
func (a *app) queueAndWait(ctx context.Context, c *client.Client, o message.Order, body []byte, timeout days) ([]client.Outcome, error) {
	w, err := c.Listen(ctx, "*")
	if err != nil {
		return nil, err
	}
	defer w.Close()
	sent, err := c.Queue(ctx, o, body)
	if err != nil {
		return nil, err
	}
	a.event(sentEvent{"sent", time.Now().UTC(), o.ID, len(sent)})
	a.waitFor(ctx, c, w, sent, timeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	stored, err := c.FindOrder(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	return c.Outcomes(ctx, stored) // which tells what waits for its turn from what was sent
}

// commands makes the same command for every node that was chosen. For more than
// one, or where nodes were chosen by what they are, it stores an order first.
func (a *app) commands(ctx context.Context, c *client.Client, to chosen, method, domain string, body []byte, w waiting) ([]client.Command, error) {
	if len(to.names) == 1 && to.what == "" {
		return to.each(method, domain, body, w)
	}
	o, err := to.order(method, domain, w)
	if err != nil {
		return nil, err
	}
	if err := c.Keep(ctx, o); err != nil {
		if fleet.KindOf(err) == fleet.Invalid {
			return nil, err
		}
		a.say("%s whom this was meant for cannot be stored, so `fairlead order status` will not know of it: %v", a.paint(yellow, "warning:"), err)
		return to.each(method, domain, body, w)
	}
	return client.Commands(o, body), nil
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
	a.event(sentEvent{"sent", time.Now().UTC(), sent[0].Order, len(sent)})
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
	shown := a.answers(sent, time.Now())
	ended := make(chan string, len(sent))
	go func() {
		defer close(done)
		a.watchOpen(ctx, c, open, ended, shown, cancel)
	}()
	outcomes := w.Wait(ctx, sent, func(o client.Outcome) {
		if o.State.Final() {
			ended <- o.ID
		}
		shown.moved(o, time.Now())
		a.event(stateEvent{"state", o})
	})
	cancel()
	<-done
	a.clearProgress()
	return outcomes
}

// watchMost is how many nodes are asked after: of more, one is there.
const watchMost = 8192

// mayAnswer are the nodes that are there, or of which that is not known yet.
const mayAnswer = "presence in (" + station.Online + "," + station.Duplicate + "," + station.Uncertain + ")"

// watchOpen calls giveUp when every open command is for a node that is not
// there.
func (a *app) watchOpen(ctx context.Context, c *client.Client, open map[string]client.Sent, ended <-chan string, shown *answers, giveUp func()) {
	tick, show := time.NewTicker(goneGrace), time.NewTicker(time.Second)
	defer tick.Stop()
	defer show.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-ended:
			delete(open, id)
			continue
		case <-show.C:
			shown.tick(time.Now())
			continue
		case <-tick.C:
		}
		var names []string
		for _, s := range open {
			names = append(names, s.Node)
		}
		if len(names) == 0 {
			continue
		}
		there, err := c.NodesPage(ctx, station.NodesQuestion{Names: names[:min(len(names), watchMost)], Fields: mayAnswer, Show: station.ShowNames, Most: 1})
		if err == nil && len(there.Nodes) == 0 && len(names) <= watchMost {
			giveUp()
			return
		}
	}
}
