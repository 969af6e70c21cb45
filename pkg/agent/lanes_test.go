package agent_test

import (
	"slices"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// begun sends a command that waits at a gate and returns once it runs.
func (n *node) begun(t *testing.T, method, domain, gate string) string {
	t.Helper()
	id := n.send(t, n.command(method, domain, gate))[0]
	eventually(t, "a "+method+" runs", func() bool { return n.count(t, id) == 1 })
	return id
}

// repeated are commands that differ in nothing but their ids.
func repeated(c client.Command, times int) []client.Command {
	return slices.Repeat([]client.Command{c}, times)
}

// checkSuperseded holds that the last of some commands ran and each other one
// names what took its place: by says whether it may be that id.
func checkSuperseded(t *testing.T, n *node, ids []string, by func(i int, id string) bool) {
	t.Helper()
	newest := ids[len(ids)-1]
	for i, end := range n.ends(t, ids...) {
		switch {
		case ids[i] == newest:
			if end.State != message.Succeeded || n.count(t, newest) != 1 {
				t.Errorf("the newest ended %s: %s", end.State, end.Message)
			}
		case end.State != message.Superseded || !by(i, end.By) || n.count(t, ids[i]) != 0:
			t.Errorf("an older one ended %s by %q: %s", end.State, end.By, end.Message)
		}
	}
}

func TestOfCommandsThatWaitWhileTheLaneIsBusyTheNewestRuns(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	n.begun(t, serial, "x", "a")
	ids := n.send(t, repeated(n.command(latest, "x", ""), 5)...)
	n.ends(t, ids[:4]...) // while the lane is busy: all five have come
	n.open(t, "a")
	// They come one by one, and each takes the place of the one before.
	checkSuperseded(t, n, ids, func(i int, id string) bool { return slices.Contains(ids[i+1:], id) })
	n.wellAfter(t)
}

func TestOfCommandsThatWaitWhileTheAgentIsAwayTheNewestRuns(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	ids := n.send(t, repeated(n.command(latest, "x", ""), 5)...)
	other := n.send(t, n.command(latest, "y", ""))[0]
	n.start(t, nil)
	checkSuperseded(t, n, ids, func(_ int, id string) bool { return id == ids[4] })
	if end := n.end(t, other); end.State != message.Succeeded {
		t.Errorf("another domain's ended %s", end.State)
	}
	n.wellAfter(t)
}

func TestCommandsOfAMethodAndDomainRunInTheOrderOfTheStream(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	p := newProxy(t, n.url)
	n.start(t, func(c *agent.Config) { c.URL = p.url() })
	ids := n.send(t, repeated(n.command(work, "x", ""), 50)...)
	n.ends(t, ids...)
	p.cut()
	ids = append(ids, n.send(t, repeated(n.command(work, "x", ""), 100)...)...)
	p.heal()
	// One by one until those of the time without a link have run, and a few
	// more: some are stored just when the link comes back.
	for len(n.runs(t)) < 150 || len(ids) < 200 {
		ids = append(ids, n.send(t, n.command(work, "x", ""))...)
	}
	n.ends(t, ids...)
	if runs := n.runs(t); !slices.Equal(runs, ids) {
		at := 0
		for at < min(len(runs), len(ids)) && runs[at] == ids[at] {
			at++
		}
		t.Errorf("%d commands ran %d times, in another order from the %dth on", len(ids), len(runs), at+1)
	}
	n.wellAfter(t)
}

func TestABusyLaneStopsNoOther(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	busy := n.begun(t, work, "x", "a")
	shared := n.begun(t, serial, "x", "b")
	behind := n.send(t, n.command(work, "x", ""), n.command(serial, "y", ""), n.command(latest, "x", ""))
	for _, method := range []string{work, durable} {
		if _, end := n.do(t, n.command(method, "y", "")); end.State != message.Succeeded {
			t.Errorf("%s ended %s", method, end.State)
		}
	}
	for _, id := range behind {
		if n.count(t, id) > 0 {
			t.Errorf("%s ran beside what was before it in its lane", id)
		}
	}
	n.open(t, "a")
	n.open(t, "b")
	n.ends(t, append(behind, busy, shared)...)
	n.wellAfter(t)
}

func TestAFullQueueIsToldAndTheRestRuns(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, func(c *agent.Config) { c.Waiting = 10 })
	n.begun(t, work, "x", "a")
	ids := n.send(t, repeated(n.command(work, "x", ""), 30)...)
	n.ends(t, ids[10:]...) // before any of the others can
	n.open(t, "a")
	for i, end := range n.ends(t, ids...) {
		switch {
		case i < 10 && end.State != message.Succeeded:
			t.Errorf("command %d ended %s: %s", i, end.State, end.Message)
		case i >= 10 && (end.State != message.Rejected || end.Kind != fleet.Busy || n.count(t, ids[i]) > 0):
			t.Errorf("command %d ended %s (%s): %s", i, end.State, end.Kind, end.Message)
		}
	}
	n.wellAfter(t)
}

func TestAThousandCommandsAtOnceAreEachAnsweredOnce(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	var all []client.Command
	for i := range 1000 {
		all = append(all, n.command([]string{work, durable, once, serial}[i%4], string(rune('a'+i%10)), ""))
	}
	ids := n.send(t, all...)
	for i, end := range n.ends(t, ids...) {
		if end.State != message.Succeeded {
			t.Errorf("command %d ended %s: %s", i, end.State, end.Message)
		}
	}
	n.wellAfter(t)
	runs := n.runs(t)
	slices.Sort(runs)
	if distinct := len(slices.Compact(slices.Clone(runs))); len(runs) != 1001 || distinct != 1001 {
		t.Errorf("%d runs of %d commands", len(runs), distinct)
	}
}

func TestACommandThatExpiresInTheQueueDoesNotRun(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	n.begun(t, work, "x", "a")
	command := n.command(work, "x", "")
	command.Expires = time.Second
	id := n.send(t, command)[0]
	over := time.Now().Add(time.Second) // the broker's clock is this host's
	eventually(t, "its time is over", func() bool { return time.Now().After(over) })
	n.open(t, "a")
	if end := n.end(t, id); end.State != message.Expired || end.From != n.name || n.count(t, id) > 0 {
		t.Errorf("ended %s by %s: %s", end.State, end.From, end.Message)
	}
	n.wellAfter(t)
}
