package nginx

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 30 * time.Second
	// healthy is how long nginx must live for its next death to be a first one.
	healthy = time.Minute
	// lookout is how often a master that others start is looked for.
	lookout     = 500 * time.Millisecond
	lastLookout = 4 * time.Second
)

// supervise brings nginx back when it dies, until ctx ends: at once, then
// after delays that double up to lastDelay. While it lives it is looked at.
func (e *Engine) supervise(ctx context.Context) {
	var delay, look time.Duration // before the next start; between looks for what others start
	w := watch{engine: e}
	for ctx.Err() == nil {
		master := e.master.Load()
		if master != nil {
			w.until(ctx, master)
			if lived(master.Started) > healthy {
				delay = 0
			}
			look = 0
		}
		wait := delay
		if master == nil && !e.starts() {
			look = min(max(2*look, lookout), lastLookout)
			wait = look
		} else {
			delay = min(max(2*delay, firstDelay), lastDelay)
		}
		if !pause(ctx, wait) {
			return
		}
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
		what := death(dead)
		e.setMaster(nil)
		if e.stopped {
			return
		}
		e.log.Error("nginx died", "what", what)
		e.trouble.begin(what)
	}
	if e.stopped {
		return
	}
	if t := e.trial.Load(); t != nil && e.starts() && e.startTrial(ctx, t) {
		return
	}
	if err := e.bringBack(ctx); err != nil && ctx.Err() == nil {
		e.stillDown(err)
		if e.trouble.news(err) {
			e.log.Error("nginx does not serve", "error", err)
		}
	}
}

// bringBack has nginx run again, by whoever starts it.
func (e *Engine) bringBack(ctx context.Context) error {
	if e.starts() {
		return e.startBest(ctx)
	}
	if e.cfg.Manage == Systemd {
		e.awaitUnit(ctx)
	}
	if found, err := e.takeOver(ctx); found || e.cfg.Manage == External {
		return err
	}
	if f := e.notOurs(ctx); f != nil {
		return fleet.Errorf(f.kind, "%s", f.text)
	}
	return e.startBest(ctx)
}

// starts says whether nginx is a child of this engine.
func (e *Engine) starts() bool { return e.cfg.Manage == Child }

// takeOver adopts a master that others have started, where there is one.
func (e *Engine) takeOver(ctx context.Context) (found bool, err error) {
	master := e.find()
	if master == nil {
		return false, nil
	}
	e.setMaster(master)
	e.ended = false
	if err := e.adopt(ctx, e.good); err != nil {
		return true, err
	}
	e.recovered("somebody started it again")
	return true, nil
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
