package nginx

import (
	"context"
	"fmt"
	"sync"
)

// Events that an engine tells of, besides the verdicts that it returns.
const (
	EventRolledBack  = "rolledback"  // a version was taken back, and the last good one serves
	EventBaked       = "baked"       // a version stood its trial and is the last good one
	EventQuarantined = "quarantined" // a version is not tried again by itself
	EventRecovered   = "recovered"   // nginx was dead, wedged or killed, and serves again
	EventDown        = "down"        // nginx died and the first try to bring it back failed
	EventWedged      = "wedged"      // nginx takes no signals, and is not this engine's to end
	EventCrashing    = "crashing"    // workers die by signals
	EventOutdated    = "outdated"    // nginx's executable was replaced on disk under it
	EventDrifted     = "drifted"     // something on the node was changed by hand
	EventHealed      = "healed"      // what was changed by hand is as it should be again
	EventReloaded    = "reloaded"    // somebody else had nginx read its files again
	EventUpgraded    = "upgraded"    // nginx or its modules were installed anew
	EventPaused      = "paused"      // nothing is healed or applied for a while
	EventResumed     = "resumed"     // the pause is over
	EventServerDown  = "serverdown"  // a server of an upstream takes no more requests
	EventServerUp    = "serverup"    // it takes them again
)

// mostEvents is how many events may wait to be told.
const mostEvents = 256

// herald tells events one after the other in a goroutine of its own, so that
// whoever has one to tell waits for nobody.
type herald struct {
	say func(event, text string)

	mu   sync.Mutex
	due  []told
	lost int
	wake chan struct{}
}

type told struct{ event, text string }

func newHerald(say func(event, text string)) *herald {
	return &herald{say: say, wake: make(chan struct{}, 1)}
}

// tell puts an event into the queue, from any goroutine and under any lock.
func (e *Engine) tell(event, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	e.log.Info("nginx event", "event", event, "text", text)
	h := e.herald
	h.mu.Lock()
	if len(h.due) < mostEvents {
		h.due = append(h.due, told{event, text})
	} else {
		h.lost++
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run tells what comes until ctx ends, and then what is left.
func (h *herald) run(ctx context.Context) {
	for {
		select {
		case <-h.wake:
			h.flush()
		case <-ctx.Done():
			h.flush()
			return
		}
	}
}

func (h *herald) flush() {
	h.mu.Lock()
	due, lost := h.due, h.lost
	h.due, h.lost = nil, 0
	h.mu.Unlock()
	for _, t := range due {
		if lost > 0 && t == due[len(due)-1] {
			t.text += fmt.Sprintf(" (and %d more events, which came too fast to be told)", lost)
		}
		h.say(t.event, t.text)
	}
}
