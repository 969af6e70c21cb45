package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/pkg/message"
	"fairlead/subjects"
)

// heart says again and again, signed, that the agent lives.
type heart struct {
	agent *Agent
	wakes chan struct{}
	mute  atomic.Bool // the next one waits for the broker's time, which a sync brings
	count atomic.Uint64

	mu     sync.Mutex
	spared float64 // answers that may be given now, as of a time
	asked  time.Time
}

func newHeart(a *Agent) *heart {
	return &heart{agent: a, wakes: make(chan struct{}, 1), spared: answersAtOnce}
}

// Bounds of what questions may have a node say: so many at once, and so many a
// second from then on. What is beyond has no answer.
const (
	answersAtOnce = 20
	answersPerSec = 10
)

// answer says to who asks that the agent lives, if it is meant.
func (h *heart) answer(text []byte) {
	q, ok := message.ReadQuestion(text)
	if !ok || !q.Asks(h.agent.cfg.Name) {
		return
	}
	h.mu.Lock()
	now := time.Now()
	h.spared = min(answersAtOnce, h.spared+answersPerSec*now.Sub(h.asked).Seconds())
	h.asked = now
	may := h.spared >= 1
	if may {
		h.spared--
	}
	h.mu.Unlock()
	if broker := h.agent.clock.Now(); may && !broker.IsZero() {
		h.say(broker, h.count.Load(), q.ID)
	}
}

// wake has the next heartbeat follow now, as after a connection.
func (h *heart) wake() {
	select {
	case h.wakes <- struct{}{}:
	default:
	}
}

// timed says that the broker's time may be known now.
func (h *heart) timed() {
	if h.mute.CompareAndSwap(true, false) {
		h.wake()
	}
}

func (h *heart) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.agent.link.connected():
		}
		h.beat()
		// Never later than it says, and a fleet that came at once spreads out.
		every := h.agent.cfg.Heartbeat
		timer := time.NewTimer(every - rand.N(every/5+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-h.wakes:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// beat sends one. One without the broker's time would prove nothing to a station.
func (h *heart) beat() {
	a := h.agent
	h.mute.Store(true)
	now := a.clock.Now()
	if now.IsZero() {
		return
	}
	h.mute.Store(false)
	h.say(now, h.count.Add(1), "")
}

// say sends a heartbeat, at the broker's time.
func (h *heart) say(now time.Time, count uint64, asked string) {
	a := h.agent
	batches, _ := a.journal.SpoolLen()
	data, err := message.SignHeartbeat(a.cfg.Name, message.Heartbeat{
		Asked: asked, Instance: a.instance, Counter: count, BootID: a.bootID, At: now, Clock: time.Now(), Every: a.cfg.Heartbeat,
		Observed: a.observed(), Spool: batches, Outbox: a.journal.OutboxLen(),
	}, a.signer())
	if err == nil {
		err = a.conn.Tell(subjects.Heartbeat(a.cfg.Name), data)
	}
	a.keep(false)
	if err != nil {
		a.log.Debug("a heartbeat was not sent", "error", err)
	}
}
