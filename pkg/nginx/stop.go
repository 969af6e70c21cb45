package nginx

import (
	"context"
	"syscall"
	"time"
)

// stopGrace is how long open connections may go on after Stop; a context that
// ends earlier shortens it.
const stopGrace = 5 * time.Second

// Stop ends the nginx that the engine manages: gracefully first, then with
// TERM, then with KILL, and starts it no more. It does nothing to an nginx that
// others manage. The error is that of waiting for an apply under way.
func (e *Engine) Stop(ctx context.Context) error {
	unlock, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	e.stopped = true
	if !e.starts() || e.master.Load() == nil {
		return nil
	}
	e.end(ctx, stopGrace)
	e.log.Info("nginx stopped")
	return nil
}

// end ends the master and everything that it leaves behind.
func (e *Engine) end(ctx context.Context, grace time.Duration) {
	if e.master.Load() == nil {
		return
	}
	e.endMaster(ctx, grace)
	e.setMaster(nil)
	e.endOrphans(context.WithoutCancel(ctx))
}

// endMaster ends the master alone: with QUIT where there is time, with TERM,
// with KILL.
func (e *Engine) endMaster(ctx context.Context, grace time.Duration) {
	master := e.master.Load()
	if master == nil {
		return
	}
	if deadline, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(deadline)/2)
	}
	e.ended = true
	base := context.WithoutCancel(ctx)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGQUIT, grace}, {syscall.SIGTERM, 2 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if step.wait <= 0 {
			continue
		}
		if err := master.Signal(step.signal); err != nil {
			break // it has ended
		}
		limit, cancel := context.WithTimeout(base, step.wait)
		err := master.Wait(limit)
		cancel()
		if err == nil {
			break
		}
	}
}
