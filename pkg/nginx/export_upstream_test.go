package nginx

import "time"

// ResolveNow has the engine ask for the names of its upstreams now.
func (e *Engine) ResolveNow() {
	select {
	case e.care.again <- struct{}{}:
	default:
	}
}

// Budget is the pace of reloads: how long each of them would wait when they
// come at these times after the first.
func Budget(at ...time.Duration) []time.Duration {
	start := time.Now()
	b := budget{tokens: reloadsInARow, at: start}
	var waits []time.Duration
	for _, d := range at {
		w := b.wait(start.Add(d))
		waits = append(waits, w.Round(time.Millisecond))
		b.spend(start.Add(d + w))
	}
	return waits
}
