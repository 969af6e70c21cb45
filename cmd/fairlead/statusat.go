package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// pastTime is a flag for a moment that is over: a time, or how long ago.
type pastTime struct{ time.Time }

func (p *pastTime) Set(text string) error {
	var ago days
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if ago.Set(text) != nil || ago <= 0 {
			return fmt.Errorf("%q: write 2026-11-26T14:00:00Z, or how long ago, such as 2h or 7d", text)
		}
		at = time.Now().Add(-time.Duration(ago))
	}
	if at.After(time.Now()) {
		return fmt.Errorf("%s is still to come", at.Format(time.RFC3339))
	}
	p.Time = at
	return nil
}

func (p *pastTime) String() string {
	if p.IsZero() {
		return ""
	}
	return p.Format(time.RFC3339)
}

// Type is shown in the help.
func (p *pastTime) Type() string { return "TIME" }

// statusAt shows what nodes were.
func (a *app) statusAt(ctx context.Context, c *client.Client, at time.Time, t *targets, args []string) error {
	if t.fields != "" || t.limit != (portion{}) || t.seed != "" {
		return usagef("--at goes with NODE and -l SELECTOR")
	}
	names, err := t.named(a, args)
	if err != nil {
		return err
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
