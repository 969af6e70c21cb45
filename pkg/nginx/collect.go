package nginx

import "context"

// collectLater has versions removed that nothing refers to. It does not wait: removing
// a thousand files takes 15 to 250 ms, and nobody who applies needs that.
func (e *Engine) collectLater() {
	select {
	case e.untidy <- struct{}{}:
	default:
	}
}

// collects removes them until ctx ends.
func (e *Engine) collects(ctx context.Context) {
	for {
		select {
		case <-e.untidy:
		case <-ctx.Done():
			return
		}
		unlock, err := e.acquire(ctx)
		if err != nil {
			return
		}
		if err := e.store.collect(e.cfg.KeepVersions); err != nil {
			e.log.Warn("old versions of nginx's configuration stay", "error", err)
		}
		if err := e.collectCaches(); err != nil {
			e.log.Warn("old caches of nginx stay", "error", err)
		}
		unlock()
	}
}
