package nginx

import "context"

// tidy has versions removed that nothing refers to. It does not wait: removing
// a thousand files takes 15 to 250 ms, and nobody who applies needs that.
func (e *Engine) tidy() {
	select {
	case e.untidy <- struct{}{}:
	default:
	}
}

// clean removes them until ctx ends.
func (e *Engine) clean(ctx context.Context) {
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
