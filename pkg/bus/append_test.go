package bus_test

import (
	"fmt"
	"sync"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// link is a signed document for a chain.
func (s *site) link(body string) message.Message {
	return s.signed("station-a", subjects.Station, message.Message{Subject: message.CheckpointSubject(), ID: message.NewID(), Body: []byte(body)})
}

func TestAChainGrowsAtItsEndAlone(t *testing.T) {
	s := open(t)
	c := s.station()
	if end, err := c.End(within(t), subjects.Checkpoints, subjects.Checkpoint); err != nil || end != nil {
		t.Fatalf("an empty chain ends at %+v, %v", end, err)
	}
	first, err := c.Append(within(t), subjects.Checkpoint, s.link("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for what, behind := range map[string]uint64{"the begin": 0, "what is not there": first + 1} {
		if _, err := c.Append(within(t), subjects.Checkpoint, s.link("other"), behind); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("appended behind %s: %v", what, err)
		}
	}
	two := s.link("two")
	second, err := c.Append(within(t), subjects.Checkpoint, two, first)
	if err != nil {
		t.Fatal(err)
	}
	end, err := c.End(within(t), subjects.Checkpoints, subjects.Checkpoint)
	if err != nil || end == nil || end.Sequence != second || string(end.Body) != "two" || end.At.IsZero() {
		t.Fatalf("the chain ends at %+v, %v", end, err)
	}
	if m, faults := message.DecodeAs(message.CheckpointSubject(), end.Headers, end.Body); faults.Err() != nil || m.CheckSignature() != nil || m.ID != two.ID {
		t.Error("the end is not what was signed:", faults.Err(), m)
	}
	at, err := c.At(within(t), subjects.Checkpoints, first)
	if err != nil || at == nil || string(at.Body) != "one" {
		t.Errorf("at %d stands %+v, %v", first, at, err)
	}
	if at, err := c.At(within(t), subjects.Checkpoints, second+1); err != nil || at != nil {
		t.Errorf("behind the end stands %+v, %v", at, err)
	}
	if _, err := c.End(within(t), "NOTHING", subjects.Checkpoint); fleet.KindOf(err) != fleet.Unknown {
		t.Error("a stream that is not there:", err)
	}
}

func TestOfManyThatAppendAtOnceOneIsFirst(t *testing.T) {
	s := open(t)
	c := s.station()
	const many = 20
	errs := make([]error, many)
	var all sync.WaitGroup
	for i := range errs {
		m := s.link(fmt.Sprint(i))
		all.Go(func() { _, errs[i] = c.Append(within(t), subjects.Checkpoint, m, 0) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		switch fleet.KindOf(err) {
		case "":
			won++
		case fleet.Conflict:
		default:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d came first", won)
	}
}

func TestNobodyButAStationAppendsToTheChain(t *testing.T) {
	s := open(t)
	for name, role := range map[string]subjects.Role{"alice": subjects.Admin, "olga": subjects.Operator, "ship1": subjects.Node} {
		nc := s.foreign(name, role)
		if err := nc.Publish(subjects.Checkpoint, nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if nc.LastError() == nil {
			t.Errorf("%s (%s) may publish a checkpoint", name, role)
		}
	}
}
