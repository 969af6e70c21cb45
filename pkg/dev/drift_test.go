package dev_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// hostFile is where the configuration of the site s lies on a node.
func (r *rig) hostFile(i int) string {
	r.t.Helper()
	cfg, err := r.AgentConfig(r.nodes[i])
	if err != nil {
		r.t.Fatal(err)
	}
	target, err := os.Readlink(filepath.Join(cfg.Nginx.Conf, "nginx.conf"))
	if err != nil {
		r.t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(target), "http.d", "virtualhost-s.conf")
}

func rewrite(t *testing.T, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// happened waits until the audit has an event of a node's nginx, proven to be its own.
func happened(t *testing.T, c *client.Client, name, event, text string) {
	t.Helper()
	eventually(t, event+" is in the audit", func() bool {
		ctx, cancel := patient(t)
		defer cancel()
		all, err := c.Happenings(ctx, name, time.Time{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all {
			if h.Event == event && h.Proven && strings.Contains(h.Text, text) {
				return true
			}
		}
		return false
	})
}

// ordered sends a command to a node and waits for its end.
func ordered(t *testing.T, c *client.Client, node, method string, body any) client.Outcome {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := c.Send(ctx, client.Command{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: method, Domain: "nginx"}, Body: text})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes(t, c, sent)[0]
}

func TestAHandEditIsHealedAndTheFleetKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	a := r.agent(0)
	succeeds(t, r.client, set(t, site("s", "", 8080, "hello")), false)
	inSync(t, r.client, "node1")
	file := r.hostFile(0)
	rewrite(t, file, "hello", "by hand")
	happened(t, r.client, "node1", nginx.EventHealed, "http.d/virtualhost-s.conf (edited)")
	var d station.NodeDetail
	eventually(t, "the status tells of it", func() bool {
		d = node(t, r.client, "node1")
		return d.Reported.Drift != nil && d.Reported.Drift.State == nginx.DriftHealed
	})
	if d.Sync != station.InSync || len(d.Reported.Drift.Files) != 1 || d.Reported.Drift.Files[0].Path != "http.d/virtualhost-s.conf" {
		t.Errorf("the status is %+v, the drift %+v", d.NodeStatus, d.Reported.Drift)
	}
	serves(t, r.nodes[0].Address, 8080, "hello")
	o := ordered(t, r.client, "node1", handlers.MethodNginxDiff, handlers.NginxDiffBody{Healed: true})
	var changes nginx.Changes
	if err := json.Unmarshal(o.Answer.Result, &changes); err != nil || !strings.Contains(changes.Diff, "by hand") {
		t.Errorf("%s %s: %+v, %v", o.State, o.Answer.Message, changes, err)
	}

	// While the agent is away too.
	a.stop(t)
	rewrite(t, file, "hello", "in its absence")
	r.agent(0)
	eventually(t, "it is healed", func() bool {
		data, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(data), "hello")
	})
	inSync(t, r.client, "node1")
	serves(t, r.nodes[0].Address, 8080, "hello")
}

func TestARevisionThatComesDuringAPauseIsAppliedAtItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	a := r.agent(0)
	succeeds(t, r.client, set(t, site("s", "", 8080, "before")), false)
	inSync(t, r.client, "node1")
	if o := ordered(t, r.client, "node1", "pause", handlers.PauseBody{For: "1h", Reason: "a look"}); o.State != message.Succeeded {
		t.Fatal(o.State, o.Answer.Message)
	}
	happened(t, r.client, "node1", nginx.EventPaused, "a look")
	rewrite(t, r.hostFile(0), "before", "by hand")
	var d station.NodeDetail
	eventually(t, "the edit is told", func() bool {
		d = node(t, r.client, "node1")
		return d.Sync == station.Drifted
	})
	if p := d.Reported.Paused; p == nil || p.Reason != "a look" || p.Until.IsZero() || p.By == "" || !strings.Contains(d.Message, "virtualhost-s.conf (edited)") {
		t.Errorf("%+v, %q", p, d.Message)
	}
	all := outcomes(t, r.client, apply(t, r.client, set(t, site("s", "", 8080, "after")), false))
	if len(all) != 1 || all[0].State != message.Rejected || !strings.Contains(all[0].Answer.Message, "paused by "+d.Reported.Paused.By+" until ") {
		t.Errorf("%+v", all)
	}
	a.stop(t)
	r.agent(0) // the pause outlives the agent
	eventually(t, "it waits", func() bool {
		d = node(t, r.client, "node1")
		return d.Sync == station.Pending && strings.Contains(d.Message, "paused by")
	})
	serves(t, r.nodes[0].Address, 8080, "before")
	if o := ordered(t, r.client, "node1", "resume", handlers.ResumeBody{}); o.State != message.Succeeded || !o.Answer.Changed {
		t.Fatal(o.State, o.Answer.Message)
	}
	if d = inSync(t, r.client, "node1"); d.Reported.Paused != nil || d.Reported.Drift.Now() {
		t.Errorf("%+v", d.Reported)
	}
	serves(t, r.nodes[0].Address, 8080, "after")
	happened(t, r.client, "node1", nginx.EventResumed, "ended by")
}
