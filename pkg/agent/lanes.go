package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// lanes run commands: one at a time in each lane, in the order in which they
// were added, different lanes side by side. A lane has a goroutine while it
// has work, so an idle agent has none.
type lanes struct {
	agent *Agent
	ctx   context.Context // ended when the grace is over
	cut   context.CancelFunc
	all   sync.WaitGroup

	mu      sync.Mutex
	byName  map[string]*lane
	known   map[string]bool // journal ids that wait or run
	waiting int
	stopped bool
}

type lane struct {
	waiting []*work
	parked  []*work // older than what waits, each for what is on its way to the node
	running *work
	busy    bool // has a goroutine
}

func newLanes(a *Agent) *lanes {
	ctx, cut := context.WithCancel(context.Background())
	return &lanes{agent: a, ctx: ctx, cut: cut, byName: make(map[string]*lane), known: make(map[string]bool)}
}

func laneOf(w *work) string {
	if w.handler.Lane != "" {
		return w.handler.Lane
	}
	return w.command.Subject.Method + "." + w.command.Subject.Domain
}

// holds reports whether a command waits or runs.
func (l *lanes) holds(m message.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[journalID(m)]
}

func (l *lanes) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting >= l.agent.cfg.Waiting
}

// add queues a batch. Older waiting commands of a subject whose newest alone
// counts end superseded; cancellations run at once; then the lanes begin.
func (l *lanes) add(batch []*work) {
	var superseded []*work
	newest := make(map[subjects.Subject]string) // id of the one that takes their place
	var cancels []*work
	var begin []*lane

	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return
	}
	for _, w := range batch {
		if w.own && l.waitsFor(w) {
			continue // a command will do what it would do, and answers for it
		}
		l.known[journalID(w.command)] = true
		if !w.own { // before it can run, so that nothing is told behind its end
			l.agent.outbox.notes.accepted(w.command, l.agent.clock.Now())
		}
		if w.command.Subject.Method == subjects.MethodCancel {
			cancels = append(cancels, w)
			continue
		}
		in := l.lane(laneOf(w))
		if w.handler.Latest {
			// What had begun before a crash may have taken effect: it runs to its
			// own end rather than being told that it never ran.
			older := func(o *work) bool {
				same := o.command.Subject == w.command.Subject && !l.interrupted(o)
				if same && !o.own {
					superseded = append(superseded, o)
				}
				return same
			}
			if !w.own {
				in.parked = slices.DeleteFunc(in.parked, older)
			}
			before := len(in.waiting)
			in.waiting = slices.DeleteFunc(in.waiting, older)
			l.waiting -= before - len(in.waiting)
		}
		newest[w.command.Subject] = w.command.ID
		in.waiting = append(in.waiting, w)
		l.waiting++
		if !in.busy {
			in.busy = true
			begin = append(begin, in)
		}
	}
	l.all.Add(len(begin)) // under the lock: drain waits for them, or none was added
	l.mu.Unlock()

	l.agent.cfg.Checkpoint(PointQueued)
	for _, w := range superseded {
		by := newest[w.command.Subject]
		l.end(w, replacedBy{fleet.Errorf(fleet.Superseded, "the newer command %s takes its place", by), by})
	}
	for _, w := range cancels {
		l.agent.execute(l.ctx, w)
	}
	for _, in := range begin {
		go func() {
			defer l.all.Done()
			l.serve(in)
		}()
	}
}

// park sets a command aside that waits for what is on its way to the node; others of its
// lane go on. A newer one of a subject whose newest alone counts takes its place.
func (l *lanes) park(w *work) {
	l.mu.Lock()
	in := l.lane(laneOf(w))
	newer := -1
	if w.handler.Latest {
		newer = slices.IndexFunc(in.waiting, func(o *work) bool { return !o.own && o.command.Subject == w.command.Subject })
	}
	by := ""
	if newer >= 0 {
		by = in.waiting[newer].command.ID
	} else {
		in.parked = append(in.parked, w)
	}
	in.running = nil // it can be called off again
	l.mu.Unlock()
	if by != "" {
		l.end(w, replacedBy{fleet.Errorf(fleet.Superseded, "the newer command %s takes its place", by), by})
		return
	}
	if !l.agent.state.parts.any() { // it came this moment
		l.resume()
	}
}

// resume runs what was parked, before what waits.
func (l *lanes) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	for _, in := range l.byName {
		if len(in.parked) == 0 {
			continue
		}
		in.waiting = append(in.parked, in.waiting...)
		l.waiting += len(in.parked)
		in.parked = nil
		if in.busy {
			continue
		}
		in.busy = true
		l.all.Go(func() { l.serve(in) })
	}
}

// waitsFor reports whether something of the same subject waits. The lock is held.
func (l *lanes) waitsFor(w *work) bool {
	return slices.ContainsFunc(l.lane(laneOf(w)).waiting, func(o *work) bool { return o.command.Subject == w.command.Subject })
}

func (l *lanes) lane(name string) *lane {
	in, ok := l.byName[name]
	if !ok {
		in = &lane{}
		l.byName[name] = in
	}
	return in
}

// busy reports whether a lane has work that waits or runs.
func (l *lanes) busy(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	in, ok := l.byName[name]
	return ok && in.busy
}

// serve runs a lane until it is empty.
func (l *lanes) serve(in *lane) {
	for {
		l.mu.Lock()
		if len(in.waiting) == 0 || l.stopped {
			in.busy, in.running = false, nil
			l.mu.Unlock()
			return
		}
		w := in.waiting[0]
		in.waiting = in.waiting[1:]
		in.running = w
		l.waiting--
		l.mu.Unlock()
		l.agent.execute(l.ctx, w)
	}
}

func (l *lanes) forget(w *work) {
	if w.own {
		return
	}
	l.mu.Lock()
	delete(l.known, journalID(w.command))
	l.mu.Unlock()
}

// end finishes a command that never ran.
func (l *lanes) end(w *work, why error) { l.agent.finish(w, noResult, why, 0) }

// Cancel implements handlers.Queue.
func (l *lanes) Cancel(ctx context.Context, id, by string) error {
	off := replacedBy{fleet.Errorf(fleet.Cancelled, "called off by %s", by), by}
	l.mu.Lock()
	var found *work
	for _, in := range l.byName {
		if r := stoppable(in, id); r != nil {
			r.off = off
			l.mu.Unlock()
			return r.end(ctx, id)
		}
		if l.begun(in, id) {
			l.mu.Unlock()
			return fleet.Errorf(fleet.Conflict, "%s has begun and cannot be called off", id)
		}
		is := func(w *work) bool {
			if w.own || w.command.ID != id {
				return false
			}
			found = w
			return true
		}
		in.parked = slices.DeleteFunc(in.parked, is)
		before := len(in.waiting)
		in.waiting = slices.DeleteFunc(in.waiting, is)
		l.waiting -= before - len(in.waiting)
	}
	l.mu.Unlock()
	if found == nil {
		return fleet.Errorf(fleet.Unknown, "no command %s waits on %s: it has ended, or is for another node", id, l.agent.cfg.Name)
	}
	l.end(found, off)
	return nil
}

// begun reports whether a command runs in a lane, or waits there to run again
// because the agent ended while it ran. The lock is held.
func (l *lanes) begun(in *lane, id string) bool {
	if in.running != nil && in.running.command.ID == id && !in.running.own {
		return true
	}
	return slices.ContainsFunc(in.waiting, func(w *work) bool {
		return w.command.ID == id && l.interrupted(w)
	})
}

// interrupted reports whether a waiting command had begun when the agent ended.
func (l *lanes) interrupted(w *work) bool {
	if w.own || !w.handler.Durable {
		return false
	}
	_, started, err := l.agent.journal.Lookup(journalID(w.command))
	return started || err != nil
}

// drain lets what runs end within the grace, then cuts it off. What waits
// stays in the mailbox. What does not end within the overrun either is returned;
// the journal knows that it began, where its handler wants that.
func (l *lanes) drain(grace, overrun time.Duration) (stuck []*work) {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	defer l.cut()
	if endsWithin(grace, l.all.Wait) {
		return nil
	}
	l.cut()
	if endsWithin(overrun, l.all.Wait) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, in := range l.byName {
		if in.running != nil {
			stuck = append(stuck, in.running)
		}
	}
	return stuck
}

// endsWithin reports whether wait returns in time; if not it is left behind.
func endsWithin(d time.Duration, wait func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
