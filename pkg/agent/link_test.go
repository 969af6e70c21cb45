package agent_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// expiring is a fleet whose station ends commands soon after their time.
func expiring(t *testing.T, after time.Duration) *system {
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	s.stationHere(t, t.Cleanup, func(c *station.Config) { c.ExpireAfter = after })
	s.connect(t, t.Cleanup)
	return s
}

func TestACommandThatExpiresWhileItsNodeIsAwayIsEndedOnceByTheStation(t *testing.T) {
	t.Parallel()
	s := expiring(t, 100*time.Millisecond)
	n := s.newNode(t)
	command := n.command(work, "x", "")
	command.Expires = time.Second
	id := n.send(t, command)[0]
	if end := n.end(t, id); end.State != message.Expired || end.From != "station" {
		t.Errorf("ended %s by %s: %s", end.State, end.From, end.Message)
	}
	n.start(t, nil)
	n.wellAfter(t)
	if n.count(t, id) > 0 {
		t.Error("it ran")
	}
}

func TestAnOutcomeThatComesBehindItsExpiryIsToldAsLate(t *testing.T) {
	t.Parallel()
	s := expiring(t, 100*time.Millisecond)
	n := s.newNode(t)
	p := newProxy(t, n.url)
	n.start(t, func(c *agent.Config) { c.URL = p.url() })
	n.do(t, n.command(work, "x", ""))
	command := n.command(work, "x", "a")
	command.Expires = 3 * time.Second // time enough to begin
	id := n.send(t, command)[0]
	eventually(t, "it runs", func() bool { return n.count(t, id) == 1 })
	p.cut()
	n.open(t, "a")
	if end := n.end(t, id); end.State != message.Expired || end.From != "station" {
		t.Fatalf("ended %s by %s: %s", end.State, end.From, end.Message)
	}
	p.heal()
	n.wellAfter(t)
	for _, r := range n.audit(t) {
		if r.Message.Command == id && r.Message.State == message.Late {
			answer, err := r.Message.ReadAnswer()
			if err != nil || answer.Ended != message.Succeeded || answer.Message != "done" {
				t.Errorf("the note says %+v (%v)", answer, err)
			}
			return
		}
	}
	t.Error("nothing tells what became of it")
}

// The node's own clock is this host's; what the broker says is moved by years.
func TestExpiryIsJudgedByTheBrokersClockNotTheNodes(t *testing.T) {
	t.Parallel()
	s := expiring(t, 24*time.Hour) // the station leaves it to the node
	year := time.Now().UTC().Year()
	for name, test := range map[string]struct {
		shift   int
		expires time.Duration
		want    message.State
	}{
		"the node's clock is behind": {+2, time.Hour, message.Expired},
		"the node's clock is ahead":  {-2, -time.Hour, message.Succeeded},
		"both agree on its time":     {0, time.Hour, message.Succeeded},
		"both agree on its end":      {0, -time.Hour, message.Expired},
	} {
		for _, way := range []string{"live", "from the mailbox"} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				n := s.newNode(t)
				p := newProxy(t, n.url)
				p.change = func(line []byte) []byte {
					for _, before := range []string{"Nats-Time-Stamp: ", `"now":"`} {
						line = bytes.ReplaceAll(line, fmt.Appendf(nil, "%s%d-", before, year), fmt.Appendf(nil, "%s%d-", before, year+test.shift))
					}
					return line
				}
				start := func() { n.start(t, func(c *agent.Config) { c.URL = p.url() }) }
				if way == "live" {
					start()
					n.subscribed(t)
				}
				m := n.signed(t, "station", work, func(m *message.Message) { m.Expires = time.Now().Add(test.expires) }) // whose key is good without end
				n.publish(t, encoded(m))
				if way != "live" {
					start()
				}
				if end := n.end(t, m.ID); end.State != test.want || end.From != n.name {
					t.Errorf("ended %s by %s: %s", end.State, end.From, end.Message)
				}
			})
		}
	}
}

// subscribed waits until the agent has told that it runs, and so hears live.
func (n *node) subscribed(t *testing.T) {
	t.Helper()
	id := n.send(t, n.command(work, "first", ""))[0]
	n.end(t, id)
}
