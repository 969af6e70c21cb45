package station_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// beating is a start of a node's agent, as far as a station hears of it.
type beating struct {
	s        *site
	node     string
	instance string
	count    uint64
	conn     *bus.Conn
}

func (s *site) beating(node string) *beating {
	s.t.Helper()
	b := &beating{s: s, node: node, instance: message.NewID()}
	b.connect()
	return b
}

func (b *beating) connect() {
	b.s.t.Helper()
	var err error
	if b.conn, err = bus.Connect(b.s.t.Context(), bus.Options{URL: b.s.url, Credentials: b.s.creds(b.node, subjects.Node), Instance: b.instance}); err != nil {
		b.s.t.Fatal(err)
	}
	b.s.t.Cleanup(b.conn.Close)
}

// next is the agent's next heartbeat, at a moment and signed by somebody.
func (b *beating) next(at time.Time, signer *identity.Credentials) []byte {
	b.s.t.Helper()
	b.count++
	data, err := message.SignHeartbeat(b.node, message.Heartbeat{Instance: b.instance, Counter: b.count, BootID: "boot-of-" + b.instance[20:], At: at,
		Clock: at.Add(3 * time.Second), Every: time.Minute, Observed: 7, Spool: 2, Outbox: 1}, signer)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return data
}

func (b *beating) beat() []byte {
	b.s.t.Helper()
	data := b.next(time.Now(), b.s.creds(b.node, subjects.Node))
	b.say(data)
	return data
}

func (b *beating) say(data []byte) {
	b.s.t.Helper()
	if err := b.conn.Tell(subjects.Heartbeat(b.node), data); err != nil {
		b.s.t.Fatal(err)
	}
	if err := b.conn.Flush(within(b.s.t)); err != nil {
		b.s.t.Fatal(err)
	}
}

func (s *site) becomes(name, word string) {
	s.t.Helper()
	eventually(s.t, name+" is "+word, func() bool { return s.node(name).Presence == word })
}

func TestANodeIsThereByItsHeartbeatsAndGoneWithItsConnection(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	a := s.beating("ship1")
	s.becomes("ship1", station.NeverWas)
	a.beat()
	s.becomes("ship1", station.Online)
	got := s.node("ship1")
	if len(got.Agents) != 1 || got.Agents[0].ID != a.instance || got.Agents[0].Spool != 2 || got.Agents[0].Outbox != 1 ||
		got.Agents[0].ObservedTold != 7 || got.Agents[0].ClockOffset != 3 || got.LastSeen.IsZero() {
		t.Errorf("it is known as %+v, last seen %s", got.Agents, got.LastSeen)
	}
	eventually(t, "ship1 has its address by the broker's word, which comes when it comes", func() bool {
		agents := s.node("ship1").Agents
		return len(agents) == 1 && agents[0].Host == "127.0.0.1"
	})
	if s.beating("ship2").conn.Close(); s.node("ship2").Presence != station.NeverWas {
		t.Error("a node that only connected was there")
	}
	a.conn.Close() // as when its process is killed
	s.becomes("ship1", station.Offline)
	a.connect()
	s.becomes("ship1", station.Online) // what it said last holds still
}

// A broker that ends a connection which it is just letting in may tell of the end before
// the beginning, or of the beginning alone. By its heartbeat the agent would live beyond the time of this test.
func TestAConnectionThatTheBrokerEndsAtItsBeginningEndsItsAgent(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	a := s.beating("ship1")
	a.beat()
	s.becomes("ship1", station.Online)
	links := make(chan bus.Link, 1000)
	run, err := s.conn("station-b", subjects.Station).Beats(func(string, []byte) {}, func(l bus.Link) { links <- l })
	if err != nil {
		t.Fatal(err)
	}
	go run(t.Context())
	if err := s.conn("station-b", subjects.Station).Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	system, err := s.authority.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	kicks, err := bus.Connect(t.Context(), bus.Options{URL: s.url, Credentials: system})
	if err != nil {
		t.Fatal(err)
	}
	defer kicks.Close()
	a.conn.Close()
	<-links
	a.connect() // younger than all that live on
	a.conn.Close()
	last := <-links
	for range 25 {
		s.becomes("ship1", station.Offline)
		ended := make(chan struct{})
		var kicking sync.WaitGroup
		for ahead := range uint64(2) {
			kicking.Go(func() {
				for {
					select {
					case <-ended:
						return
					default:
						_ = kicks.Ask(t.Context(), "$SYS.REQ.SERVER."+last.Server+".KICK", map[string]uint64{"cid": last.ID + 1 + ahead}, &struct{}{})
					}
				}
			})
		}
		conn, err := bus.Connect(t.Context(), bus.Options{URL: s.url, Credentials: s.creds("ship1", subjects.Node), Instance: a.instance})
		if err == nil {
			conn.Close()
		}
		close(ended)
		kicking.Wait()
		for { // which are the newest
			select {
			case l := <-links:
				last = l
				continue
			default:
			}
			break
		}
	}
	a.connect()
	a.beat()
	s.becomes("ship1", station.Online)
	after := s.beating("ship2") // whatever the broker still had to tell of the others it tells before
	after.beat()
	s.becomes("ship2", station.Online)
	after.conn.Close()
	s.becomes("ship2", station.Offline)
	s.becomes("ship1", station.Online)
}

func TestANodeThatIsCutOffBeforeItsFirstHeartbeatIsGone(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	a := s.beating("ship1")
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted})
	s.becomes("ship1", station.Online)
	a.conn.Close()
	s.becomes("ship1", station.Offline)
	a.connect()
	s.becomes("ship1", station.Online) // what it said holds still
}

func TestForgedAndReplayedHeartbeatsMakeNoNodeLive(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	a, other := s.beating("ship1"), s.beating("ship2")
	old := a.next(time.Now().Add(-time.Hour), s.creds("ship1", subjects.Node))
	for _, signer := range []*identity.Credentials{s.creds("ship2", subjects.Node), s.users["alice"], s.creds(untrusted, subjects.Admin)} {
		a.say(a.next(time.Now(), signer))
	}
	a.say(old) // a station that has just started does not know it
	a.say([]byte("rubbish"))
	known := a.beat()
	a.conn.Close()
	s.becomes("ship1", station.Offline)
	a.instance = message.NewID() // a connection that is not that of the agent
	a.connect()
	a.say(known)
	other.beat()
	s.becomes("ship2", station.Online)
	if got := s.node("ship1"); got.Presence != station.Offline {
		t.Errorf("a heartbeat that was heard before made a dead node %s", got.Presence)
	}
}

func TestAStationThatStartsSaysUnknownUntilItCanTell(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1", "ship2", "ship3", "ship4", "ship5")
	for _, name := range []string{"ship1", "ship2", "ship3"} {
		s.facts(name, &fleet.Facts{Link: "wan", HeartbeatSeconds: 60})
		s.lifecycle(name, message.Lifecycle{Event: message.LifecycleStarted})
	}
	s.lifecycle("ship3", message.Lifecycle{Event: message.LifecycleStopped})
	s.facts("ship4", &fleet.Facts{Link: "wan", HeartbeatSeconds: 60}) // and no event says when it lived
	s.facts("ship5", &fleet.Facts{Link: "wan", HeartbeatSeconds: 0.1})
	s.lifecycle("ship5", message.Lifecycle{Event: message.LifecycleStarted})
	s.becomes("ship1", station.Online) // events prove it
	stop()
	s.station(nil)
	s.becomes("ship1", station.Online)
	s.becomes("ship3", station.Offline)
	s.becomes("ship4", station.Uncertain)
	s.becomes("ship5", station.Offline) // soon after
}

func TestAnIdentityThatIsUsedTwiceIsTold(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	a, b, single := s.beating("ship1"), s.beating("ship1"), s.beating("ship2")
	single.beat()
	a.beat()
	b.beat()
	eventually(t, "ship1 lives twice", func() bool {
		a.beat()
		return s.node("ship1").Presence == station.Duplicate
	})
	if all, err := s.client.Summary(within(t), station.NodesQuestion{}); err != nil || all.Worst != "ship1" {
		t.Errorf("the summary names %q to be looked at (%v)", all.Worst, err)
	}
	nodes, _, err := s.client.Nodes(within(t), station.NodesQuestion{})
	if err != nil || len(nodes) != 2 || len(nodes[0].Agents) != 2 || nodes[0].Agents[0].ID != a.instance || nodes[0].Agents[1].ID != b.instance ||
		nodes[0].Agents[1].Host != "127.0.0.1" || nodes[1].Presence != station.Online || nodes[1].Agents != nil {
		t.Errorf("the nodes are %+v: %v", nodes, err)
	}
	told := func() (all []message.Lifecycle) {
		for _, i := range s.items(subjects.Audit, subjects.LifecycleOf("ship1")) {
			d := message.ReceiveCopied(i.Stored, i.Origin)
			var l message.Lifecycle
			err := d.Message.Unpack()
			if err == nil {
				err = json.Unmarshal(d.Message.Body, &l)
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, l)
		}
		return all
	}
	eventually(t, "it is told", func() bool { return len(told()) > 0 })
	for range 10 {
		a.beat()
		b.beat()
	}
	b.conn.Close()
	s.becomes("ship1", station.Online)
	all := told()
	if len(all) != 1 || all[0].Event != message.LifecycleDuplicate || !strings.Contains(all[0].Message, a.instance) || !strings.Contains(all[0].Message, b.instance) {
		t.Errorf("it was told as %+v", all)
	}
}
