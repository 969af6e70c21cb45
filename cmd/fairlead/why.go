package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newWhy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why NODE",
		Short: "explain why a node is as it is, from the change to now",
		Long: `Tells the chain from the change to now, each link with its time: who changed what and why, the rollout, the revision that was
made of it, the command that told the node, what the node did with it, and what follows.`,
		Example: `  fairlead why node1
  fairlead why node1 --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if strings.Contains(args[0], "/") {
				return usagef("%s is no node: `fairlead history %[1]s` tells of a resource, and `fairlead status` which nodes are not what they should be", args[0])
			}
			n, err := c.Node(ctx, args[0])
			if err != nil {
				return err
			}
			told, err := a.toldOf(ctx, c, n)
			if err != nil {
				return err
			}
			chain := causes(n, told)
			happened, err := c.Happenings(ctx, n.Name, n.Now.Add(-lookBack), mostHappenings)
			if err != nil {
				return err
			}
			if happened == nil {
				happened = []client.Happening{}
			}
			err = a.print(map[string]any{"node": n.Name, "sync": n.Sync, "causes": texts(chain), "steps": chain, "events": happened}, func(t *table) {
				for i, link := range chain {
					t.row(fmt.Sprintf("%d.", i+1), when(link.At, n.Now), link.Text)
				}
				for _, h := range happened {
					t.row("", "", happening(h, n.Now))
				}
			}, func() []string { return []string{n.Name} })
			if err != nil {
				return err
			}
			return a.exitOf(n)
		}),
	}
}

// What nginx events are shown with a node: the last few of a day.
const (
	lookBack       = 24 * time.Hour
	mostHappenings = 10
)

// happening puts an event of nginx into a line.
func happening(h client.Happening, now time.Time) string {
	line := fmt.Sprintf("%s: %s: %s", ago(h.At, now), h.Event, oneLine(h.Text))
	if !h.Proven {
		line += " (not proven to be by the node)"
	}
	return line
}

// cause is one link of the chain; without a time it is how it is now.
type cause struct {
	At   time.Time `json:"at,omitzero"` // by the broker's clock, or the node's where it is the node's word
	Text string    `json:"text"`
}

func texts(chain []cause) (all []string) {
	for _, link := range chain {
		all = append(all, link.Text)
	}
	return all
}

// when is a time as a chain shows it: the day where it is another, and how long
// ago.
func when(at, now time.Time) string {
	if at.IsZero() {
		return "now"
	}
	layout := time.TimeOnly
	if at.Local().Format(time.DateOnly) != now.Local().Format(time.DateOnly) {
		layout = time.DateTime
	}
	return at.Local().Format(layout) + ", " + ago(at, now)
}

// told is what is known of a node's newest desired state: the change that made it,
// the command that told it, and what became of that.
type told struct {
	client.NodeRevision
	steps []client.Step
}

func (a *app) toldOf(ctx context.Context, c *client.Client, n station.NodeDetail) (t told, err error) {
	if n.DesiredRevision == 0 {
		return t, nil
	}
	all, err := c.NodeHistory(ctx, n.Name)
	if err != nil {
		return t, err
	}
	for _, r := range all {
		if r.Revision == n.DesiredRevision {
			t.NodeRevision = r
		}
	}
	if t.Command == "" {
		return t, nil
	}
	s, err := subjects.Build(n.Name, subjects.Command, handlers.MethodNginxConfig, "nginx")
	if err != nil {
		return t, err
	}
	t.steps, err = c.Steps(ctx, s, t.Command)
	return t, err
}

// causes are the links from the change that is desired to what nginx runs.
func causes(n station.NodeDetail, t told) (chain []cause) {
	at := func(moment time.Time, format string, args ...any) {
		chain = append(chain, cause{moment, fmt.Sprintf(format, args...)})
	}
	add := func(format string, args ...any) { at(time.Time{}, format, args...) }
	if n.DesiredRevision == 0 {
		add("no resource selects %s: nothing is desired of its nginx", n.Name)
	} else {
		if t.Change != "" {
			did := "changed"
			if removal(t.NodeRevision) {
				did = "deleted"
			}
			at(t.Changed, "%s %s %s: revision %d of the fleet%s", cmp.Or(n.Desired.By, "somebody"), did, changedIn(t.NodeRevision), t.Cause, because(n.Desired.Message))
		}
		if r := n.Desired.Rollout; r != "" {
			at(n.Desired.At, "rollout %s%s changed %s%s", r, by(n.Desired.By), cmp.Or(changedIn(t.NodeRevision), "what it should be"), because(n.Desired.Message))
		}
		if t.Cause == 0 && t.Rollout == "" && len(t.Changes) > 0 {
			at(n.Desired.At, "%s: %s", registered(t.NodeRevision), changedIn(t.NodeRevision))
		}
		at(n.Desired.At, "revision %d of %s (%s) was made from %s%s", n.DesiredRevision, n.Name, short(n.DesiredDigest), count(len(n.Desired.Resources), "resource"), by(n.Desired.By))
	}
	if text := rolloutText(n.Rollout); text != "" {
		add("%s", text)
	}
	for _, u := range n.Desired.Unfit {
		add("%s was left out: %s", u.Resource, u.Reason)
	}
	toldBy(t, at)
	for _, w := range n.Commands {
		if w.ID != t.Command || len(t.steps) == 0 {
			at(w.At, "command %s (%s) is %s%s", w.Subject, w.ID, waits(w.State), by(w.From))
		}
	}
	switch r := n.Reported; {
	case r.At.IsZero():
		add("%s has not reported what its nginx runs", n.Name)
	case r.Status == handlers.StatusFailed:
		at(r.At, "%s tried revision %d and it failed: %s", n.Name, r.Revision, r.Message)
		add("nginx goes on with revision %d (%s)", r.ObservedRevision, short(r.RunningDigest))
	case r.Status == handlers.StatusPartial:
		at(r.At, "%s serves revision %d in part; nginx runs %s", n.Name, r.Revision, short(r.RunningDigest))
		for _, h := range r.Hosts {
			if h.State != nginx.Serving {
				add("%s", h)
			}
		}
	default:
		at(r.At, "%s reported revision %d proven; nginx runs %s", n.Name, r.ObservedRevision, short(r.RunningDigest))
	}
	if b := n.Reported.Bake; b != nil {
		add("revision %d bakes until %s: it is taken back if it serves worse than the one before", b.Revision, b.Until.Local().Format(time.DateTime))
	}
	for _, q := range n.Reported.Quarantine {
		if q.Digest == n.DesiredDigest && !q.Pardoned {
			at(q.At, "it lies in quarantine, tried %d times: `fairlead reload %s` has it tried again", q.Count, n.Name)
		}
	}
	for _, s := range serversOf(n.Health) {
		add("%s", serverText(s, n.Now))
	}
	if p := n.Reported.Paused; p != nil {
		add("its nginx is %s", p)
	}
	switch d := n.Reported.Drift; {
	case d.Now():
		at(d.Since, "something was changed by hand (%s): %s; `fairlead diff %s` shows it", d.State, d.Summary(), n.Name)
	case d != nil && len(d.Files) > 0:
		at(d.Since, "something was changed by hand and was healed: %s; `fairlead diff %s --healed` shows it", d.Summary(), n.Name)
	}
	if b := n.Renamed; b != nil {
		at(b.At, "%s was called %s until then: renamed%s, command %s; `fairlead history %[2]s` has what it was", n.Name, b.From, by(b.By), b.Command)
	}
	if d := n.Drained; d != nil {
		at(d.At, "%s was drained%s%s: no selection and no rollout chooses it", n.Name, by(d.By), because(d.Reason))
	}
	at(n.LastSeen, "%s was seen last; it is %s", n.Name, n.Presence)
	if n.Presence == station.Duplicate {
		add("two agents live under its name, as where a disk was copied: %s", twins(n.NodeStatus))
		add("each takes what is sent to it: stop one, and where it has another host, have that join under a name of its own")
	}
	add("%s", conclusion(n))
	return chain
}

// toldBy are the links from the command that told a node its revision to its end.
func toldBy(t told, at func(time.Time, string, ...any)) {
	if t.Command == "" || t.State == "" && len(t.steps) == 0 {
		return
	}
	sent, _ := message.CreatedAt(t.Command)
	at(sent, "the station told it by command %s", t.Command)
	for _, s := range t.steps {
		switch {
		case s.State == message.Accepted:
			at(s.At, "%s has it", s.From)
		case s.State == message.Running:
			at(s.At, "%s checks and applies it", s.From)
		case s.State == message.Superseded:
			at(s.At, "a newer command took its place (%s)", s.Answer.By)
		default:
			at(s.At, "it ended %s: %s", s.State, s.Answer.Message)
		}
	}
	if len(t.steps) == 0 {
		at(time.Time{}, "it waits in the node's mailbox: the node has not answered")
	}
}

// waits is a state of a command that has no end.
func waits(s message.State) string {
	if s == message.Published {
		return "waiting"
	}
	return string(s)
}

// tryAgain is what to do after mending the node and not the resource: a port that
// was in use, a file that was not there. A node by itself tries the same files once.
func tryAgain(node string) string {
	return fmt.Sprintf("where the node was mended, `fairlead publish %s.command.%s.nginx --wait` has it tried again", node, handlers.MethodNginxConfig)
}

// conclusion says what follows, and what to do.
func conclusion(n station.NodeDetail) string {
	switch n.Sync {
	case station.InSync:
		if n.Stale() {
			return "so it was in sync when it was there last; what it is now it says when it is there again"
		}
		return "so it is in sync"
	case station.NoneDue:
		return "so there is nothing to do; a resource with a selector that matches its labels would change that"
	case station.Partial:
		return "so all but these serve as they should: mend them and apply again; " + tryAgain(n.Name)
	case station.FailedIn:
		return "so it is not what it should be: mend the resource and apply it again; " + tryAgain(n.Name)
	case station.Unfit:
		if len(n.Desired.Unfit) > 0 && n.Message != "" && n.ObservedRevision == n.DesiredRevision {
			return "so it serves the rest, and takes what was left out by itself as soon as it can"
		}
		return "so its desired state stays as it was: " + n.Message
	case station.Drifted:
		if n.Reported.Drift.Now() {
			return "so its files are not what they should be: `fairlead diff " + n.Name + "` shows how; apply a new revision to replace them, or `fairlead resume` where it is paused"
		}
		return "so something changed nginx beside Fairlead: `fairlead reload " + n.Name + "` or apply again"
	case station.Unsaid, station.Pending:
		if n.Reported.Paused != nil {
			return "so it waits for the end of the pause: `fairlead resume " + n.Name + "` ends it now"
		}
		if n.There() {
			return "so it is on its way; `fairlead status " + n.Name + "` again in a moment"
		}
		return "so it will take the newest revision when it is there again; nothing is lost and nothing is to be done"
	}
	return string(message.Published)
}
