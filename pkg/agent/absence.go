package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

// absence is how long the node was away, and what of it was not told yet. Times are
// of the boot clock, which nobody sets.
type absence struct {
	mu      sync.Mutex
	away    bool
	since   time.Duration
	reason  string
	count   int           // interruptions that were not told yet
	offline time.Duration // altogether, in these
	told    time.Duration // when the last were; 0 is never
	kept    time.Duration // when the file was written
	before  *lastWord     // of the agent before this one, until it is told
	writing sync.Mutex    // held while the file is written
}

const (
	// rejoinEvery is the least time between two events: a link that flaps all day
	// is told once a minute, with what it added up to.
	rejoinEvery = time.Minute
	// keepEvery is how often the file is written at most: how wrong the time is
	// that an agent says that was killed.
	keepEvery = time.Minute
)

// lastWord is what an agent knew when it was there last, for the next one. It is
// not synced: where it is lost, how long the node was away is not known.
type lastWord struct {
	Node     string    `json:"node,omitempty"`
	At       time.Time `json:"at"` // the broker's clock
	BootID   string    `json:"bootId"`
	Observed uint64    `json:"observedRevision"`
	// Link is what the link carried on the last days, the newest first.
	Link []handlers.LinkDay `json:"link,omitempty"`
}

// lost notes that the link broke.
func (a *absence) lost(reason string, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.away {
		a.away, a.since, a.reason = true, now, reason
	}
}

// back notes that the node is in touch again, and returns what is to be told of that, nil
// for nothing: it was away for a moment only, or it was told just now.
func (a *absence) back(now, least time.Duration) *message.Rejoin {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		a.away = false
		a.count++
		a.offline += now - a.since
	}
	if a.count == 0 || a.offline < least || a.told > 0 && now-a.told < rejoinEvery {
		return nil
	}
	r := &message.Rejoin{OfflineSeconds: a.offline.Seconds(), Reason: a.reason, Interruptions: a.count}
	a.count, a.offline, a.told = 0, 0, now
	return r
}

// began notes that this agent follows one that was there last at a moment of the
// broker's clock.
func (a *absence) began(away time.Duration, reason string, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	a.offline += max(away, 0)
	a.reason = reason
}

func (a *Agent) lastFile() string { return filepath.Join(a.cfg.State, "last.json") }

// remember reads what the agent before this one knew.
func (a *Agent) remember() {
	text, err := os.ReadFile(a.lastFile())
	if err != nil {
		return // the first start
	}
	var w lastWord
	if json.Unmarshal(text, &w) == nil && !w.At.IsZero() {
		a.meter.began(w.Link)
		if w.Node == "" || w.Node == a.cfg.Name {
			a.absence.before = &w
		}
	}
}

// keep writes down that the node is there, but not each time; always has it written.
func (a *Agent) keep(always bool) {
	now := host.BootClock()
	a.absence.mu.Lock()
	due := always || a.absence.kept == 0 || now-a.absence.kept >= keepEvery
	if due {
		a.absence.kept = now
	}
	a.absence.mu.Unlock()
	at := a.clock.Now()
	if !due || at.IsZero() {
		return
	}
	a.absence.writing.Lock()
	defer a.absence.writing.Unlock()
	text, err := json.Marshal(lastWord{Node: a.cfg.Name, At: at, BootID: a.bootID, Observed: a.observed(), Link: a.meter.upTo(at)})
	if err == nil {
		err = os.WriteFile(a.lastFile()+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(a.lastFile()+".new", a.lastFile())
	}
	if err != nil {
		a.log.Debug("it is not written down when the node was there last", "error", err)
	}
}

// observed is the revision that nginx was proven to run last.
func (a *Agent) observed() uint64 {
	if r := a.state.lastReport(); r.ObservedRevision > 0 {
		return r.ObservedRevision
	}
	return a.absence.observedBefore()
}

func (a *absence) observedBefore() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.before == nil {
		return 0
	}
	return a.before.Observed
}

// rejoin tells that the node is back, once it knows the broker's time and what
// waited for it.
func (a *Agent) rejoin() {
	now := host.BootClock()
	if before := a.absence.previous(); before != nil {
		reason := "the agent was started"
		if before.BootID != a.bootID {
			reason = "the host was booted"
		}
		a.absence.began(a.clock.Now().Sub(before.At), reason, now)
	}
	r := a.absence.back(now, a.cfg.RejoinAfter)
	if r == nil {
		return
	}
	r.Observed, r.Outbox = a.observed(), a.journal.OutboxLen()
	r.Spool, _ = a.journal.SpoolLen()
	r.ClockOffsetSeconds = time.Since(a.clock.Now()).Seconds()
	l := a.life(message.LifecycleRejoined, rejoined(r))
	l.Rejoin = r
	e, err := a.lifecycleOf(message.LifecycleDomain, l)
	if err == nil {
		err = a.journal.Enqueue(e)
	}
	if err != nil {
		a.log.Warn("could not announce the return", "error", err)
	}
}

// previous is the last word of the agent before this one, the first time.
func (a *absence) previous() *lastWord {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.before == nil || a.before.At.IsZero() {
		return nil
	}
	w := *a.before
	a.before.At = time.Time{}
	return &w
}

// rejoined is what it says, for people.
func rejoined(r *message.Rejoin) string {
	away := time.Duration(r.OfflineSeconds * float64(time.Second)).Round(100 * time.Millisecond)
	if away > time.Minute {
		away = away.Round(time.Second)
	}
	parts := []string{fmt.Sprintf("away for %v: %s", away, r.Reason)}
	if r.Interruptions > 1 {
		parts[0] += fmt.Sprintf(" (%d interruptions)", r.Interruptions)
	}
	if r.Observed > 0 {
		parts = append(parts, fmt.Sprintf("runs revision %d", r.Observed))
	}
	if r.Outbox > 0 || r.Spool > 0 {
		parts = append(parts, fmt.Sprintf("%d messages and %d batches of logs wait", r.Outbox, r.Spool))
	}
	if off := r.ClockOffsetSeconds; off > 1 || off < -1 {
		parts = append(parts, fmt.Sprintf("its clock is %+.1f s off", off))
	}
	return strings.Join(parts, "; ")
}
