package station

import (
	"fmt"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// A pulse has no clock of its own: these tests say what time it is.

const every = 20 * time.Second

// agent is one start of an agent; its idea of the broker's clock is behind by delay.
type agent struct {
	id    string
	count uint64
	delay time.Duration
}

func newAgent() *agent { return &agent{id: message.NewID()} }

// at is the agent's next heartbeat, sent at a moment.
func (a *agent) at(sent time.Time) message.Heartbeat {
	a.count++
	return message.Heartbeat{Instance: a.id, Counter: a.count, At: sent.Add(-a.delay), Every: every, BootID: "boot"}
}

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

func took(t *testing.T, p *pulse, h message.Heartbeat, now time.Time) {
	t.Helper()
	if err := p.beat(h, now, 0); err != nil {
		t.Fatal(err)
	}
}

func lives(t *testing.T, p *pulse, now time.Time, want int) {
	t.Helper()
	if got := len(p.living(now)); got != want {
		t.Errorf("at %s %d agents live, want %d", now.Format(time.TimeOnly), got, want)
	}
}

func TestANodeIsThereUntilTwoHeartbeatsDidNotCome(t *testing.T) {
	a, p := newAgent(), &pulse{}
	lives(t, p, noon, 0)
	took(t, p, a.at(noon), noon)
	lives(t, p, noon.Add(2*every+lateBeat), 1)
	lives(t, p, noon.Add(2*every+lateBeat+time.Millisecond), 0)
	took(t, p, a.at(noon.Add(time.Hour)), noon.Add(time.Hour))
	lives(t, p, noon.Add(time.Hour), 1)
}

func TestAReplayedHeartbeatMakesNobodyLive(t *testing.T) {
	a, p := newAgent(), &pulse{}
	first, last := a.at(noon), a.at(noon.Add(every))
	took(t, p, first, noon)
	took(t, p, last, noon.Add(every))
	later := noon.Add(time.Hour)
	for _, h := range []message.Heartbeat{first, last} {
		if err := p.beat(h, later, 0); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("a heartbeat that was heard before is taken: %v", err)
		}
	}
	lives(t, p, later, 0)

	restarted := &pulse{} // it knows none of them
	took(t, restarted, last, later)
	lives(t, restarted, later, 0)
	if n, _ := restarted.newest(); n.seen.After(noon.Add(every + mostLag)) {
		t.Errorf("a heartbeat of %s was taken for one of %s", noon.Add(every), n.seen)
	}
}

func TestAHeartbeatThatSomebodyKeptBackIsAsOldAsItIs(t *testing.T) {
	a, p := newAgent(), &pulse{}
	took(t, p, a.at(noon), noon)
	kept := a.at(noon.Add(every))
	took(t, p, kept, noon.Add(time.Hour))
	lives(t, p, noon.Add(time.Hour), 0)
}

func TestAWrongIdeaOfTheBrokersClockIsNoMatter(t *testing.T) {
	for _, delay := range []time.Duration{-time.Hour, -time.Second, time.Second, mostLag - time.Second} {
		a, p := newAgent(), &pulse{}
		a.delay = delay
		for i := range 10 {
			now := noon.Add(time.Duration(i) * every)
			took(t, p, a.at(now), now)
			lives(t, p, now.Add(2*every), 1)
		}
	}
}

func TestABrokersClockThatIsSetForwardLosesNobody(t *testing.T) {
	a, p := newAgent(), &pulse{}
	took(t, p, a.at(noon), noon)
	now := noon.Add(every)
	if err := p.beat(a.at(now), now, time.Hour); err != nil { // the agent has not heard of it
		t.Fatal(err)
	}
	lives(t, p, now.Add(2*every), 1)
}

func TestTheEndOfAConnectionEndsItsAgentUntilItSpeaksAgain(t *testing.T) {
	a, p := newAgent(), &pulse{}
	up := bus.Link{Up: true, Instance: a.id, Server: "S1", ID: 7, Host: "192.0.2.1"}
	down := bus.Link{Instance: a.id, Server: "S1", ID: 7}
	p.linked(up, noon)
	lives(t, p, noon, 0) // a connection is no heartbeat
	took(t, p, a.at(noon), noon)
	p.linked(down, noon.Add(time.Second))
	lives(t, p, noon.Add(time.Second), 0)

	up.ID = 8
	p.linked(up, noon.Add(2*time.Second))
	lives(t, p, noon.Add(2*time.Second), 1) // its last heartbeat still holds
	lives(t, p, noon.Add(time.Hour), 0)

	p.linked(down, noon.Add(3*time.Second)) // the end of the first is noticed a second time
	lives(t, p, noon.Add(3*time.Second), 1)

	down.ID = 8
	p.linked(down, noon.Add(4*time.Second))
	took(t, p, a.at(noon.Add(10*time.Second)), noon.Add(10*time.Second)) // whose connection was not told
	lives(t, p, noon.Add(10*time.Second), 1)
}

// link is what a broker tells of an agent's connection.
func (a *agent) link(up bool, server string, id uint64) bus.Link {
	return bus.Link{Up: up, Instance: a.id, Server: server, ID: id}
}

func TestAnEndThatIsToldBeforeItsBeginningIsAnEnd(t *testing.T) {
	a, p := newAgent(), &pulse{}
	p.linked(a.link(true, "S1", 7), noon)
	took(t, p, a.at(noon), noon)
	p.linked(a.link(false, "S1", 7), noon.Add(2*time.Second))
	p.linked(a.link(false, "S1", 8), noon.Add(3*time.Second))
	p.linked(a.link(true, "S1", 8), noon.Add(3*time.Second))
	lives(t, p, noon.Add(3*time.Second), 0)
	p.linked(a.link(true, "S1", 9), noon.Add(4*time.Second))
	lives(t, p, noon.Add(4*time.Second), 1)

	fresh := &pulse{} // nothing was heard of the agent before
	fresh.linked(a.link(false, "S1", 8), noon)
	fresh.linked(a.link(true, "S1", 8), noon)
	took(t, fresh, a.at(noon), noon)
	lives(t, fresh, noon, 0)
}

func TestAnEndWhoseBeginningWasNotHeardIsAnEnd(t *testing.T) {
	a, p := newAgent(), &pulse{}
	p.linked(a.link(true, "S1", 7), noon)
	took(t, p, a.at(noon), noon)
	later := noon.Add(time.Minute) // of which this station heard nothing
	took(t, p, a.at(later), later)
	end := a.link(false, "S2", 3)
	end.Lasted = 30 * time.Second
	p.linked(end, later.Add(time.Second))
	lives(t, p, later.Add(time.Second), 0)
}

func TestABeginningWhoseEndNobodyTellsProvesNothingForLong(t *testing.T) {
	a, p := newAgent(), &pulse{}
	p.linked(a.link(true, "S1", 7), noon)
	took(t, p, a.at(noon), noon)
	p.linked(a.link(false, "S1", 7), noon.Add(100*time.Millisecond))
	back := noon.Add(200 * time.Millisecond)
	p.linked(a.link(true, "S1", 8), back)
	lives(t, p, back.Add(speaks), 1)
	lives(t, p, back.Add(speaks+time.Millisecond), 0)
	slow := back.Add(speaks + time.Second)
	took(t, p, a.at(slow), slow)
	lives(t, p, slow.Add(every), 1)
	took(t, p, a.at(slow.Add(every)), slow.Add(every))
	p.linked(a.link(true, "S2", 1), slow.Add(every+time.Millisecond)) // by which it has just spoken, and no end was told before
	lives(t, p, slow.Add(2*every), 1)
}

func TestTheEndOfAConnectionThatWasLeftEndsNobody(t *testing.T) {
	for name, told := range map[string]func(t *testing.T, p *pulse, a *agent){
		"an older one of the same broker": func(t *testing.T, p *pulse, a *agent) {
			p.linked(a.link(true, "S1", 7), noon)
			p.linked(a.link(true, "S1", 8), noon.Add(time.Second))
			took(t, p, a.at(noon.Add(time.Second)), noon.Add(time.Second))
			p.linked(a.link(false, "S1", 7), noon.Add(2*time.Second))
		},
		"a silent one of another broker, found out later": func(t *testing.T, p *pulse, a *agent) {
			p.linked(a.link(true, "S1", 7), noon.Add(-time.Hour))
			p.linked(a.link(true, "S2", 3), noon)
			took(t, p, a.at(noon), noon)
			end := a.link(false, "S1", 7)
			end.Lasted = time.Hour
			p.linked(end, noon.Add(2*time.Second))
		},
		"one whose beginning was not heard": func(t *testing.T, p *pulse, a *agent) {
			p.linked(a.link(true, "S2", 3), noon)
			took(t, p, a.at(noon), noon)
			end := a.link(false, "S1", 7)
			end.Lasted = time.Hour
			p.linked(end, noon.Add(2*time.Second))
		},
		"one of a fifth broker, by which it was long ago": func(t *testing.T, p *pulse, a *agent) {
			for n, server := range []string{"S2", "S3", "S4", "S1"} {
				p.linked(a.link(true, server, 1), noon.Add(time.Duration(n-5)*time.Minute))
				p.linked(a.link(false, server, 1), noon.Add(time.Duration(n-5)*time.Minute+time.Second))
			}
			p.linked(a.link(true, "S2", 3), noon)
			took(t, p, a.at(noon), noon)
			end := a.link(false, "S5", 7)
			end.Lasted = time.Hour
			p.linked(end, noon.Add(2*time.Second))
		},
		"a short one of another broker, all of which is told late": func(t *testing.T, p *pulse, a *agent) {
			p.linked(a.link(true, "S2", 3), noon)
			took(t, p, a.at(noon), noon)
			p.linked(a.link(true, "S1", 7), noon.Add(time.Second))
			end := a.link(false, "S1", 7)
			end.Lasted = 5 * time.Millisecond
			p.linked(end, noon.Add(time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, p := newAgent(), &pulse{}
			told(t, p, a)
			lives(t, p, noon.Add(2*time.Second), 1)
			p.linked(a.link(false, "S2", 3), noon.Add(3*time.Second))
			p.linked(a.link(false, "S1", 8), noon.Add(3*time.Second))
			lives(t, p, noon.Add(3*time.Second), 0)
		})
	}
}

func TestAConnectionToABrokerThatWasKilledKeepsNobodyAlive(t *testing.T) {
	a, p := newAgent(), &pulse{}
	p.linked(a.link(true, "S1", 7), noon.Add(-time.Minute)) // and no end is ever told
	p.linked(a.link(true, "S2", 3), noon)
	took(t, p, a.at(noon), noon)
	p.linked(a.link(false, "S2", 3), noon.Add(time.Second))
	lives(t, p, noon.Add(time.Second), 0)
	for n := range 2 * mostLinks {
		p.linked(a.link(true, fmt.Sprint("T", n), 1), noon.Add(time.Second))
	}
	if n := len(p.instances[0].links); n > mostLinks {
		t.Errorf("%d connections are remembered", n)
	}
}

func TestAHeartbeatOnItsWayWhenItsConnectionEndedProvesNothing(t *testing.T) {
	a, p := newAgent(), &pulse{}
	took(t, p, a.at(noon), noon)
	last := a.at(noon.Add(every))
	p.linked(bus.Link{Instance: a.id, Server: "S1", ID: 7}, noon.Add(every+time.Millisecond))
	took(t, p, last, noon.Add(every+2*time.Millisecond))
	lives(t, p, noon.Add(every+time.Second), 0)
}

func TestTwoAgentsThatSpeakInTurnsAreTwo(t *testing.T) {
	a, b, p := newAgent(), newAgent(), &pulse{}
	now := noon
	took(t, p, a.at(now), now)
	now = now.Add(every / 2)
	took(t, p, b.at(now), now)
	if p.twins(now) != nil {
		t.Error("an agent that followed another is taken for a second one")
	}
	now = now.Add(every / 2)
	took(t, p, a.at(now), now)
	if got := p.twins(now); len(got) != 2 || got[0].id != a.id || got[1].id != b.id {
		t.Errorf("two agents that speak in turns are %v", got)
	}
	p.linked(bus.Link{Instance: b.id, Server: "S1", ID: 7}, now)
	if p.twins(now) != nil {
		t.Error("one of them is gone, and there are two")
	}
	lives(t, p, now, 1)
}

func TestAnAgentThatIsStartedAgainIsOne(t *testing.T) {
	p, now := &pulse{}, noon
	for range 20 { // killed and started, faster than anybody could miss it
		a := newAgent()
		took(t, p, a.at(now), now)
		now = now.Add(time.Second)
		took(t, p, a.at(now), now)
		if p.twins(now) != nil {
			t.Fatal("an agent that was started again is taken for two")
		}
		now = now.Add(100 * time.Millisecond)
	}
	if len(p.instances) > mostInstances {
		t.Errorf("%d instances are remembered", len(p.instances))
	}
}

func TestAFarewellEndsItsOwnAgentAlone(t *testing.T) {
	a, b, p := newAgent(), newAgent(), &pulse{}
	took(t, p, a.at(noon), noon)
	took(t, p, b.at(noon.Add(time.Second)), noon.Add(time.Second))
	p.stop(a.id, noon.Add(2*time.Second)) // its farewell comes late
	lives(t, p, noon.Add(2*time.Second), 1)
	took(t, p, a.at(noon.Add(3*time.Second)), noon.Add(3*time.Second)) // and a heartbeat later still
	lives(t, p, noon.Add(3*time.Second), 1)
}
