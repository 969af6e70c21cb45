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
	var t targets
	var all bool
	var at pastTime
	c := &cobra.Command{
		Use:   "status [NODE…] [-l SELECTOR] [--at TIME]",
		Short: "what every node should be, what it is, and why not",
		Long: `Compares what every node should be with what it says it is and what its nginx answers. One NODE is shown with all that is
known of it. Of many nodes only those are listed that are not in sync, and not all of them; --all lists every one.

With --at it is what each node should have been at that time, and what it had said by then that it ran: by the desired states and
reports that are kept (64 and 8 for each node), and before that by the answers in the audit. What is not known is shown as unknown.

The exit code tells the worst: 0 all in sync, 1 some failed or serve in part, 3 some pending or unknown, 4 no node.
Where a node is not there it is in sync as of when it was, which is unknown (3) now; with --last-known that counts as in sync.`,
		Example: `  fairlead status
  fairlead status node1
  fairlead status -l region=eu --json
  fairlead status --field 'sync!=in sync,presence=online'
  fairlead status --at 2h
  fairlead status node1 --at '2026-11-26 14:00:00'`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if !at.IsZero() {
				return a.statusAt(ctx, c, at.whole(), &t, args)
			}
			switch how := t.describe(); {
			case len(args) > 0 && (t.selector != "" || t.fields != ""):
				return usagef("give NODE or -l SELECTOR, not both")
			case len(args) == 1 && how == "" && args[0] != "-" && !strings.HasPrefix(args[0], "@"):
				return a.statusOf(ctx, c, args[0])
			case a.output == "table" && !all && t.limit == (portion{}):
				if done, err := a.statusOfMany(ctx, c, &t, args); done || err != nil {
					return err
				}
			}
			nodes, now, err := t.list(ctx, a, c, args, "")
			if err != nil {
				return err
			}
			s := station.Summary{Now: now}
			for _, n := range nodes {
				s.Add(n)
			}
			return a.printStatus(ctx, c, nodes, s, t.asked())
		}),
	}
	t.chooseFlags(a, c)
	c.Flags().Var(&at, "at", "as it was at this `TIME`: "+pastForms)
	c.Flags().BoolVar(&a.lastKnown, "last-known", false, "let nodes that are not there count as what they said last")
	c.Flags().BoolVar(&all, "all", false, "list every node, however many there are")
	return c
}

// Of more nodes than statusAll, status lists statusSome that are not in sync.
const (
	statusAll  = 100
	statusSome = 40
)

// statusOfMany shows nodes that are too many to list, and reports whether they are.
func (a *app) statusOfMany(ctx context.Context, c *client.Client, t *targets, args []string) (done bool, err error) {
	q, err := t.question(a, args)
	if err != nil || len(q.Names) > 0 {
		return false, err
	}
	s, err := c.Summary(ctx, q)
	if err != nil || s.Nodes <= statusAll {
		return false, err
	}
	q.Fields = station.Both(q.Fields, station.NotInSync)
	q.Most = statusSome
	page, err := c.NodesPage(ctx, q)
	if err != nil {
		return true, err
	}
	if len(page.Nodes) == 0 {
		return true, a.endStatus(ctx, c, s)
	}
	if bad := s.Nodes - s.Sync[station.InSync] - s.Sync[station.NoneDue]; bad > len(page.Nodes) {
		defer a.say("these are %d of %d that are not in sync; --all lists every node, --field chooses: `fairlead status --field sync=failed`", len(page.Nodes), bad)
	}
	return true, a.printStatus(ctx, c, page.Nodes, s, t.asked())
}

// printStatus prints nodes, and the summary of those that they are of.
func (a *app) printStatus(ctx context.Context, c *client.Client, nodes []station.NodeStatus, s station.Summary, how string) error {
	err := a.printNodes(nodes, how, func(t *table) {
		t.cut = true
		head := []string{"NODE", "PRESENCE", "SYNC", "DESIRED", "OBSERVED", "WAITING", "WHY"}
		certificates := slices.ContainsFunc(nodes, func(n station.NodeStatus) bool { return n.Expiring != nil })
		if certificates {
			head = slices.Insert(head, 6, "EXPIRES")
		}
		t.row(head...)
		for _, n := range nodes {
			row := []string{n.Name, presenceOf(n, s.Now), syncOf(n, s.Now), revision(n.DesiredRevision, n.DesiredDigest),
				revision(n.ObservedRevision, n.RunningDigest), waitingOf(n), n.Message}
			if certificates {
				row = slices.Insert(row, 6, expiringOf(n, s.Now))
			}
			t.row(row...)
		}
	})
	if err != nil {
		return err
	}
	return a.endStatus(ctx, c, s)
}

// endStatus says in a line how the nodes are, and gives the exit code.
func (a *app) endStatus(ctx context.Context, c *client.Client, s station.Summary) error {
	a.say("%s", summary(s))
	if text := expiries(s); text != "" {
		a.say("%s", text)
	}
	a.sayRollouts(ctx, c)
	a.sayQuota(ctx, c)
	return a.exitFor(s)
}

func presenceOf(n station.NodeStatus, now time.Time) string {
	if n.Presence == station.Offline {
		n.Presence = fmt.Sprintf("offline (last seen %s)", ago(n.LastSeen, now))
	}
	return presenceWord(n)
}

// syncOf is a node's sync in words: what one said that is not there is as old as that.
func syncOf(n station.NodeStatus, now time.Time) string {
	switch {
	case !n.Stale():
		return n.Sync
	case n.LastSeen.IsZero():
		return n.Sync + " when it was there"
	}
	return n.Sync + " as of " + ago(n.LastSeen, now)
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

// summary says how many nodes are how.
func summary(s station.Summary) string {
	text := count(s.Nodes, "node")
	for _, word := range []string{station.InSync, station.Pending, station.Partial, station.FailedIn, station.Unfit, station.Drifted, station.Unsaid, station.NoneDue} {
		if s.Sync[word] > 0 {
			name := word
			if word == station.NoneDue {
				name = "without resources"
			}
			text += fmt.Sprintf(", %d %s", s.Sync[word], name)
			if word == station.InSync && s.Stale > 0 {
				text += fmt.Sprintf(" (%d of them when last seen)", s.Stale)
			}
		}
	}
	if offline := s.Nodes - s.Presence[station.Online] - s.Presence[station.Duplicate] - s.Presence[station.Uncertain]; offline > 0 {
		text += fmt.Sprintf(", %d not there", offline)
	}
	if unsure := s.Presence[station.Uncertain]; unsure > 0 {
		text += fmt.Sprintf(", %d not heard yet", unsure)
	}
	if twice := s.Presence[station.Duplicate]; twice > 0 {
		text += fmt.Sprintf(", %d that live twice", twice)
	}
	if s.Drained > 0 {
		text += fmt.Sprintf(", %d drained", s.Drained)
	}
	if s.Worst != "" {
		text += "; `fairlead why " + s.Worst + "` explains"
	}
	return text
}

// exitFor is the exit code of the worst of nodes, counted by the words for it.
func (a *app) exitFor(s station.Summary) error {
	sync := s.Sync
	if s.Presence[station.Duplicate] > 0 {
		return exitError(message.ExitFailed)
	}
	for _, word := range []string{station.Partial, station.FailedIn, station.Unfit, station.Drifted} {
		if sync[word] > 0 {
			return exitError(message.ExitFailed)
		}
	}
	if sync[station.Pending]+sync[station.Unsaid] > 0 || s.Stale > 0 && !a.lastKnown {
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
		presence := presenceOf(n.NodeStatus, n.Now)
		if n.Presence != station.Offline { // which says it
			presence += ", last seen " + ago(n.LastSeen, n.Now)
		}
		t.row("presence", presence)
		if d := n.Drained; d != nil {
			t.row("drained", strings.TrimSuffix(strings.TrimPrefix(by(d.By)+since(d.At, n.Now)+": "+d.Reason, " "), ": "))
		}
		t.row("labels", labels(n.Labels))
		t.row("agent", n.Version)
		agentRows(t, n)
		if text := linkText(n.Health, n.Now); text != "" {
			t.row("link", text)
		}
		t.row("sync", syncOf(n.NodeStatus, n.Now))
		if n.Message != "" {
			t.row("why", n.Message)
		}
		t.row("desired", revision(n.DesiredRevision, n.DesiredDigest)+by(n.Desired.By)+since(n.Desired.At, n.Now))
		if text := rolloutText(n.Rollout); text != "" {
			t.row("rollout", text)
		}
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
	return a.exitOf(n)
}

// exitOf is exitFor of one node.
func (a *app) exitOf(n station.NodeDetail) error {
	var s station.Summary
	s.Add(n.NodeStatus)
	return a.exitFor(s)
}

// agentRows show the agents that live under a node's name: one, if all is well.
func agentRows(t *table, n station.NodeDetail) {
	for _, i := range n.Agents {
		text := fmt.Sprintf("at %s, boot %s, instance %s, heartbeat %s", cmp.Or(i.Host, "an unknown address"), i.BootID, i.ID, ago(i.Seen, n.Now))
		if i.Outbox > 0 || i.Spool > 0 {
			text += fmt.Sprintf(", %s and %d of logs wait", count(i.Outbox, "message"), i.Spool)
		}
		if off := i.ClockOffset; off > clockWrong || off < -clockWrong {
			text += fmt.Sprintf(", its clock is %+.0f s wrong", off)
		}
		t.row("lives", text)
	}
}

// clockWrong is by how many seconds a node's clock may differ before it is worth a word.
const clockWrong = 5

// able is what a node says that it is.
func able(f *fleet.Facts) string {
	if f == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{f.OS, f.Arch, f.Link, strings.TrimSuffix("nginx "+f.Nginx, "nginx ")} {
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
