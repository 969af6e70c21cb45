package bus

import (
	"sync"
	"time"

	"fairlead/pkg/host"
)

// Clock is the broker's clock as one of its clients knows it: the latest moment that
// the broker told, and what the host's monotonic clock counted since. It can
// run behind by the time a message travels, never ahead of the broker, and the
// host's wall clock has no part in it.
type Clock struct {
	mu     sync.Mutex
	anchor time.Time     // zero: nothing was told yet
	boot   time.Duration // boot clock at anchor
}

// Observe takes a moment that the broker stamped.
func (c *Clock) Observe(at time.Time) {
	now := host.BootClock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.anchor.Add(now - c.boot)) {
		c.anchor, c.boot = at, now
	}
}

// Now is the least that the broker's clock can show; zero before anything was told.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.anchor.IsZero() {
		return time.Time{}
	}
	return c.anchor.Add(host.BootClock() - c.boot)
}
