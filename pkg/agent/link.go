package agent

import (
	"math/rand/v2"
	"sync"
	"time"
)

// link tells whether the broker can be reached, to whoever waits for it. What can
// wait is let go some time after that, so that a fleet which comes back at once does
// not send all it has in one moment.
type link struct {
	mu   sync.Mutex
	is   chan struct{} // closed while the link stands
	on   bool
	at   time.Time     // since when
	easy chan struct{} // closed while what can wait may go
	free time.Time     // when it is, or was, let go; zero as long as nobody has said
	late *time.Timer   // lets it go
}

// settleMost is when what can wait goes although no sync has worked.
const settleMost = 30 * time.Second

func newLink() *link { return &link{is: make(chan struct{}), easy: make(chan struct{})} }

func (l *link) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		l.on, l.at = true, time.Now()
		close(l.is)
		l.letGo(settleMost + rand.N(settleMost))
	}
}

func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.on = false
		l.is = make(chan struct{})
		l.late.Stop()
		l.easy, l.free = make(chan struct{}), time.Time{}
	}
}

// calm says, after a sync, over how long the nodes that came back are to spread; the
// first of a connection counts.
func (l *link) calm(over time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on || !l.free.IsZero() {
		return
	}
	wait := rand.N(over + 1)
	l.free = time.Now().Add(wait)
	l.late.Stop()
	l.letGo(wait)
}

// letGo lets what can wait go after a time. The lock is held.
func (l *link) letGo(after time.Duration) {
	easy := l.easy
	l.late = time.AfterFunc(after, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-easy:
		default:
			close(easy)
		}
	})
}

// connected is closed when the link stands next.
func (l *link) connected() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is
}

// settled is closed when what can wait may go next.
func (l *link) settled() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.easy
}

// age is how long the link has stood.
func (l *link) age() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.at)
}

// ease is how long what can wait still has to.
func (l *link) ease() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(time.Until(l.free), 0)
}

func (l *link) stands() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}
