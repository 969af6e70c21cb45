package agent

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
)

// outbox carries answers and events from the journal to the broker, in order,
// each created there once, and notes between them.
type outbox struct {
	agent *Agent
	notes *notes
	wakes chan struct{}

	mu   sync.Mutex
	hot  map[string]outgoing // events that this process put into the journal, by id: no need to decode them again
	send []message.Message   // answers that were sent before
}

func newOutbox(a *Agent) *outbox {
	o := &outbox{agent: a, wakes: make(chan struct{}, 1), hot: make(map[string]outgoing)}
	o.notes = newNotes(o.wake)
	return o
}

func (o *outbox) wake() {
	select {
	case o.wakes <- struct{}{}:
	default:
	}
}

// again sends a final answer that was sent before; the broker keeps the first.
func (o *outbox) again(answer message.Message) {
	o.mu.Lock()
	o.send = append(o.send, answer)
	o.mu.Unlock()
	o.wake()
}

// hotMost bounds what is kept decoded; without a link the outbox may grow long.
const hotMost = 1024

// keep remembers an event that is about to be put into the journal.
func (o *outbox) keep(id string, out outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.hot) < hotMost {
		o.hot[id] = out
	}
}

func (o *outbox) decode(q journal.Queued, into *outgoing) error {
	o.mu.Lock()
	out, ok := o.hot[q.ID]
	delete(o.hot, q.ID)
	o.mu.Unlock()
	if ok {
		*into = out
		return nil
	}
	return json.Unmarshal(q.Data, into)
}

// outgoing is an event as the outbox keeps it.
type outgoing struct {
	message.Stored
	Expires time.Time `json:"expires"` // of the command that it answers
}

type underWay struct {
	position uint64
	out      outgoing
	pending  *bus.Pending // nil for one that cannot be read
}

// outboxPage is how many events are under way at once.
const outboxPage = 128

// publishTime bounds the wait for one page's acknowledgements.
const publishTime = 10 * time.Second

func (o *outbox) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.wakes:
		case <-o.agent.journal.Wake():
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-o.agent.link.connected():
			}
			more, err := o.empty(ctx)
			if err != nil && ctx.Err() == nil {
				o.agent.log.Info("the outbox waits", "error", err)
				pause(ctx, firstRetry)
				continue
			}
			if !more {
				break
			}
		}
	}
}

// empty sends the notes and one page of the journal's outbox.
func (o *outbox) empty(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	o.sendNotes()
	page, err := o.agent.journal.Outbox(outboxPage)
	if err != nil || len(page) == 0 {
		return false, err
	}
	var under []underWay
	var unsent error // it and all behind it wait
	for _, q := range page {
		u := underWay{position: q.Position}
		if err := o.decode(q, &u.out); err != nil {
			o.agent.log.Error("an event in the outbox cannot be read and is dropped", "id", q.ID, "error", err)
		} else if u.pending, unsent = o.agent.conn.PublishAsync(message.Receive(u.out.Stored).Message); unsent != nil {
			break
		}
		under = append(under, u)
	}
	var sent []uint64
	for _, u := range under {
		if u.pending != nil {
			_, err = u.pending.Wait(ctx)
			if errors.Is(err, bus.ErrExists) {
				err = nil
				o.late(u.out)
			}
			if err != nil {
				break
			}
		}
		sent = append(sent, u.position)
	}
	if len(sent) > 0 {
		o.agent.cfg.Checkpoint(PointPublished)
		if serr := o.agent.journal.Sent(sent...); serr != nil {
			return false, serr
		}
		o.agent.cfg.Checkpoint(PointSettled)
	}
	return len(page) == outboxPage || o.agent.journal.OutboxLen() > 0, errors.Join(err, unsent)
}

// sendNotes sends what is not in the journal. It comes before the page that is
// read after it, so a note that a command was accepted precedes its end.
func (o *outbox) sendNotes() {
	o.mu.Lock()
	all := o.send
	o.send = nil
	o.mu.Unlock()
	o.notes.take(func(command message.Message, s message.State) {
		all = append(all, o.agent.answer(command, s, noResult, nil, 0))
	})
	for _, m := range all {
		if _, err := o.agent.conn.PublishAsync(m); err != nil {
			o.agent.log.Debug("a note was not sent", "id", m.ID, "error", err)
		}
	}
}

// late tells an outcome for which the broker has an end already. That is
// mostly this very answer, sent before a crash; but when the command's time is
// over a station may have ended it as expired, and then the truth is added.
func (o *outbox) late(out outgoing) {
	answer := message.Receive(out.Stored).Message
	if !answer.State.Final() || answer.State == message.Expired || out.Expires.IsZero() || o.agent.clock.Now().Before(out.Expires) {
		return
	}
	body, err := answer.ReadAnswer()
	if err != nil {
		o.agent.log.Error("an answer cannot be read", "id", answer.ID, "error", err)
		return
	}
	body.Ended = answer.State
	node := answer.Subject.Node
	m := message.Message{Subject: answer.Subject, ID: message.AnswerID(answer.Command, answer.AnsweredDomain(), message.Late), From: node,
		Command: answer.Command, State: message.Late}
	if m.Body, err = json.Marshal(body); err == nil {
		var e journal.Event
		if e, err = o.agent.outgoing(m); err == nil {
			err = o.agent.journal.Enqueue(e)
		}
	}
	if err != nil {
		o.agent.log.Error("a late outcome cannot be told", "id", answer.ID, "error", err)
	}
}

// flush waits until the journal's outbox is empty, for at most limit.
func (o *outbox) flush(limit time.Duration) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for o.agent.journal.OutboxLen() > 0 && o.agent.link.stands() {
		o.wake()
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}
