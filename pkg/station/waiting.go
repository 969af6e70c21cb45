package station

import (
	"context"
	"encoding/json"
	"time"
)

// WaitingQuestion asks for commands without a final answer, a page at a time: those
// that meet all that it says.
type WaitingQuestion struct {
	Names  []string      `json:"names,omitempty"`  // only those to these nodes
	Method string        `json:"method,omitempty"` // only these
	Order  string        `json:"order,omitempty"`  // only those of this order
	Older  time.Duration `json:"older,omitempty"`  // only those stored longer ago, in nanoseconds
	After  uint64        `json:"after,omitempty"`  // the last sequence of the page before
}

// WaitingAnswer is one page, as they were stored.
type WaitingAnswer struct {
	Commands []Waiting `json:"commands"`
	More     bool      `json:"more"`
	Last     uint64    `json:"last"` // the last sequence of the page
	Now      time.Time `json:"now"`  // the broker's clock
}

// waitingPage is a WaitingAnswer as it is written.
type waitingPage struct {
	Commands []json.RawMessage `json:"commands"`
	More     bool              `json:"more"`
	Last     uint64            `json:"last"`
	Now      time.Time         `json:"now"`
}

type sequenced struct {
	Sequence uint64
	Waiting  Waiting
}

func (s *Station) answerWaiting(ctx context.Context, q WaitingQuestion) (waitingPage, error) {
	if err := s.barrier.pass(ctx); err != nil {
		return waitingPage{}, err
	}
	answer := waitingPage{Now: s.clock.Now(), Commands: []json.RawMessage{}}
	var size page
	for _, c := range s.ledger.matching(q, answer.Now.Add(-q.Older)) {
		item, fits := size.takes(c.Waiting, mostNodes)
		if answer.More = !fits; answer.More {
			break
		}
		answer.Commands, answer.Last = append(answer.Commands, item), c.Sequence
	}
	return answer, nil
}
