package agent_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
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
	if err != nil && fleet.KindOf(err) != fleet.Unknown { // the station has not heard of it yet
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
	n.do(t, n.command(work, "fence", "")) // what was to be said is said before this
	finals := make(map[string]int)
	for _, r := range n.audit(t) {
		if r.Message.State.Final() {
			finals[r.Message.Command]++
		}
	}
	for _, id := range ids {
		if finals[id] != 1 { // one may call accepted what the other has ended
			t.Errorf("command %s ended %d times", id, finals[id])
		}
	}
	told := func() (times int) {
		for _, r := range n.audit(t) {
			if r.Message.Subject.Method == subjects.MethodLifecycle && r.Message.Subject.Domain == message.IdentityDomain && r.Proven {
				times++
			}
		}
		return times
	}
	eventually(t, "it is told", func() bool { return told() > 0 })
	if times := told(); times != 1 {
		t.Errorf("it was told %d times", times)
	}
}

// rejoins are the events by which the node told of its returns.
func (n *node) rejoins(t *testing.T) (all []message.Lifecycle) {
	t.Helper()
	for _, l := range n.lifecycle(t) {
		if l.Event == message.LifecycleRejoined {
			all = append(all, l)
		}
	}
	return all
}

func TestANodeThatReturnsSaysHowItWasAway(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	p := newProxy(t, n.url)
	start := func() (stop func()) {
		return n.start(t, func(c *agent.Config) { c.URL, c.RejoinAfter = p.url(), time.Nanosecond })
	}
	stop := start()
	n.subscribed(t)
	if got := n.rejoins(t); len(got) > 0 {
		t.Fatalf("a first start is told as a return: %+v", got)
	}
	began := time.Now()
	p.cut()
	n.becomes(t, station.Offline)
	p.heal()
	eventually(t, "it told", func() bool { return len(n.rejoins(t)) > 0 })
	most := time.Since(began).Seconds()
	l := n.rejoins(t)[0]
	if l.Rejoin == nil || l.Rejoin.OfflineSeconds <= 0 || l.Rejoin.OfflineSeconds > most || l.Rejoin.Interruptions != 1 ||
		l.BootID == "" || l.Instance == "" || !strings.HasPrefix(l.Rejoin.Reason, "the link was lost") || !strings.HasPrefix(l.Message, "away for ") {
		t.Errorf("within %v s it told %+v, %+v", most, l, l.Rejoin)
	}
	stop()
	stop = start()
	eventually(t, "it told again", func() bool { return len(n.rejoins(t)) > 1 })
	again := n.rejoins(t)[1]
	if again.Rejoin.Reason != "the agent was started" || again.Instance == l.Instance || again.BootID != l.BootID {
		t.Errorf("after a new start it told %+v, %+v", again, again.Rejoin)
	}
	stop()
	shown, err := n.client.Happenings(t.Context(), n.name, time.Time{}, 10)
	if err != nil || len(shown) != 2 || shown[0].Event != message.LifecycleRejoined || shown[0].Text != l.Message || !shown[0].Proven {
		t.Errorf("people see %+v: %v", shown, err)
	}
}

func TestAnAgentAnswersWhoAsksSignedAndNotWithoutEnd(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	ctx, cancel := patient(t)
	defer cancel()
	ping := func() (p []client.Pong) {
		eventually(t, n.name+" answers", func() bool { // it may have been asked too often just now
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			var err error
			if p, err = n.client.Ping(ctx, []string{n.name}, nil); err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			return len(p) == 1
		})
		return p
	}
	if p := ping(); p[0].Node != n.name || p[0].Agent == "" || p[0].Took <= 0 || p[0].Clock.IsZero() {
		t.Errorf("%+v", p)
	}
	var answers atomic.Int64
	heard, err := n.client.Conn().Listen(subjects.Heartbeat(n.name), func(_ string, data []byte) {
		if h, err := message.ReadHeartbeat(data); err == nil && h.Asked != "" {
			answers.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Stop()
	begun := time.Now()
	for range 1000 {
		if err := n.client.Conn().Tell(subjects.Ask, message.NewQuestion(nil).Text()); err != nil {
			t.Fatal(err)
		}
	}
	ping()
	// 20 at once and 10 a second, as the agent's own clock has it.
	if most := 20 + 10*time.Since(begun).Seconds() + 1; float64(answers.Load()) > most {
		t.Errorf("%d answers in %s", answers.Load(), time.Since(begun))
	}
}
