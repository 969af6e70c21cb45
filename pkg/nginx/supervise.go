package nginx

import (
	"context"
	"time"

	"fairlead/pkg/host"
)

const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 30 * time.Second
	// healthy is how long nginx must live for its next death to be a first one.
	healthy = time.Minute
	// lookout is how often a master that others start is looked for.
	lookout = 500 * time.Millisecond
)

// supervise waits for the death of the master and brings nginx back, until ctx
// ends: at once, then after delays that double up to lastDelay.
func (e *Engine) supervise(ctx context.Context) {
	var delay time.Duration
	for ctx.Err() == nil {
		if master := e.master.Load(); master != nil {
			_ = master.Wait(ctx) // an error other than that of ctx: somebody else replaced it
			if lived(master.Started) > healthy {
				delay = 0
			}
		} else if e.cfg.Manage == External {
			delay = lookout
		}
		if !pause(ctx, delay) {
			return
		}
		delay = min(max(2*delay, firstDelay), lastDelay)
		e.revive(ctx)
	}
}

// revive brings nginx back unless somebody else did or Stop was called.
func (e *Engine) revive(ctx context.Context) {
	unlock, err := e.acquire(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if e.up() {
		return
	}
	if dead := e.master.Load(); dead != nil {
		e.log.Error("the master process of nginx ended", "pid", dead.PID, "stopped", e.stopped)
		e.setMaster(nil)
	}
	if e.stopped {
		return
	}
	if e.cfg.Manage == External {
		if master := e.find(); master != nil {
			e.setMaster(master)
			err = e.adopt(ctx, e.good)
		}
	} else if err = e.backTo(e.good); err == nil {
		err = e.startGood(ctx)
	}
	if err != nil && ctx.Err() == nil {
		e.log.Error("nginx does not serve", "error", err)
	}
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lived is the age of a process that started at a moment of the boot clock.
func lived(started time.Duration) time.Duration { return host.BootClock() - started }
