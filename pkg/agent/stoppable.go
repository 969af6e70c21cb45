package agent

import (
	"context"

	"fairlead/pkg/fleet"
)

// run is a command that runs and can be called off.
type run struct {
	cancel context.CancelFunc
	off    error         // why it is called off, nil while it is not; the lanes' lock holds
	over   chan struct{} // closed when it has ended
	failed bool          // it was cut off, rather than done; known when over
}

// begin lets a command that is about to run be called off, where its handler
// allows that; cancel ends its context.
func (l *lanes) begin(w *work, cancel context.CancelFunc) *run {
	if w.own || !w.handler.Stoppable {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.run = &run{cancel: cancel, over: make(chan struct{})}
	return w.run
}

// over says that a command has ended with err, and returns why it was called off,
// nil where it was not, or was done before.
func (l *lanes) over(w *work, r *run, err error) error {
	if r == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.run = nil
	r.failed = err != nil
	close(r.over)
	if err == nil {
		return nil
	}
	return r.off
}

// stoppable is the run of a command in a lane, nil where it does not run or
// cannot be called off. The lock is held.
func stoppable(in *lane, id string) *run {
	if in.running == nil || in.running.command.ID != id {
		return nil
	}
	return in.running.run
}

// end ends a command that is called off and waits for it. The error is Conflict
// where it was done before.
func (r *run) end(ctx context.Context, id string) error {
	r.cancel()
	select {
	case <-r.over:
	case <-ctx.Done():
		return fleet.Errorf(fleet.Timeout, "%s was told to end and has not yet: %w", id, ctx.Err())
	}
	if !r.failed {
		return fleet.Errorf(fleet.Conflict, "%s was done before it could be called off", id)
	}
	return nil
}
