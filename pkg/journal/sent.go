package journal

import (
	"sync"
	"time"
)

// sent are the positions of events that the broker has and the file still
// holds: they leave it with the next transaction.
type sent struct {
	mu        sync.Mutex
	positions map[uint64]bool
	timer     *time.Timer
	flush     func() // writes a transaction of its own
}

const (
	sentMost  = 256         // positions that wait at most
	sentDelay = time.Second // and how long
)

// add takes positions; it reports true when so many wait that they should be
// written now.
func (s *sent) add(positions []uint64) (full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(positions) == 0 {
		return false
	}
	if s.positions == nil {
		s.positions = make(map[uint64]bool)
	}
	for _, p := range positions {
		s.positions[p] = true
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(sentDelay, s.flush)
	}
	return len(s.positions) >= sentMost
}

// all is a copy of the positions.
func (s *sent) all() map[uint64]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint64]bool, len(s.positions))
	for p := range s.positions {
		all[p] = true
	}
	return all
}

func (s *sent) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.positions)
}

// done forgets positions that have left the file.
func (s *sent) done(gone map[uint64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range gone {
		delete(s.positions, p)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if len(s.positions) > 0 {
		s.timer = time.AfterFunc(sentDelay, s.flush)
	}
}

// stop ends the timer; what waits is for the last transaction.
func (s *sent) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// remove takes the sent events out of the file, in the transaction of w.
func (w *writing) remove(positions map[uint64]bool) error {
	for p := range positions {
		if w.tx.Bucket(bucketOutbox).Get(position(p)) == nil {
			continue
		}
		if err := w.delete(bucketOutbox, position(p)); err != nil {
			return err
		}
		w.tally.outbox--
	}
	return nil
}
