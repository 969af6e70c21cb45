package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// statusAt shows what nodes were.
func (a *app) statusAt(ctx context.Context, c *client.Client, at time.Time, t *targets, args []string) error {
	if t.fields != "" || t.limit != (portion{}) || t.seed != "" {
		return usagef("--at goes with NODE and -l SELECTOR")
	}
	names, err := t.named(a, args)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(names, func(name string) bool { return strings.Contains(name, ":") }); i >= 0 {
		return usagef("%q is no node: write the whole TIME in quotes, --at '2026-11-26 14:00:00'", names[i])
	}
	if len(names) > 0 && t.selector != "" {
		return usagef("give NODE or -l SELECTOR, not both")
	}
	nodes, err := c.At(ctx, at, client.PastQuestion{Selector: t.selector, Names: names})
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(nodes, func(n client.NodeThen) bool { return n.Name == name }) {
			a.say("%s was no node then, as far as the register remembers", name)
		}
	}
	if len(nodes) == 0 && len(names) == 0 {
		a.say("no node was there at %s", moment(at))
	}
	if len(nodes) == 0 || len(nodes) < len(names) {
		return exitError(message.ExitNothing)
	}
	err = a.print(nodes, func(t *table) {
		t.cut = true
		t.row("NODE", "SYNC", "DESIRED", "RAN", "SAID", "BY", "WHY").more("MESSAGE")
		for _, n := range nodes {
			said := "-"
			if !n.SaidAt.IsZero() {
				said = span(at.Sub(n.SaidAt)) + " before"
			}
			t.row(n.Name, n.Sync, revision(n.DesiredRevision, n.DesiredDigest), revision(n.RanRevision, n.RanDigest), said, cmp.Or(n.By, "-"), n.Message).
				more(n.Reason)
		}
	}, func() (names []string) {
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		return names
	})
	if err != nil {
		return err
	}
	// Who was connected then is not kept.
	s := station.Summary{Nodes: len(nodes), Sync: make(map[string]int), Presence: map[string]int{station.Online: len(nodes)}}
	for _, n := range nodes {
		s.Sync[n.Sync]++
	}
	a.say("%s, at %s", summary(s), moment(at))
	return a.exitFor(s)
}
