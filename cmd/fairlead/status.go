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
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
)

func newStatus(a *app) *cobra.Command {
	var selector string
	c := &cobra.Command{
		Use:   "status [NODE] [-l SELECTOR]",
		Short: "what every node should be, what it is, and why not",
		Long: `Compares what every node should be with what it says it is and what its nginx answers.

The exit code tells the worst: 0 all in sync, 1 some failed or serve in part, 3 some pending or unknown, 4 no node.`,
		Example: `  fairlead status
  fairlead status node1
  fairlead status -l region=eu --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 1 && selector != "" {
				return usagef("give NODE or -l SELECTOR, not both")
			}
			if len(args) == 1 {
				return a.statusOf(ctx, c, args[0])
			}
			nodes, now, err := c.Nodes(ctx, station.NodesQuestion{Selector: selector})
			if err != nil {
				return err
			}
			err = a.printNodes(nodes, selector, func(t *table) {
				t.cut = true
				head := []string{"NODE", "PRESENCE", "SYNC", "DESIRED", "OBSERVED", "WAITING", "WHY"}
				certificates := slices.ContainsFunc(nodes, func(n station.NodeStatus) bool { return n.Expiring != nil })
				if certificates {
					head = slices.Insert(head, 6, "EXPIRES")
				}
				t.row(head...)
				for _, n := range nodes {
					row := []string{n.Name, presenceOf(n, now), n.Sync, revision(n.DesiredRevision, n.DesiredDigest),
						revision(n.ObservedRevision, n.RunningDigest), waitingOf(n), n.Message}
					if certificates {
						row = slices.Insert(row, 6, expiringOf(n, now))
					}
					t.row(row...)
				}
			})
			if err != nil {
				return err
			}
			a.say("%s", summary(nodes))
			if text := expiries(nodes, now); text != "" {
				a.say("%s", text)
			}
			a.sayQuota(ctx, c)
			return exitFor(nodes)
		}),
	}
	c.Flags().StringVarP(&selector, "selector", "l", "", "only nodes whose labels match")
	return c
}

func presenceOf(n station.NodeStatus, now time.Time) string {
	if n.Presence == station.Offline {
		return fmt.Sprintf("offline (last seen %s)", ago(n.LastSeen, now))
	}
	return n.Presence
}

func revision(r uint64, digest string) string {
	if r == 0 {
		return "-"
	}
	return strconv.FormatUint(r, 10) + " " + short(digest)
}

func waitingOf(n station.NodeStatus) string {
	if n.Waiting == 0 {
		return "-"
	}
	return strconv.Itoa(n.Waiting)
}

// summary counts nodes by how they are.
func summary(nodes []station.NodeStatus) string {
	counts := make(map[string]int)
	offline := 0
	for _, n := range nodes {
		counts[n.Sync]++
		if n.Presence != station.Online {
			offline++
		}
	}
	text := count(len(nodes), "node")
	for _, word := range []string{station.InSync, station.Pending, station.Partial, station.FailedIn, station.Unfit, station.Drifted, station.Unsaid, station.NoneDue} {
		if counts[word] > 0 {
			name := word
			if word == station.NoneDue {
				name = "without resources"
			}
			text += fmt.Sprintf(", %d %s", counts[word], name)
		}
	}
	if offline > 0 {
		text += fmt.Sprintf(", %d not there", offline)
	}
	for _, n := range nodes {
		if n.Sync != station.InSync && n.Sync != station.NoneDue {
			return text + "; `fairlead why " + n.Name + "` explains"
		}
	}
	return text
}

// exitFor is the exit code of the worst node.
func exitFor(nodes []station.NodeStatus) error {
	pending := false
	for _, n := range nodes {
		switch n.Sync {
		case station.Partial, station.FailedIn, station.Unfit, station.Drifted:
			return exitError(message.ExitFailed)
		case station.Pending, station.Unsaid:
			pending = true
		}
	}
	if pending {
		return exitError(message.ExitPending)
	}
	return nil
}

func (a *app) statusOf(ctx context.Context, c *client.Client, name string) error {
	n, err := c.Node(ctx, name)
	if err != nil {
		return err
	}
	happened, err := c.Happenings(ctx, n.Name, n.Now.Add(-lookBack), mostHappenings)
	if err != nil {
		return err
	}
	whole := struct {
		station.NodeDetail
		Events []client.Happening `json:"events,omitempty"`
	}{n, happened}
	err = a.print(whole, func(t *table) {
		t.row("node", n.Name)
		t.row("presence", presenceOf(n.NodeStatus, n.Now)+", last seen "+ago(n.LastSeen, n.Now))
		t.row("labels", labels(n.Labels))
		t.row("agent", n.Version)
		t.row("sync", n.Sync)
		if n.Message != "" {
			t.row("why", n.Message)
		}
		t.row("desired", revision(n.DesiredRevision, n.DesiredDigest)+by(n.Desired.By)+since(n.Desired.At, n.Now))
		if n.Desired.Message != "" {
			t.row("message", n.Desired.Message)
		}
		t.row("observed", revision(n.ObservedRevision, n.Reported.Digest)+since(n.Reported.At, n.Now))
		servingRows(t, n)
		if p := n.Reported.Paused; p != nil {
			t.row("pause", p.String())
		}
		if d := n.Reported.Drift; d != nil {
			t.row("drift", fmt.Sprintf("%s%s: %s", d.State, since(d.Since, n.Now), d.Summary()))
		}
		if text := able(n.Facts); text != "" {
			t.row("able", text)
		}
		became := make(map[string]nginx.ResourceState)
		if n.Reported.Revision == n.DesiredRevision {
			for _, h := range n.Reported.Hosts {
				became[h.Resource] = h
			}
		}
		for _, r := range n.Desired.Resources {
			t.row("resource", cmp.Or(became[r].String(), r))
		}
		for _, u := range n.Desired.Unfit {
			t.row("left out", u.Resource+": "+u.Reason)
		}
		for _, c := range n.Reported.Certificates {
			t.row("certificate", fmt.Sprintf("%s until %s, for %s", c.Name, expiry(c.NotAfter, n.Now), strings.Join(c.Names, " ")))
		}
		for _, s := range serversOf(n.Health) {
			t.row("server", serverText(s, n.Now))
		}
		for _, w := range n.Commands {
			t.row("waiting", fmt.Sprintf("%s  %s%s%s  %s", w.Subject, w.State, by(w.From), since(w.At, n.Now), w.ID))
		}
		for _, h := range happened {
			t.row("event", happening(h, n.Now))
		}
	}, func() []string { return []string{n.Name} })
	if err != nil {
		return err
	}
	return exitFor([]station.NodeStatus{n.NodeStatus})
}

// able is what a node says that it is.
func able(f *fleet.Facts) string {
	if f == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{f.OS, f.Arch, strings.TrimSuffix("nginx "+f.Nginx, "nginx ")} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(append(parts, f.Modules...), ", ")
}

func by(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}

func since(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", " + ago(at, now)
}
