package nginx

import (
	"sync"
	"time"
)

// Workers that signals end are started again by nginx itself. That many within
// a window are told of, and then no more for a while: nginx serves, but
// requests are lost each time.
const (
	crashLoop   = 3
	crashWindow = time.Minute
	crashQuiet  = 10 * time.Minute
)

// crashes counts workers that were ended by a signal.
type crashes struct {
	mu    sync.Mutex
	last  []time.Time // within the window
	quiet time.Time   // until then nothing is told
}

// note counts one; the answer is how many there were within the window when
// that is to be told, else 0.
func (c *crashes) note(now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.last) > 0 && now.Sub(c.last[0]) > crashWindow {
		c.last = c.last[1:]
	}
	if len(c.last) < 1000 {
		c.last = append(c.last, now)
	}
	if len(c.last) < crashLoop || now.Before(c.quiet) {
		return 0
	}
	c.quiet = now.Add(crashQuiet)
	return len(c.last)
}

// workerCrashed is told by the control log.
func (e *Engine) workerCrashed(text string) {
	if n := e.crashes.note(time.Now()); n > 0 {
		e.tell(EventCrashing, "%d workers of nginx were ended by signals within %v, the last one so: %s", n, crashWindow, text)
	}
}
