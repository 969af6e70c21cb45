package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// groupedFrom is from how many outcomes on they are shown in groups; -o wide
// has every one.
const groupedFrom = 12

// printOutcomes prints how commands ended and returns the exit code.
func (a *app) printOutcomes(ctx context.Context, c *client.Client, outcomes []client.Outcome) error {
	if a.events {
		return a.printResult(ctx, outcomes)
	}
	seen := a.lastSeen(ctx, c, outcomes)
	err := a.print(outcomes, func(t *table) {
		if len(outcomes) >= groupedFrom && !t.wide {
			groupRows(t, outcomes, seen)
			return
		}
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

// groupRows shows equal outcomes in one row, with the nodes' names where they
// are few or something is amiss.
func groupRows(t *table, outcomes []client.Outcome, seen map[string]string) {
	for _, g := range client.Groups(outcomes) {
		state, names := string(g.State), client.NameNodes(g.Nodes)
		switch {
		case !g.State.Final():
			o := client.Outcome{Sent: client.Sent{Node: g.Nodes[0]}, State: g.State}
			word, _, _ := strings.Cut(stateOf(o, seen), " (")
			state = word
		case g.State == message.Succeeded:
			names = ""
		}
		if text := pendingWhere(g, seen); text != "" {
			g.Message = text
		}
		t.row(count(len(g.Nodes), "node"), state, g.Message, names)
	}
}

// pendingWhere says of nodes that have not answered where they are.
func pendingWhere(g client.Group, seen map[string]string) string {
	if g.State.Final() {
		return ""
	}
	words := make(map[string]int)
	for _, node := range g.Nodes {
		word := seen[node]
		if strings.HasPrefix(word, "last seen ") {
			word = "last seen"
		}
		words[word]++
	}
	if len(words) == 1 {
		if words["last seen"] > 1 {
			return ""
		}
		return seen[g.Nodes[0]]
	}
	if n := words["never seen"]; n > 0 {
		return fmt.Sprintf("%d never seen", n)
	}
	return ""
}

// end is the exit code of what was waited for, and tells what goes on when not
// all of it has ended.
func (a *app) end(ctx context.Context, outcomes []client.Outcome) error {
	var open []string
	order := ""
	for _, o := range outcomes {
		order = cmp.Or(order, o.Order)
		if !o.State.Final() {
			open = append(open, o.ID)
		}
	}
	if order != "" && len(open) > 0 {
		a.say("%d of %s open; they go on: `fairlead order status %s -w` waits for them, `fairlead cancel --order %s` calls them off", len(open), count(len(outcomes), "node"), order, order)
	}
	if ctx.Err() == nil || len(open) == 0 {
		return worst(outcomes)
	}
	switch {
	case order != "":
	case a.goesOn != "":
		a.say("interrupted; %s", a.goesOn)
	default:
		what := "the command goes on"
		if len(open) > 1 {
			what = fmt.Sprintf("%d commands go on", len(open))
		}
		a.say("interrupted; %s: `fairlead audit --id %s` shows how it ends, `fairlead cancel %s` calls it off", what, open[0], open[0])
	}
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
	nodes, now, err := c.Nodes(ctx, station.NodesQuestion{Names: names, Show: station.ShowList})
	word := "not in the register"
	if err != nil {
		word = "no station answers"
	}
	for _, name := range names {
		seen[name] = word
	}
	for _, n := range nodes {
		seen[n.Name] = "last seen " + ago(n.LastSeen, now)
		switch {
		case n.Presence == station.Online:
			seen[n.Name] = "online, not answered yet"
		case n.LastSeen.IsZero():
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
	case o.State == client.Unsent:
		return "not sent"
	case o.State == client.Queued:
		if where := seen[o.Node]; where != "" { // a node that is not there has no turn until it is
			return "queued: its turn has not come (" + where + ")"
		}
		return "queued: its turn has not come"
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
		if o.State == client.Unsent {
			has[message.ExitRefused] = true
			continue
		}
		has[message.ExitOf(o.State, o.Answer.Kind)] = true
	}
	for _, code := range []int{message.ExitFailed, message.ExitRefused, message.ExitPending} {
		if has[code] {
			return exitError(code)
		}
	}
	return nil
}
