package agent_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// detail is what a station knows of the node.
func (n *node) detail(t *testing.T) station.NodeDetail {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	d, err := n.client.Node(ctx, n.name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (n *node) becomes(t *testing.T, word string) {
	t.Helper()
	eventually(t, n.name+" is "+word, func() bool { return n.detail(t).Presence == word })
}

// Its next heartbeat is 20 s away: nothing but the broker's word can tell it.
func TestAnAgentThatIsKilledIsOfflineAtOnce(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	beats := func() bool {
		d := n.detail(t)
		return d.Presence == station.Online && len(d.Agents) == 1 && d.Agents[0].Every == 20 && d.Facts != nil && d.Facts.Link == "wan"
	}
	for range 2 {
		p := n.spawn(t, "")
		eventually(t, "its heartbeats are heard", beats)
		p.kill()
		n.becomes(t, station.Offline)
	}
	for _, l := range n.lifecycle(t) {
		if l.Event == message.LifecycleDuplicate {
			t.Error("an agent that was killed and started again is taken for two:", l.Message)
		}
	}
}

func TestTwoAgentsOfOneIdentityAreShownAndEachCommandEndsOnce(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	quick := func(c *agent.Config) { c.Heartbeat = time.Second }
	n.start(t, quick)
	copied := *n
	copied.state = filepath.Join(n.dir(), n.name+"-copied")
	stop := copied.start(t, quick)
	n.becomes(t, station.Duplicate)
	if d := n.detail(t); len(d.Agents) != 2 || d.Agents[0].Host != "127.0.0.1" || d.Agents[1].Host != "127.0.0.1" || d.Agents[0].ID == d.Agents[1].ID {
		t.Errorf("they are shown as %+v", d.Agents)
	}
	ids := n.send(t, slices.Repeat([]client.Command{n.command(work, "a", "")}, 20)...)
	for i, end := range n.ends(t, ids...) {
		if end.State != message.Succeeded {
			t.Errorf("command %d ended %s: %s", i, end.State, end.Message)
		}
	}
	stop()
	n.becomes(t, station.Online)
	n.wellAfter(t)
	told := 0
	for _, r := range n.audit(t) {
		if r.Message.Subject.Method == subjects.MethodLifecycle && r.Message.Subject.Domain == message.IdentityDomain && r.Proven {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
}
