package station

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// removal is when a node was removed, by the broker's clock, and who did it.
type removal struct {
	at time.Time
	by string
}

// RemovedQuestion asks that all commands end which wait for a node that was
// removed: whoever takes its name is not to get them.
type RemovedQuestion struct {
	Name string `json:"name"`
}

// RemovedAnswer says how many that were.
type RemovedAnswer struct {
	Cancelled int `json:"cancelled"`
}

func (s *Station) answerRemoved(ctx context.Context, q RemovedQuestion) (RemovedAnswer, error) {
	if err := fleet.CheckNode(q.Name); err != nil {
		return RemovedAnswer{}, err
	}
	have, err := s.register.lookUp(ctx, q.Name)
	if err != nil {
		return RemovedAnswer{}, err
	}
	if have.record.Key != "" || have.removed.at.IsZero() {
		return RemovedAnswer{}, fleet.Errorf(fleet.Conflict, "%s was not removed: its commands are its own", q.Name)
	}
	n, err := s.endWaiting(ctx, q.Name, have.removed)
	return RemovedAnswer{n}, err
}

// endWaiting ends all commands that wait for a node that was removed, also those
// that this station has not read yet, and returns how many.
func (s *Station) endWaiting(ctx context.Context, name string, gone removal) (int, error) {
	if err := s.barrier.pass(ctx); err != nil {
		return 0, err
	}
	waiting := s.ledger.messages(name)
	for _, m := range waiting {
		if err := s.callOff(ctx, m, gone); err != nil {
			return 0, err
		}
	}
	return len(waiting), nil
}

// callOff ends a command to a node that was removed. What the node answered in
// the same moment stands in the stream in the place of this, believed or not:
// either way nobody is to run the command any more.
func (s *Station) callOff(ctx context.Context, m message.Message, gone removal) error {
	text := fmt.Sprintf("%s was removed from the register by %s before it had answered", m.Subject.Node, gone.by)
	answer, err := s.sign(message.NewAnswer(m, s.cfg.Credentials.UserName(), message.Cancelled, message.Answer{Message: text, Kind: fleet.Cancelled}))
	if err != nil {
		return err
	}
	_, err = s.conn.Publish(ctx, answer)
	if errors.Is(err, bus.ErrExists) {
		err = s.recall(ctx, m)
	}
	if err != nil {
		return err
	}
	s.ledger.answered(message.Delivery{Message: answer, StoredAt: s.clock.Now()})
	return nil
}

// endRemoved ends what waits for nodes that were removed, once this station has
// heard of it: who removed them may have had no station to ask.
func (s *Station) endRemoved(ctx context.Context) error {
	for _, name := range s.ledger.awaited() {
		s.register.mu.RLock()
		r, gone := s.register.gone[name]
		s.register.mu.RUnlock()
		if !gone {
			continue
		}
		for _, m := range s.ledger.messages(name) {
			if err := s.callOff(ctx, m, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaited are the nodes that commands wait for.
func (l *ledger) awaited() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.byNode))
}

// messages are a node's commands without a final answer, in order.
func (l *ledger) messages(name string) (all []message.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.byNode[name] {
		all = append(all, c.message)
	}
	return all
}
