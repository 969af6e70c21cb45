package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// cancelling says which commands are to be called off.
type cancelling struct {
	targets
	method, order string
	older         days
	dry           bool
	wait          waiting
}

func newCancel(a *app) *cobra.Command {
	var o cancelling
	c := &cobra.Command{
		Use:   "cancel ID … | NODE … | -l SELECTOR",
		Short: "call off commands that have not begun",
		Long: `Calls off waiting commands: one by its ID, or all that wait for some nodes, of a method, of an order, or for a while.
To a node that is not there the cancellation waits beside the command, as long as that and longer, and is read first: the
command does not run. One that runs or has ended is left alone, and the answer says so; but a file on its way to a node (push)
is called off while it comes. The audit keeps who called off what.

Cancellations themselves are never called off by a choice of nodes, and nginxconfig only with --method nginxconfig: a node
takes its newest desired state also without being told.`,
		Example: `  fairlead cancel 01KAM3S2Y1C6Q8Z5V7W9X0ABCD
  fairlead cancel ship1 --method reload
  fairlead cancel -l role=edge --older-than 1d --dry-run
  fairlead cancel --order 01KAM3S2Y1C6Q8Z5V7W9X0ABCD`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !o.choosing() && o.from == "" && o.order == "" {
				return usagef("name what to call off: `fairlead cancel ID …`, or choose it with NODE, -l SELECTOR, --order or --all")
			}
			return nil
		},
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return a.cancel(ctx, c, args, o)
		}),
	}
	f := c.Flags()
	o.chooseFlags(a, c)
	f.BoolVar(&o.all, "all", false, "those to every node")
	f.StringVar(&o.method, "method", "", "only commands of this method")
	f.StringVar(&o.order, "order", "", "only commands of the order of this `ID`")
	f.Var(&o.older, "older-than", "only those that wait for longer")
	f.BoolVar(&o.dry, "dry-run", false, "list them and call off none")
	o.wait.flags(a, c)
	f.Lookup("expires").Hidden = true
	for name, complete := range map[string]cobra.CompletionFunc{"order": a.completeOrders, "method": completeMethods} {
		if err := c.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was made above
		}
	}
	return c
}

func newOrderCancel(a *app) *cobra.Command {
	var o cancelling
	c := &cobra.Command{
		Use: "cancel ID", Short: "call off what has not begun of an order",
		Long:    "The same as `fairlead cancel --order ID`.",
		Example: `  fairlead order cancel 01KAM3S2Y1C6Q8Z5V7W9X0ABCD`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeOrders,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if _, err := c.FindOrder(ctx, args[0]); err != nil {
				return err
			}
			o.order = args[0]
			return a.cancel(ctx, c, nil, o)
		}),
	}
	o.wait.flags(a, c)
	c.Flags().Lookup("expires").Hidden = true
	return c
}

func completeMethods(*cobra.Command, []string, string) (found []string, _ cobra.ShellCompDirective) {
	for _, h := range handlers.All().Handlers() {
		found = append(found, h.Method+"\t"+h.Summary)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// cancelled is what became of a command that was to be called off.
type cancelled struct {
	ID      string        `json:"id"`
	Node    string        `json:"node"`
	Subject string        `json:"subject"`
	From    string        `json:"from"`         // who sent it
	State   message.State `json:"state"`        // its own: cancelled, how else it ended, or how far it is
	Message string        `json:"message"`      // what that means
	By      string        `json:"by,omitempty"` // id of the cancellation
	Exit    int           `json:"exit"`
}

func (a *app) cancel(ctx context.Context, c *client.Client, args []string, o cancelling) error {
	unsent, err := a.unqueue(ctx, c, o)
	if err != nil {
		return err
	}
	found, ended, now, err := a.toCancel(ctx, c, args, o)
	if err != nil {
		return err
	}
	if gone := slices.Concat(unsent, ended); len(found) == 0 && len(gone) > 0 {
		return a.endCancelled(gone)
	}
	if len(found) == 0 {
		return a.nothingToCancel(ctx, c, args, o)
	}
	var all []cancelled
	for _, w := range found {
		s, err := subjects.Parse(w.Subject)
		if err != nil {
			return err
		}
		all = append(all, cancelled{ID: w.ID, Node: s.Node, Subject: w.Subject, From: w.From, State: w.State, Message: "waits" + since(w.At, now)})
	}
	if o.dry {
		return a.endCancelled(slices.Concat(unsent, ended, all))
	}
	commands := make([]client.Command, len(found))
	for i, w := range found {
		if commands[i], err = client.CallOff(w); err != nil {
			return err
		}
		commands[i].ID = message.NewID()
		all[i].By = commands[i].ID
	}
	outcomes, err := a.sendAndWait(ctx, c, commands, o.wait.timeout)
	if err != nil {
		return err
	}
	if err := a.became(ctx, c, all, outcomes); err != nil {
		return err
	}
	return a.endCancelled(slices.Concat(unsent, ended, all))
}

// endCancelled prints what became of commands, and returns the exit code.
func (a *app) endCancelled(all []cancelled) error {
	if err := a.printCancelled(all); err != nil {
		return err
	}
	worst := message.ExitOK
	for _, code := range []int{message.ExitPending, message.ExitRefused} {
		if slices.ContainsFunc(all, func(x cancelled) bool { return x.Exit == code }) {
			worst = code
		}
	}
	if worst != message.ExitOK {
		return exitError(worst)
	}
	return nil
}

// nothingToCancel says that no command that was meant waits. Of a whole order all of
// whose commands were called off that is what was wanted.
func (a *app) nothingToCancel(ctx context.Context, c *client.Client, args []string, o cancelling) error {
	if o.order == "" || len(args) > 0 || o.choosing() || o.from != "" || o.method != "" || o.older > 0 {
		a.say("no such command waits")
		return exitError(message.ExitNothing)
	}
	order, err := c.FindOrder(ctx, o.order)
	if err != nil {
		return err
	}
	outcomes, err := c.Outcomes(ctx, order)
	if err != nil {
		return err
	}
	code, states := message.ExitOK, make(map[message.State]int)
	for _, out := range outcomes {
		states[out.State]++
		if out.State != message.Cancelled {
			code = message.ExitRefused
		}
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	a.say("no such command of order %s waits any more: %s", order.ID, strings.Join(parts, ", "))
	if code != message.ExitOK {
		return exitError(code)
	}
	return nil
}

// unqueue ends the queue of an order of which stations send some at a time, and
// returns what was never sent.
func (a *app) unqueue(ctx context.Context, c *client.Client, o cancelling) (unsent []cancelled, err error) {
	if o.order == "" {
		return nil, nil
	}
	order, err := c.FindOrder(ctx, o.order)
	if err != nil || !order.Bounded() {
		return nil, err
	}
	if !o.dry {
		if err := c.Unqueue(ctx, order.ID); err != nil {
			return nil, err
		}
	}
	outcomes, err := c.Outcomes(ctx, order)
	for _, out := range outcomes {
		if out.Unpublished && out.State != message.Expired {
			unsent = append(unsent, cancelled{ID: out.ID, Node: out.Node, Subject: out.Subject, From: order.By, State: out.State, Message: "its turn had not come"})
		}
	}
	return unsent, err
}

// toCancel finds the commands that are meant; of those that are named also what has
// ended already.
func (a *app) toCancel(ctx context.Context, c *client.Client, args []string, o cancelling) (found []station.Waiting, ended []cancelled, now time.Time, err error) {
	ids := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		_, isID := message.CreatedAt(arg)
		return !isID
	})
	if len(ids) > 0 {
		if len(ids) < len(args) || o.choosing() || o.from != "" || o.order != "" || o.method != "" || o.older > 0 {
			return nil, nil, now, usagef("give IDs of commands, or choose them by their nodes and the like, not both")
		}
		return a.waitingByID(ctx, c, ids)
	}
	q := station.WaitingQuestion{Method: o.method, Order: o.order, Older: time.Duration(o.older)}
	if len(args) > 0 || o.selector != "" || o.fields != "" || o.from != "" {
		o.drained = true // what waits for them waits all the same
		nodes, err := o.find(ctx, a, c, args)
		if err != nil {
			return nil, nil, now, err
		}
		q.Names = nodes.names
	}
	found, now, err = c.CommandsWaiting(ctx, q)
	return slices.DeleteFunc(found, func(w station.Waiting) bool {
		s, err := subjects.Parse(w.Subject)
		return err != nil || s.Method == subjects.MethodCancel || s.Method == handlers.MethodNginxConfig && o.method == ""
	}), nil, now, err
}

// waitingByID looks for commands by their ids.
func (a *app) waitingByID(ctx context.Context, c *client.Client, ids []string) (found []station.Waiting, ended []cancelled, now time.Time, err error) {
	for _, id := range ids {
		answer, err := c.Command(ctx, id)
		switch {
		case err != nil:
			return nil, nil, now, err
		case answer.State == "":
			if _, err := c.FindOrder(ctx, id); err == nil {
				return nil, nil, now, usagef("%s is an order: `fairlead cancel --order %s` calls off what has not begun of it", id, id)
			}
			if _, _, err := c.Rollout(ctx, id); err == nil {
				return nil, nil, now, usagef("%s is a rollout: `fairlead rollout abort %s` ends it, and `fairlead rollout undo %s` takes it back", id, id, id)
			}
			return nil, nil, now, fleet.Errorf(fleet.Unknown, "no command %s waits or ended lately: `fairlead audit --id %s` looks further back", id, id)
		case answer.State.Final():
			e := answer.Ended
			x := cancelled{ID: id, Subject: e.Subject, From: e.From}
			if s, err := subjects.Parse(e.Subject); err == nil {
				x.Node = s.Node
			}
			x.ended(e.State, e.Answer)
			ended = append(ended, x)
		default:
			found = append(found, answer.Waiting)
		}
	}
	return found, ended, time.Now(), nil
}

// ended is of a command that had its end before it could be called off. One that was called
// off is what it should be.
func (x *cancelled) ended(state message.State, answer message.Answer) {
	x.State, x.By = state, cmp.Or(x.By, answer.By)
	if state == message.Cancelled {
		x.Message = "had been called off already"
		return
	}
	x.Message, x.Exit = "had ended already: "+answer.Message, message.ExitRefused
}

// became says what became of each command, by how its cancellation ended.
func (a *app) became(ctx context.Context, c *client.Client, all []cancelled, outcomes []client.Outcome) error {
	byID := make(map[string]client.Outcome, len(outcomes))
	for _, o := range outcomes {
		byID[o.ID] = o
	}
	var sent []client.Sent
	for _, x := range all {
		sent = append(sent, client.Sent{ID: x.ID, Subject: x.Subject, Node: x.Node})
	}
	ends, err := c.EndsOf(ctx, sent)
	if err != nil {
		return err
	}
	seen := a.lastSeen(ctx, c, outcomes)
	for i := range all {
		x, o := &all[i], byID[all[i].By]
		end, ended := ends[x.ID]
		switch {
		case o.State == message.Succeeded || ended && end.State == message.Cancelled:
			x.State, x.Message = message.Cancelled, "it did not run"
			if s, err := subjects.Parse(x.Subject); err == nil && s.Method == subjects.MethodPush {
				x.Message = "no file was put in place; what had come of it stays for the next push"
			}
		case ended:
			x.ended(end.State, end.Answer)
		case o.State.Final():
			x.Message, x.Exit = o.Answer.Message, message.ExitRefused
		default:
			x.Message, x.Exit = fmt.Sprintf("pending (%s): it is called off when the node is there, before it could run", seen[x.Node]), message.ExitPending
		}
	}
	return nil
}

func (a *app) printCancelled(all []cancelled) error {
	return a.print(all, func(t *table) {
		for _, x := range all {
			t.row(x.Node, method(x.Subject), x.ID, string(x.State), x.Message).more(x.From, x.By)
		}
	}, func() (ids []string) {
		for _, x := range all {
			ids = append(ids, x.ID)
		}
		return ids
	})
}
