package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
)

func newWhy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why NODE",
		Short: "explain why a node is as it is, from the change to now",
		Example: `  fairlead why node1
  fairlead why node1 --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := c.Node(ctx, args[0])
			if err != nil {
				return err
			}
			chain := causes(n)
			happened, err := c.Happenings(ctx, n.Name, n.Now.Add(-lookBack), mostHappenings)
			if err != nil {
				return err
			}
			err = a.print(map[string]any{"node": n.Name, "sync": n.Sync, "causes": chain, "events": happened}, func(t *table) {
				for i, line := range chain {
					t.row(fmt.Sprintf("%d.", i+1), line)
				}
				for _, h := range happened {
					t.row("", happening(h, n.Now))
				}
			}, func() []string { return []string{n.Name} })
			if err != nil {
				return err
			}
			return exitOf(n)
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

// causes are the links from the change that is desired to what nginx runs.
func causes(n station.NodeDetail) []string {
	var chain []string
	add := func(format string, args ...any) { chain = append(chain, fmt.Sprintf(format, args...)) }
	if n.DesiredRevision == 0 {
		add("no resource selects %s: nothing is desired of its nginx", n.Name)
	} else {
		add("revision %d (%s) was made from %s%s%s%s", n.DesiredRevision, short(n.DesiredDigest), count(len(n.Desired.Resources), "resource"),
			by(n.Desired.By), since(n.Desired.At, n.Now), because(n.Desired.Message))
	}
	if text := rolloutText(n.Rollout); text != "" {
		add("%s", text)
	}
	for _, u := range n.Desired.Unfit {
		add("%s was left out: %s", u.Resource, u.Reason)
	}
	for _, w := range n.Commands {
		add("command %s (%s) is %s%s%s", w.Subject, w.ID, w.State, by(w.From), since(w.At, n.Now))
	}
	for i := len(n.Recent) - 1; i >= 0; i-- {
		if e := n.Recent[i]; e.Subject == n.Name+".command."+handlers.MethodNginxConfig+".nginx" {
			add("its last nginxconfig command (%s) ended %s%s: %s", e.ID, e.State, since(e.At, n.Now), e.Answer.Message)
			break
		}
	}
	switch r := n.Reported; {
	case r.At.IsZero():
		add("%s has not reported what its nginx runs", n.Name)
	case r.Status == handlers.StatusFailed:
		add("%s tried revision %d%s and it failed: %s", n.Name, r.Revision, since(r.At, n.Now), r.Message)
		add("nginx goes on with revision %d (%s)", r.ObservedRevision, short(r.RunningDigest))
	case r.Status == handlers.StatusPartial:
		add("%s serves revision %d in part%s; nginx runs %s", n.Name, r.Revision, since(r.At, n.Now), short(r.RunningDigest))
		for _, h := range r.Hosts {
			if h.State != nginx.Serving {
				add("%s", h)
			}
		}
	default:
		add("%s reported revision %d proven%s; nginx runs %s", n.Name, r.ObservedRevision, since(r.At, n.Now), short(r.RunningDigest))
	}
	if b := n.Reported.Bake; b != nil {
		add("revision %d bakes until %s: it is taken back if it serves worse than the one before", b.Revision, b.Until.Local().Format(time.DateTime))
	}
	for _, q := range n.Reported.Quarantine {
		if q.Digest == n.DesiredDigest && !q.Pardoned {
			add("it lies in quarantine%s, tried %d times: `fairlead reload %s` has it tried again", since(q.At, n.Now), q.Count, n.Name)
		}
	}
	if p := n.Reported.Paused; p != nil {
		add("its nginx is %s", p)
	}
	switch d := n.Reported.Drift; {
	case d.Now():
		add("something was changed by hand%s (%s): %s; `fairlead diff %s` shows it", since(d.Since, n.Now), d.State, d.Summary(), n.Name)
	case d != nil && len(d.Files) > 0:
		add("something was changed by hand and was healed%s: %s; `fairlead diff %s --healed` shows it", since(d.Since, n.Now), d.Summary(), n.Name)
	}
	add("%s is %s, last seen %s", n.Name, n.Presence, ago(n.LastSeen, n.Now))
	if n.Presence == station.Duplicate {
		add("two agents live under its name, as where a disk was copied: %s", twins(n.NodeStatus))
		add("each takes what is sent to it: stop one, and have its host join under a name of its own")
	}
	add("%s", conclusion(n))
	return chain
}

// conclusion says what follows, and what to do.
func conclusion(n station.NodeDetail) string {
	switch n.Sync {
	case station.InSync:
		return "so it is in sync"
	case station.NoneDue:
		return "so there is nothing to do; a resource with a selector that matches its labels would change that"
	case station.Partial:
		return "so all but these serve as they should: mend them and apply again"
	case station.FailedIn:
		return "so it is not what it should be: mend the resource and apply it again"
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
