package client_test

import (
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

// Each command counts once, by its one proven end; what is rubbish, what waits
// and what belongs to others is told apart.
func TestEndsOfCommandsAreCountedOnce(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1", "ship2")
	sent := s.send("ship1", 4)
	s.answer(sent[0], message.Succeeded, "ship1", nil)
	s.answer(sent[1], message.FailedEnd, "ship1", nil)
	s.answer(sent[2], message.Succeeded, "ship2", nil) // another's signature
	waiting := s.send("ship2", 1)[0]
	s.answer(waiting, message.Accepted, "ship2", nil)

	var ends client.Ends
	eventually(t, "the audit has it", func() bool {
		var err error
		if ends, err = s.client.Ends(within(t), client.EndsOptions{}); err != nil {
			t.Fatal(err)
		}
		return ends.Commands == 5 && ends.States[message.Succeeded] == 1 && ends.States[message.FailedEnd] == 1 && ends.Unproven == 1
	})
	if ends.Waiting != 3 || len(ends.Faults) != 0 {
		t.Errorf("%+v", ends)
	}
	only, err := s.client.Ends(within(t), client.EndsOptions{Node: "ship2"})
	if err != nil || only.Commands != 1 || only.Waiting != 1 {
		t.Errorf("of one node: %+v, %v", only, err)
	}
	late, err := s.client.Ends(within(t), client.EndsOptions{Since: time.Now().Add(time.Hour)})
	if err != nil || late.Commands != 0 || len(late.Faults) != 0 {
		t.Errorf("of later: %+v, %v", late, err)
	}
}

// An end of what nobody sent is found: only with a node's key can it be made.
func TestAnEndOfNoCommandIsFound(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	nobodys := s.send("ship1", 1)[0]
	nobodys.ID = message.NewID()
	s.answer(nobodys, message.Succeeded, "ship1", nil)
	eventually(t, "it is found", func() bool {
		ends, err := s.client.Ends(within(t), client.EndsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(ends.Faults) == 1 && ends.Faults[0].Kind == client.EndEarly && ends.Faults[0].ID == nobodys.ID && ends.Waiting == 1
	})
}
