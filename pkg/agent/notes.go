package agent

import (
	"sync"
	"time"

	"fairlead/pkg/message"
)

// notes tell how far commands have come on their way to their end: accepted,
// running. They pass through memory, and are worth nothing once the end is
// known: none is told after it.
type notes struct {
	mu   sync.Mutex
	open map[string]*note // commands without an end, by journal id
	due  []string         // journal ids of those with something to tell, in order
	wake func()
}

type note struct {
	command message.Message
	at      time.Time // when it was accepted, by the broker's clock
	timer   *time.Timer
	due     []message.State
	told    bool // that it was accepted
}

// noteDelay is how long an accepted command may run before it is told that it
// was accepted. One that ends sooner is answered once, and its final answer
// says when it was accepted: half the messages for a fleet of quick commands,
// and no person would have seen the first.
const noteDelay = 100 * time.Millisecond

func newNotes(wake func()) *notes {
	return &notes{open: make(map[string]*note), wake: wake}
}

// accepted notes that a command was taken.
func (n *notes) accepted(command message.Message, at time.Time) {
	id := journalID(command)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[id] = &note{command: command, at: at,
		timer: time.AfterFunc(noteDelay, func() { n.tell(id, message.Accepted) })}
}

// running notes that a command takes a while.
func (n *notes) running(command message.Message) { n.tell(journalID(command), message.Running) }

func (n *notes) tell(id string, s message.State) {
	n.mu.Lock()
	entry, open := n.open[id]
	if open {
		entry.due = append(entry.due, s)
		n.due = append(n.due, id)
	}
	n.mu.Unlock()
	if open {
		n.wake()
	}
}

// end forgets a command; untold says that nobody was told that it was accepted.
func (n *notes) end(command message.Message) (at time.Time, untold bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	entry, open := n.open[journalID(command)]
	if !open {
		return time.Time{}, false
	}
	delete(n.open, journalID(command))
	entry.timer.Stop()
	return entry.at, !entry.told
}

// take hands over what is to be told now, in order. Whoever takes sends before
// any answer that is journalled later.
func (n *notes) take(hand func(command message.Message, s message.State)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range n.due {
		entry, open := n.open[id]
		if !open {
			continue
		}
		for _, s := range entry.due {
			hand(entry.command, s)
			entry.told = true
		}
		entry.due = nil
	}
	n.due = nil
}
