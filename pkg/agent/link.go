package agent

import "sync"

// link tells whether the broker can be reached, to whoever waits for it.
type link struct {
	mu sync.Mutex
	is chan struct{} // closed while the link stands
	on bool
}

func newLink() *link { return &link{is: make(chan struct{})} }

func (l *link) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		l.on = true
		close(l.is)
	}
}

func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.on = false
		l.is = make(chan struct{})
	}
}

// connected is closed when the link stands next.
func (l *link) connected() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is
}

func (l *link) stands() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}
