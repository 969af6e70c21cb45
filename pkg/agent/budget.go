package agent

import (
	"sync"
	"time"

	"fairlead/pkg/host"
)

// Bounds of what a budget does.
const (
	// leastBudget is the least of bytes a second: a heartbeat and an answer have
	// hundreds.
	leastBudget = 1000
	// atOnce is how many bytes may pass at once after a pause, and at the
	// beginning of each connection, which would not end its handshakes in time
	// otherwise: they have about 8 KiB.
	atOnce = 16 << 10
	// mostWait is how long a single read or write waits, so that heartbeats, and
	// the broker's questions whether the agent lives, get through behind a lot.
	mostWait = 2 * time.Second
	// mostDebt is for how long what passed too much is paid for; what is beyond
	// is forgiven, or a link would be slow for hours after one large file.
	mostDebt = time.Minute
)

// budget is how many bytes may pass the link in time, both ways together. It delays
// and drops nothing. Nil is no bound.
type budget struct {
	rate  float64 // bytes a second
	now   func() time.Duration
	sleep func(time.Duration)

	mu    sync.Mutex
	spare float64 // bytes that may pass as of at; below 0 that passed too early
	at    time.Duration
}

// newBudget is nil for a rate of 0.
func newBudget(rate int64) *budget {
	if rate == 0 {
		return nil
	}
	return &budget{rate: float64(rate), now: host.BootClock, sleep: time.Sleep}
}

// begin lets the first bytes of a connection pass.
func (b *budget) begin() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare, b.at = atOnce, b.now()
}

// most is how many bytes are read at a time at most: what mostWait gives.
func (b *budget) most(n int) int {
	if b == nil {
		return n
	}
	return min(n, int(b.rate*mostWait.Seconds()))
}

// pass waits until so many bytes may pass, but not longer than mostWait: then they
// pass all the same, and the next ones wait for them.
func (b *budget) pass(bytes int) {
	if b == nil || bytes == 0 {
		return
	}
	if wait := b.take(bytes); wait > 0 {
		b.sleep(wait)
	}
}

func (b *budget) take(bytes int) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.spare = min(b.spare+b.rate*(now-b.at).Seconds(), atOnce) - float64(bytes)
	b.spare, b.at = max(b.spare, -b.rate*mostDebt.Seconds()), now
	return min(time.Duration(max(-b.spare, 0)/b.rate*float64(time.Second)), mostWait)
}
