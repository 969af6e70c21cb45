package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
)

var noResult handlers.Result

// runningAfter is how long a command runs before its sender is told so.
const runningAfter = time.Second

// execute runs one command to its end. It returns when the outcome is on its
// way to the journal, so that outcomes of quick commands share a transaction;
// the lanes know the command until the journal does.
func (a *Agent) execute(ctx context.Context, w *work) {
	if err := w.command.Unpack(); err != nil { // which worked when it was admitted
		a.finish(w, noResult, err, 0)
		return
	}
	command := handlers.Command[json.RawMessage]{
		ID: w.command.ID, Subject: w.command.Subject, From: w.command.From, Body: w.command.Body, Expires: w.command.Expires, Received: w.received,
		Signed: func() message.Enclosed { return message.Enclose(w.command) },
	}
	if !w.own {
		if now := a.clock.Now(); !now.Before(w.command.Expires) {
			a.finish(w, noResult, fleet.Errorf(fleet.Expired, "its time ran out at %s while it waited in the node's queue", w.command.Expires.UTC().Format(time.RFC3339)), 0)
			return
		}
		// Whoever sent it may have lost that right while it waited.
		owner, err := message.MaySend(w.command, a.trust.Find)
		if err != nil {
			a.finish(w, noResult, err, 0)
			return
		}
		command.Role = owner.Role
		if ended := a.begin(w, &command); ended {
			return
		}
	}
	rctx, cancel := context.WithTimeout(ctx, w.handler.Timeout)
	defer cancel()
	r := a.lanes.begin(w, cancel)
	tell := time.AfterFunc(runningAfter, func() {
		if !w.own {
			a.outbox.notes.running(w.command)
		}
	})
	begun := time.Now()
	result, err := a.call(rctx, w.handler, command)
	tell.Stop()
	took := time.Since(begun)
	off := a.lanes.over(w, r, err)
	a.cfg.Checkpoint(PointDone)
	var later handlers.Later
	switch {
	case off != nil:
		err = off
	case errors.As(err, &later) && !w.own && ctx.Err() == nil:
		a.log.Info("a command waits", "id", w.command.ID, "for", err)
		a.lanes.park(w)
		return
	case err != nil && ctx.Err() != nil && !w.handler.Once && !a.leaving.Load():
		// Cut off by the end of the agent; it comes again at the next start, unless
		// the node has another name then.
		a.log.Warn("command cut off, it will run again", "id", w.command.ID, "error", err)
		a.lanes.forget(w)
		return
	case err != nil && ctx.Err() != nil:
		err = fleet.Errorf(fleet.Interrupted, "the agent stopped while the command ran; it may have taken effect in part and is not run again")
	case err != nil && rctx.Err() != nil:
		err = fleet.Errorf(fleet.Timeout, "not ended within %s: %w", w.handler.Timeout, err)
	}
	a.finish(w, result, err, took)
	if w.handler.Method == handlers.MethodReload && a.state != nil {
		a.state.changed() // what was pardoned is tried now
	}
}

// begin journals the start where the handler wants that, and finds out whether
// an earlier run was cut off. It reports true when the command is ended by it.
func (a *Agent) begin(w *work, command *handlers.Command[json.RawMessage]) bool {
	if !w.handler.Durable {
		return false
	}
	earlier, found, err := a.journal.Lookup(journalID(w.command))
	if err != nil {
		a.finish(w, noResult, fleet.Errorf(fleet.Internal, "read the journal: %w", err), 0)
		return true
	}
	if found && w.handler.Once {
		a.finish(w, noResult, fleet.Errorf(fleet.Interrupted,
			"the agent ended while the command ran; it may have taken effect in part and is not run again"), 0)
		return true
	}
	if found && earlier.BootID == a.bootID {
		command.Resumed, command.Started = true, earlier.StartedBoot
		return false
	}
	err = a.journal.Start(journal.Entry{
		ID: journalID(w.command), Sequence: w.sequence, Subject: w.command.Subject.String(), State: "started",
		StartedBoot: host.BootClock(), BootID: a.bootID, At: time.Now(), Forget: w.forget,
	})
	if err != nil {
		a.finish(w, noResult, fleet.Errorf(fleet.Internal, "write the journal: %w", err), 0)
		return true
	}
	a.cfg.Checkpoint(PointStarted)
	return false
}

// call runs the handler; a panic is an internal error.
func (a *Agent) call(ctx context.Context, h handlers.Handler, c handlers.Command[json.RawMessage]) (r handlers.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("a handler panicked", "method", h.Method, "id", c.ID, "panic", p, "stack", string(debug.Stack()))
			err = fleet.Errorf(fleet.Internal, "the handler of %s panicked: %s", h.Method, fmt.Sprint(p))
		}
	}()
	return h.Handle(ctx, a.node, c)
}
