package station_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// calledOff fails unless commands end cancelled, by whom, with an answer that is
// in the audit and believed.
func (s *site) calledOff(by string, sent ...client.Sent) {
	s.t.Helper()
	for _, one := range sent {
		eventually(s.t, one.Subject+" ends", func() bool { return s.state(one.ID) == message.Cancelled })
		eventually(s.t, "the audit has its end", func() bool {
			return slices.ContainsFunc(s.items(subjects.Audit, ""), func(i bus.Item) bool { return message.Receive(i.Stored).Message.Command == one.ID })
		})
		for _, i := range s.items(subjects.Events, "") {
			d := message.Receive(i.Stored)
			if d.Message.Command != one.ID {
				continue
			}
			answer, err := d.Message.ReadAnswer()
			if err != nil || d.Message.State != message.Cancelled || answer.Kind != fleet.Cancelled || !strings.Contains(answer.Message, "was removed from the register by "+by) {
				s.t.Errorf("it ended %s: %+v %v", d.Message.State, answer, err)
			}
			if !s.client.Proven(within(s.t), d) {
				s.t.Error("the end is not believed")
			}
		}
	}
}

func TestWhatWaitsForANodeEndsWhenItIsRemoved(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	sent := s.send("ship1", "reload", 3, time.Hour, nil)
	others := s.send("ship2", "reload", 1, time.Hour, nil)
	s.end(sent[2])
	eventually(t, "one has ended by itself", func() bool { return s.state(sent[2].ID) == message.Succeeded })
	if _, err := s.client.EndWaiting(within(t), "ship1"); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("the commands of a node that is there: %v", err)
	}
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.EndWaiting(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	// As soon as that has returned.
	if waiting, _ := s.sync("ship1"); len(waiting) > 0 {
		t.Errorf("these would go to who takes the name: %v", waiting)
	}
	s.calledOff("alice", sent[:2]...)
	if got := s.state(sent[2].ID); got != message.Succeeded {
		t.Errorf("what had ended is %s", got)
	}
	if got := s.state(others[0].ID); got.Final() {
		t.Errorf("another node's command is %s", got)
	}
	// Whoever takes the name begins with nothing, and gets what is theirs.
	s.nodes(nil, "ship1")
	later := s.send("ship1", "reload", 1, time.Hour, nil)
	if waiting, _ := s.sync("ship1"); !slices.Equal(waiting, ids(later)) {
		t.Errorf("it gets %v, want %v", waiting, ids(later))
	}
}

func TestWhatWaitsForANodeThatWasRemovedWithoutAStationEndsWithTheNextOne(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 2, time.Hour, nil)
	stop()
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.EndWaiting(within(t), "ship1"); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("without a station: %v", err)
	}
	// Nobody takes the name meanwhile.
	if err := s.client.Register(within(t), station.NodeRecord{Name: "ship1", Key: s.creds("ship9", subjects.Node).Key}); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("the name is taken: %v", err)
	}
	s.station(nil)
	s.calledOff("alice", sent...)
}

// The node had answered, in a way that nobody believes: it ends all the same.
func TestACommandThatARemovedNodeAnsweredWaitsForNobody(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 1, time.Hour, nil)
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	stranger := s.creds("ship2", subjects.Node) // as one that was removed is
	if _, err := s.conn("ship1", subjects.Node).Publish(within(t), s.signedAnswer(sent[0], message.Succeeded, stranger)); err != nil && fleet.KindOf(err) != fleet.Conflict {
		t.Fatal(err)
	}
	if _, err := s.client.EndWaiting(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	if waiting, _ := s.sync("ship1"); len(waiting) > 0 {
		t.Errorf("these would go to who takes the name: %v", waiting)
	}
}
