package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func newHistory(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "history KIND/NAME | KIND NAME | NODE",
		Short: "what a resource was, or a node should be, who changed it, when and why",
		Long: `Prints the revisions of a resource that are kept (the last 64), deleted ones too, the oldest first: number, time by the broker's
clock, whose key signed it, what was done and why. The number is what get --revision, diff --from and rollback --to take.
What is not proven to be by somebody who may write it is marked, and stations ignore it.

With NODE it is what the node should be: digest, who changed which resource, and how the node answered, by the audit.`,
		Example: `  fairlead history VirtualHost/hello
  fairlead history VirtualHost hello -o wide
  fairlead history node1`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeHistory,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			kind, name, err := kindAndName(args)
			if len(args) == 1 && name == "" && !strings.Contains(args[0], "/") {
				return a.printNodeHistory(ctx, c, args[0], kind)
			}
			if err != nil {
				return err
			}
			all, err := c.History(ctx, kind, name)
			if err != nil {
				return err
			}
			return a.printHistory(all)
		}),
	}
}

// moment is a time as people compare it with others.
func moment(at time.Time) string { return at.Local().Format(time.DateTime) }

func (a *app) printHistory(all []client.Revision) error {
	return a.print(all, func(t *table) {
		t.cut = true
		t.row("REVISION", "WHEN", "BY", "WHAT", "MESSAGE").more("CHANGE", "KEY")
		for _, r := range all {
			t.row(number(r.Revision), moment(r.At), writer(r), done(r), cmp.Or(r.Message, "-")).more(cmp.Or(r.Change, "-"), cmp.Or(r.Key, "-"))
		}
	}, func() []string { return numbers(all) })
}

func number(revision uint64) string { return strconv.FormatUint(revision, 10) }

func numbers(all []client.Revision) (numbers []string) {
	for _, r := range all {
		numbers = append(numbers, number(r.Revision))
	}
	return numbers
}

// writer is who wrote a revision, for people.
func writer(r client.Revision) string {
	switch {
	case r.Proven:
		return fmt.Sprintf("%s (%s)", r.By, r.Role)
	case r.By == "":
		return "(unsigned)"
	}
	return r.By + " (not proven)"
}

// done is what a revision did.
func done(r client.Revision) string {
	text := r.Action
	if r.Again > 0 {
		text = fmt.Sprintf("revision %d again", r.Again)
	}
	switch {
	case !r.Proven:
		text += ", ignored: " + r.Problem
	case r.Now && r.Action == client.Remove:
		text += ", it is gone"
	case r.Now:
		text += ", in force"
	}
	return text
}

func (a *app) printNodeHistory(ctx context.Context, c *client.Client, node, kind string) error {
	all, err := c.NodeHistory(ctx, node)
	if fleet.KindOf(err) == fleet.Unknown && kind != "" {
		return usagef("name the %s: `fairlead get %[1]s` lists those there are", kind)
	}
	if err != nil {
		return err
	}
	if r, err := c.Registered(ctx, node); err == nil && r.Renamed != nil {
		a.say("%s was %s until %s: `fairlead history %[2]s` has what it was before", node, r.Renamed.From, moment(r.Renamed.At))
	}
	return a.print(all, func(t *table) {
		t.cut = true
		t.row("REVISION", "WHEN", "DIGEST", "BY", "CHANGE", "MESSAGE", "END").more("COMMAND")
		for i, r := range all {
			t.row(number(r.Revision), moment(r.At), short(cmp.Or(r.Digest, "-")), cmp.Or(r.By, "-"), changeOf(r), cmp.Or(r.Message, "-"), endOf(r, i == len(all)-1)).
				more(cmp.Or(r.Command, "-"))
		}
	}, func() (numbers []string) {
		for _, r := range all {
			numbers = append(numbers, number(r.Revision))
		}
		return numbers
	})
}

// changeOf is the rollout, or the resources whose change, made a node's revision.
func changeOf(r client.NodeRevision) string {
	switch {
	case r.Rollout != "":
		return "rollout " + r.Rollout + prefixed(": ", changedIn(r))
	case len(r.Changes) > 1 && r.Cause > 0: // the number first, since a table cuts what is long
		return fmt.Sprintf("%d: %s", r.Cause, changedIn(r))
	case r.Change != "":
		return fmt.Sprintf("%s %d", r.Change, r.Cause)
	case r.Cause > 0:
		return number(r.Cause)
	case len(r.Changes) > 0:
		return registered(r) + ": " + changedIn(r)
	}
	return "-"
}

// registered is what made a node's revision where no change of a resource did.
func registered(r client.NodeRevision) string {
	if r.Revision == 1 {
		return "new node"
	}
	return "other labels, address or facts"
}

// changedIn names what was changed where that made a node's revision, "" where it is not
// known. Of several, those that the node has no more are marked unless all are.
func changedIn(r client.NodeRevision) string {
	if len(r.Changes) < 2 && r.Change != "" {
		return r.Change
	}
	names := make([]string, len(r.Changes))
	for i, made := range r.Changes {
		names[i] = made.Resource
		if made.Action == client.Remove && !removal(r) {
			names[i] += " (gone)"
		}
	}
	return client.NameFew(names, "resources")
}

// removal reports whether a node's revision came of nothing but resources that were deleted.
func removal(r client.NodeRevision) bool {
	return r.Removed && !slices.ContainsFunc(r.Changes, func(made client.ResourceMade) bool { return made.Action != client.Remove })
}

// endOf is what became of a node's revision.
func endOf(r client.NodeRevision, newest bool) string {
	switch {
	case !r.Proven:
		return "not proven: " + r.Problem
	case r.State.Final() && r.State != message.Succeeded && r.Answer != "":
		return string(r.State) + ": " + r.Answer
	case r.State.Final():
		return string(r.State)
	case r.State != "" || newest:
		return "pending"
	}
	return "unknown: no answer is kept"
}

// completeHistory knows nodes, kinds, and after one the names of what is stored.
func (a *app) completeHistory(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	known, directive := a.completeResources(cmd, args, typed)
	if len(args) == 0 {
		nodes, _ := a.completeNodes(cmd, args, typed)
		known = append(nodes, known...)
	}
	return known, directive
}
