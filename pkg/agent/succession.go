package agent

import (
	"context"
	"fmt"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Succession keeps what a node is to become that gets another name; package
// identity has one.
type Succession interface {
	// SuccessorKey signs with the key for the name, the same until the node has it.
	SuccessorKey(name string) (message.Signer, error)
	// KeepSuccessor checks and keeps JWTs for that key, and the command by which the
	// node gets the name; until is the end of the first. The error is Refused for those
	// that are not that node's.
	KeepSuccessor(name, node, renew string, issuers []string, command message.Enclosed) (until time.Time, err error)
	// Successor is the name that is kept, and by which command; "" for none.
	Successor() (name string, command message.Enclosed, err error)
	// Succeed puts it into the place of the node, on disk; DropSuccessor forgets it.
	Succeed() error
	DropSuccessor() error
}

// Anew is why Run ended although nobody told it to: an agent is to be made anew,
// of the identity that lies on the node's disk now.
type Anew struct{ Was, Name string }

// Error is for people.
func (e *Anew) Error() string {
	if e.Was == e.Name {
		return "the agent of " + e.Was + " is to be made anew"
	}
	return fmt.Sprintf("%s is %s from now on: its agent is to be made anew", e.Was, e.Name)
}

// The points that Checkpoint is told of a node that gets another name, in order.
const (
	PointEntered = "entered" // the register has the node under its new name, the disk does not
	PointKept    = "kept"    // what it needs to be that node is on its disk, and the command has no end
	PointLeft    = "left"    // all is said under the old name
	PointBecame  = "became"  // the disk says that it is that node
)

// Rename implements handlers.Identity.
func (r *renewer) Rename(ctx context.Context, to string, command message.Enclosed) (key string, until time.Time, err error) {
	s := r.agent.cfg.Succession
	if s == nil {
		return "", until, fleet.Errorf(fleet.Failed, "this node's credentials are not of the kind that another name can be given to: have it join with a token, under the new name")
	}
	other, _, err := s.Successor()
	if err != nil {
		return "", until, err
	}
	if other != "" && other != to {
		return "", until, fleet.Errorf(fleet.Conflict, "the node is about to become %s", other)
	}
	for {
		key, until, err = r.enter(ctx, s, to, command)
		k := fleet.KindOf(err)
		switch {
		case err == nil:
			r.agent.cfg.Checkpoint(PointKept)
			return key, until, nil
		case ctx.Err() != nil: // the agent ends, perhaps since the node is to become that one
			return key, until, err
		case k == fleet.Unavailable || k == fleet.Timeout: // the register may have it: who asks again has the same key
			pause(ctx, firstRetry)
		default:
			r.agent.stay()
			return key, until, err
		}
	}
}

// enter asks a station to make the node the one of another name, and keeps what
// it gives for it.
func (r *renewer) enter(ctx context.Context, s Succession, to string, command message.Enclosed) (key string, until time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := s.SuccessorKey(to)
	if err != nil {
		return "", until, err
	}
	name := r.agent.cfg.Name
	q := message.RenewRequest{Key: next.PublicKey(), Rename: &message.Rename{To: to, Command: command}}
	if q.Proof, err = message.ProveHeld(message.ToRename, name, to, next); err != nil {
		return "", until, err
	}
	reply, err := r.ask(ctx, r.agent.conn, q)
	if err != nil {
		return "", until, err
	}
	r.agent.cfg.Checkpoint(PointEntered)
	until, err = s.KeepSuccessor(to, reply.Node, reply.Renew, r.agent.trust.Current().Issuers, command)
	return q.Key, until, err
}

// Pauses of a node that is to become another.
const (
	successionLook = 200 * time.Millisecond // between looks whether all is said, and between attempts
	lastLogs       = 30 * time.Second       // how long logs may take that wait to be sent under the old name
	lastWords      = 10 * time.Second       // and what comes while the agent ends
)

// succession waits until the node is to become another, and all is said that the
// command is about; then it has Run end.
func (a *Agent) succession(ctx context.Context) error {
	for {
		to, command, err := a.cfg.Succession.Successor()
		if err != nil {
			a.log.Error("it cannot be read whether this node is to become another", "error", err)
		}
		if err != nil || to == "" {
			select {
			case <-a.succeeds:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		select {
		case <-a.link.connected():
		case <-ctx.Done():
			return nil
		}
		// What cannot be sent, for whatever reason, is not left behind: then the node stays.
		if a.mayLeave(to, command) && a.journal.OutboxLen() == 0 && a.confirmed(ctx, to, command) {
			a.sendLogs(ctx, lastLogs)
			select {
			case a.leaves <- to:
			case <-ctx.Done():
			}
			return nil
		}
		pause(ctx, successionLook)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// mayLeave reports whether the command by which the node becomes another has its
// end: its answer is in the journal, or its time is over, so that no answer counts.
func (a *Agent) mayLeave(to string, command message.Enclosed) bool {
	m, err := command.Message(subjects.Subject{Node: a.cfg.Name, Direction: subjects.Command, Method: handlers.MethodRename, Domain: message.LifecycleDomain})
	if err != nil {
		a.log.Error("the command by which this node was to become another cannot be read: it stays what it is", "to", to, "error", err)
		a.stay()
		return false
	}
	if known, _ := a.known(m); known {
		return true
	}
	now := a.clock.Now()
	return !now.IsZero() && !now.Before(m.Expires.Add(a.cfg.Grace))
}

// confirmed asks once more, since the agent may have been away in between: who was
// taken out of the register under the new name would be nobody as that node.
func (a *Agent) confirmed(ctx context.Context, to string, command message.Enclosed) bool {
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	_, _, err := a.renewer.enter(ctx, a.cfg.Succession, to, command)
	switch fleet.KindOf(err) {
	case "":
		return true
	case fleet.Refused, fleet.Conflict, fleet.Expired, fleet.Invalid:
		a.log.Error("this node was to become another and may not any more: it stays what it is", "to", to, "error", err)
		a.stay()
	default:
		a.log.Warn("this node is to become another, and no station answers", "to", to, "error", err)
	}
	return false
}

func (a *Agent) stay() {
	if err := a.cfg.Succession.DropSuccessor(); err != nil {
		a.log.Error("this node stays what it is, and will ask again", "error", err)
	}
}

// sendLogs sends the logs that wait on disk, for a while: beside the service that
// does so, or after its end.
func (a *Agent) sendLogs(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := handlers.DrainSpool(ctx, a.node); err != nil {
		batches, bytes := a.journal.SpoolLen()
		a.log.Warn("logs that wait are not sent before the node becomes another", "batches", batches, "bytes", bytes, "error", err)
	}
}

// succeed puts the node of the new name into the place of this one, once nothing is
// left to be said as this one. Where something is, an agent made anew says it and
// tries again. Logs that do not leave in time are told as lost by the next agent.
func (a *Agent) succeed(to string) error {
	anew := &Anew{Was: a.cfg.Name, Name: a.cfg.Name}
	if err := a.journal.Settle(); err != nil {
		a.log.Error("this node does not become another yet: its journal cannot be written", "to", to, "error", err)
		return anew
	}
	if waits := a.journal.OutboxLen(); waits > 0 {
		a.log.Warn("this node does not become another yet: answers wait that are to be sent before", "to", to, "waiting", waits)
		return anew
	}
	a.cfg.Checkpoint(PointLeft)
	if err := a.cfg.Succession.Succeed(); err != nil {
		a.log.Error("this node does not become another yet", "to", to, "error", err)
		return anew
	}
	a.cfg.Checkpoint(PointBecame)
	a.log.Info("this node is another from now on", "name", to)
	anew.Name = to
	return anew
}

// belong makes the journal this node's. What another left there that was this host
// before is told as lost.
func (a *Agent) belong() error {
	return a.journal.Belong(a.cfg.Name, func(left journal.Left) []journal.Event {
		a.log.Info("the journal was another node's and begins anew", "was", left.Owner)
		if left.Events == 0 && left.Batches == 0 {
			return nil
		}
		e, err := a.lifecycle(message.LifecycleDropped, fmt.Sprintf("this host was %s before; what it had not sent under that name is lost: %d answers and events, %d log records in %d batches (%d bytes)",
			left.Owner, left.Events, left.Records, left.Batches, left.Bytes))
		if err != nil {
			a.log.Error("what the host lost with its former name cannot be told", "error", err)
			return nil
		}
		return []journal.Event{e}
	})
}

// toldEnd takes note that a command has its final answer on disk.
func (a *Agent) toldEnd(w *work, answer message.Message) {
	if w.handler.Method == handlers.MethodRename && answer.State == message.Succeeded {
		select {
		case a.succeeds <- struct{}{}:
		default:
		}
	}
}
