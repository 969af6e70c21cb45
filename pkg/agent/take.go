package agent

import (
	"encoding/json"
	"errors"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// work is one command on its way through a lane. A work without a command is
// the agent's own convergence: it has no answer.
type work struct {
	command  message.Message
	sequence uint64
	forget   time.Time
	handler  handlers.Handler
	received time.Duration // boot clock
	own      bool

	run *run // while it runs and can be called off; the lanes' lock holds
}

// take verifies commands and gives them to their lanes. They come in the order
// of the stream, and none of a batch begins before all of it is queued, so
// that the older ones can be superseded and cancelled ones do not run.
func (a *Agent) take(batch []message.Delivery) {
	var queued []*work
	for _, d := range batch {
		if w := a.admit(d); w != nil {
			a.cfg.Checkpoint(PointReceived)
			queued = append(queued, w)
		}
	}
	if len(queued) == 0 {
		return
	}
	a.lanes.add(queued)
}

// admit decides about one command: nil when it is known or was refused.
func (a *Agent) admit(d message.Delivery) *work {
	m := d.Message
	if d.Sequence == 0 || m.Subject.Direction != subjects.Command {
		a.log.Warn("ignored what is not a stored command", "subject", m.Subject.String())
		return nil
	}
	if m.Subject.Node != a.cfg.Name {
		// Its answer would be another node's to give: the broker would not take
		// it, and the outbox would wait for that for ever.
		a.log.Error("ignored a command that is another node's", "subject", m.Subject.String(), "id", m.ID)
		return nil
	}
	if a.lanes.holds(m) {
		return nil
	}
	if known, answer := a.known(m); known {
		if answer != nil {
			a.outbox.again(*answer)
		}
		return nil
	}
	w := &work{command: m, sequence: d.Sequence, received: host.BootClock(), forget: forgetAt(m, d.StoredAt)}
	handler, err := a.verify(d)
	if err == nil && a.lanes.full() {
		err = fleet.Errorf(fleet.Busy, "%d commands wait on %s, and that is the limit: send it again later", a.cfg.Waiting, a.cfg.Name)
	}
	if err != nil {
		a.finish(w, handlers.Result{}, err, 0)
		return nil
	}
	w.handler = handler
	return w
}

// verify decides whether the command may run.
func (a *Agent) verify(d message.Delivery) (handlers.Handler, error) {
	m := d.Message // what waits in a lane stays packed
	if d.Fault != nil && (m.Signature != "" || m.Subject.Salvaged()) {
		return handlers.Handler{}, fleet.Errorf(fleet.Invalid, "malformed message: %w", d.Fault)
	}
	owner, err := message.VerifyCommand(&m, a.cfg.Name, a.trust.Find, a.clock.Now())
	if err != nil {
		return handlers.Handler{}, err
	}
	handler, err := a.cfg.Registry.Find(m.Subject.Method)
	if err != nil {
		return handler, err
	}
	if err := handler.Takes(m.Subject.Domain); err != nil {
		return handler, err
	}
	if !handler.Allows(owner.Role) {
		return handler, fleet.Errorf(fleet.Refused, "%s is %s, and %s takes at least %s", owner.Name, owner.Role, m.Subject.Method, handler.Role)
	}
	return handler, nil
}

// known reports whether the command has its final answer already, and which.
func (a *Agent) known(m message.Message) (bool, *message.Message) {
	entry, found, err := a.journal.Lookup(journalID(m))
	if err != nil {
		a.log.Error("the journal cannot be read", "error", err)
		return false, nil
	}
	if !found || !message.State(entry.State).Final() {
		return false, nil
	}
	answer := message.Message{Subject: m.Subject.Answer(), ID: message.AnswerID(m.ID, m.Subject.Domain, message.State(entry.State)),
		From: a.cfg.Name, Command: m.ID, State: message.State(entry.State), Trace: m.Trace, Body: entry.Answer}
	if err := answer.Sign(a.signer()); err != nil {
		a.log.Error("an answer cannot be signed", "id", m.ID, "error", err)
		return true, nil
	}
	return true, &answer
}

// journalID names a command in the journal: an id alone could be borrowed by
// another method.
func journalID(m message.Message) string {
	return m.Subject.Method + "." + m.Subject.Domain + "." + m.ID
}

// forgetAt is when the journal may drop the command: the mailbox cannot bring
// it any more.
func forgetAt(m message.Message, stored time.Time) time.Time {
	if !m.Expires.IsZero() { // which its sender signed, while the broker says when it was stored
		return m.Expires.Add(time.Hour)
	}
	return stored.Add(subjects.MaxCommandAge)
}

// pruneMost bounds what one prune may take from the journal's time.
const pruneMost = 1000

// prune lets the journal forget commands that can come no more, by the broker's
// clock and by the host's: whoever sets one of them ahead has nothing run twice.
func (a *Agent) prune() {
	if now := a.clock.Now(); !now.IsZero() {
		if local := time.Now(); local.Before(now) {
			now = local
		}
		if _, err := a.journal.Prune(now, pruneMost); err != nil {
			a.log.Warn("the journal cannot be pruned", "error", err)
		}
	}
}

// finish journals the outcome of a command together with its answer. Once that
// is on disk the command is answered, whatever happens to the process.
func (a *Agent) finish(w *work, result handlers.Result, failure error, took time.Duration) {
	if w.own {
		if failure != nil {
			a.log.Warn("convergence failed", "error", failure)
		}
		return
	}
	settled := message.Settle(failure)
	answer := a.answer(w.command, settled.State, result, failure, took)
	out := outgoing{message.Stored{Subject: answer.StoredSubject(), Headers: answer.Headers(), Body: answer.Wire()}, w.command.Expires}
	data, err := json.Marshal(out)
	if err != nil {
		a.log.Error("an answer cannot be encoded", "id", w.command.ID, "error", err)
		a.lanes.forget(w)
		return
	}
	a.outbox.keep(answer.ID, out)
	a.journal.FinishThen(journal.Entry{
		ID: journalID(w.command), Sequence: w.sequence, Subject: w.command.Subject.String(), State: string(answer.State),
		At: time.Now(), Forget: w.forget, Answer: answer.Body,
	}, func(err error) {
		a.lanes.forget(w)
		if err != nil {
			// Nothing was kept: the command stays in the mailbox and comes again.
			a.log.Error("the journal cannot be written: the command will come again", "id", w.command.ID, "error", err)
			return
		}
		a.cfg.Checkpoint(PointFinished)
		a.toldEnd(w, answer)
		a.log.Info("command ended", "id", w.command.ID, "subject", w.command.Subject.String(), "from", w.command.From,
			"state", answer.State, "took", took)
	}, journal.Event{ID: answer.ID, Subject: out.Subject, Data: data})
}

// answer makes the signed answer to a command.
func (a *Agent) answer(command message.Message, s message.State, result handlers.Result, failure error, took time.Duration) message.Message {
	body := message.Answer{Message: result.Message, Changed: result.Changed, Took: message.Milliseconds(took)}
	if s.Final() {
		if at, untold := a.outbox.notes.end(command); untold && !at.IsZero() {
			body.AcceptedAt = &at
		}
	}
	if result.Data != nil {
		data, err := json.Marshal(result.Data)
		if err != nil {
			s, failure = message.FailedEnd, fleet.Errorf(fleet.Internal, "the result is not JSON: %w", err)
		}
		body.Result = data
	}
	if failure != nil {
		body.Message, body.Kind, body.Result = failure.Error(), fleet.KindOf(failure), handlers.DataOf(failure)
	}
	var by replacedBy
	if errors.As(failure, &by) {
		body.By = by.id
	}
	m := message.NewAnswer(command, a.cfg.Name, s, body)
	if len(m.Body) > message.MaxBody {
		body.Result = nil
		body.Message = truncate(body.Message, message.MaxBody/4) + " (the result was larger than an answer may be and is left out)"
		m = message.NewAnswer(command, a.cfg.Name, s, body)
	}
	if err := m.Sign(a.signer()); err != nil {
		a.log.Error("an answer cannot be signed", "id", command.ID, "error", err)
	}
	return m
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// replacedBy is an end that another command caused.
type replacedBy struct {
	error
	id string
}

func (e replacedBy) Unwrap() error { return e.error }
