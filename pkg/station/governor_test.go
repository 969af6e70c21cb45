package station_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// queued is a bounded order that alice has stored.
func (s *site) queued(change func(*message.Order), nodes ...string) (message.Order, map[string]client.Sent) {
	s.t.Helper()
	o := client.NewOrder(nodes, "", "reload", "nginx", time.Hour)
	change(&o)
	sent, err := s.client.Queue(within(s.t), o, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	byNode := make(map[string]client.Sent)
	for _, one := range sent {
		byNode[one.Node] = one
	}
	return o, byNode
}

// published are the nodes to which an order's commands were published, sorted.
func (s *site) published(o message.Order) (names []string) {
	s.t.Helper()
	all, err := s.client.FindOrder(within(s.t), o.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	outcomes, err := s.client.Outcomes(within(s.t), all)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, out := range outcomes {
		if out.State != client.Queued && !strings.HasPrefix(out.Answer.Message, "called off by") {
			names = append(names, out.Node)
		}
	}
	slices.Sort(names)
	return names
}

func (s *site) publishes(o message.Order, want ...string) {
	s.t.Helper()
	eventually(s.t, "published: "+strings.Join(want, " "), func() bool { return slices.Equal(s.published(o), want) })
}

func there(s *site, names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.health(name, 3600)
		eventually(s.t, name+" is there", func() bool { return s.node(name).Presence == station.Online })
	}
}

func TestABoundedOrderTravelsSoManyAtATime(t *testing.T) {
	s := running(t)
	s.nodes(map[string]string{"region": "eu"}, "a", "b", "d")
	s.nodes(map[string]string{"region": "us"}, "c")
	there(s, "a", "b", "c", "d")

	o, sent := s.queued(func(o *message.Order) { o.Most = 2 }, "a", "b", "c", "d")
	s.publishes(o, "a", "b")
	s.end(sent["b"])
	s.publishes(o, "a", "b", "c")
	s.end(sent["a"], sent["c"])
	s.publishes(o, "a", "b", "c", "d")

	o, sent = s.queued(func(o *message.Order) { o.Per = map[string]int{"region": 1} }, "a", "b", "c", "d")
	s.publishes(o, "a", "c")
	s.end(sent["c"])
	s.end(sent["a"])
	s.publishes(o, "a", "b", "c")
}

// Who is not there holds up nobody, and has the turn when it comes back; who died
// with a command loses the place.
func TestAPlaceIsNotHeldByWhoIsNotThere(t *testing.T) {
	s := running(t)
	s.nodes(nil, "a", "b", "c")
	there(s, "b", "c")
	o, sent := s.queued(func(o *message.Order) { o.Most = 1 }, "a", "b")
	s.publishes(o, "b")
	s.end(sent["b"])
	there(s, "a")
	s.publishes(o, "a", "b")

	o, _ = s.queued(func(o *message.Order) { o.Most, o.Slot = 1, 0.05 }, "b", "c")
	s.publishes(o, "b", "c") // b never answers
}

// What one station began another one goes on with: nothing twice, nothing over the bound.
func TestABoundedOrderOutlivesItsStation(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "a", "b", "c")
	there(s, "a", "b", "c")
	o, sent := s.queued(func(o *message.Order) { o.Most = 1 }, "a", "b", "c")
	s.publishes(o, "a")
	s.end(sent["a"])
	s.publishes(o, "a", "b")
	stop()
	s.station(func(c *station.Config) { c.Credentials = s.users["station-b"] })
	there(s, "a", "b", "c")
	s.end(sent["b"])
	s.publishes(o, "a", "b", "c")
	s.end(sent["c"])
	count := 0
	eventually(t, "the audit has each once", func() bool {
		count = 0
		for _, i := range s.items(subjects.Audit, "*.command.>") {
			if message.ReceiveCopied(i.Stored, i.Origin).Message.Order == o.ID {
				count++
			}
		}
		return count >= 3
	})
	if count != 3 {
		t.Errorf("%d commands of an order to 3", count)
	}
}

func TestWhatWaitsForItsTurnCanBeCalledOff(t *testing.T) {
	s := running(t)
	s.nodes(nil, "a", "b")
	there(s, "a", "b")
	o, sent := s.queued(func(o *message.Order) { o.Most = 1 }, "a", "b")
	s.publishes(o, "a")
	if err := s.client.Unqueue(within(t), o.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Unqueue(within(t), o.ID); err != nil {
		t.Errorf("twice: %v", err)
	}
	stored, err := s.client.FindOrder(within(t), o.ID)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := s.client.Outcomes(within(t), stored)
	if err != nil || outcomes[0].State != message.Published || outcomes[1].State != message.Cancelled || outcomes[1].From != "alice" {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	s.end(sent["a"])
	// An order that comes behind it goes its way, so the first one had its chance.
	next, _ := s.queued(func(o *message.Order) { o.Most = 1 }, "b")
	s.publishes(next, "b")
	s.publishes(o, "a")
}

// A queue holds commands of its order by the order's own sender, and nothing else.
func TestAQueueIsItsSendersAlone(t *testing.T) {
	s := running(t)
	s.nodes(nil, "a", "b")
	there(s, "a", "b")
	var strange []message.Order
	for name, c := range map[string]struct {
		by     string // who signs command and queue
		change func(*message.Message)
		good   bool
	}{
		"its own":         {by: "alice", good: true},
		"another's":       {by: "olga"},
		"to another node": {by: "alice", change: func(m *message.Message) { m.Subject.Node = "b" }},
		"another method":  {by: "alice", change: func(m *message.Message) { m.Subject.Method = "shellcommand" }},
		"another id":      {by: "alice", change: func(m *message.Message) { m.ID = message.NewID() }},
		"of no order":     {by: "alice", change: func(m *message.Message) { m.Order = "" }},
	} {
		o := client.NewOrder([]string{"a"}, "", "reload", "nginx", time.Hour)
		o.Most = 1
		if err := s.client.Keep(within(t), o); err != nil {
			t.Fatal(err)
		}
		subject, id := o.Command("a")
		m := message.Message{Subject: subject, ID: id, From: c.by, Order: o.ID, Expires: o.Expires}
		if c.change != nil {
			c.change(&m)
		}
		if err := m.Sign(s.users[c.by]); err != nil {
			t.Fatal(err)
		}
		parts, err := message.SignQueue(o, []message.Message{m}, c.by, s.users[c.by])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.conn("alice", subjects.Admin).Append(within(t), subjects.QueueSubject(o.ID, "0"), parts[0], 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.good {
			s.publishes(o, "a")
			continue
		}
		strange = append(strange, o)
	}
	next, _ := s.queued(func(o *message.Order) { o.Most = 1 }, "b")
	s.publishes(next, "b")
	for _, o := range strange {
		if names := s.published(o); len(names) != 0 {
			t.Errorf("published to %v", names)
		}
	}
	for _, i := range s.items(subjects.Audit, "*.command.>") {
		if d := message.ReceiveCopied(i.Stored, i.Origin); d.Message.From == "olga" || d.Message.Subject.Method == "shellcommand" {
			t.Errorf("published: %s by %s", d.Message.Subject, d.Message.From)
		}
	}
}
