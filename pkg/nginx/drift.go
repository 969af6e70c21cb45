package nginx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// States of Drift.
const (
	DriftSeen    = "drifted"  // something differs, and is left as it is: policy report, or a pause
	DriftAdopted = "adopted"  // something differs, and stays until the next revision: policy adopt
	DriftHealed  = "healed"   // something differed, and is as it should be again
	DriftStopped = "stopped"  // it was healed too often and is left as it is for a while
	DriftStays   = "unhealed" // it could not be healed
)

// Drift is what was changed beside Fairlead: what differs now, or what was
// healed last.
type Drift struct {
	State   string      `json:"state"`
	Since   time.Time   `json:"since"`             // by the node's clock
	Files   []DriftFile `json:"files,omitempty"`   // the first few
	More    int         `json:"more,omitempty"`    // files beyond those
	Healed  int         `json:"healed,omitempty"`  // times that something was healed since the agent began
	Message string      `json:"message,omitempty"` // for people
}

// Now reports whether something differs, rather than differed.
func (d *Drift) Now() bool { return d != nil && d.State != DriftHealed }

// Summary is what differs, or differed, in a line.
func (d *Drift) Summary() string {
	text := listed(d.Files)
	if d.More > 0 {
		text += fmt.Sprintf(" and %d more", d.More)
	}
	if d.Message == "" {
		return text
	}
	return strings.TrimPrefix(text+"; "+d.Message, "; ")
}

const (
	// driftListed is how many files a Drift names.
	driftListed = 20
	// An editor that saves makes several changes; they are looked at once it
	// was quiet for a moment, or after driftPatience at most.
	driftQuiet    = 50 * time.Millisecond
	driftPatience = 500 * time.Millisecond

	// Healing that somebody undoes again and again stops: after flapMost in
	// flapTime, for flapFirst, then for twice as long, up to flapLast.
	flapMost  = 3
	flapTime  = 5 * time.Minute
	flapFirst = 5 * time.Minute
	flapLast  = time.Hour
)

// drifter is what the engine knows of drift.
type drifter struct {
	wake    chan struct{}
	hup     atomic.Int64 // 1 + pid of another process that told nginx to reload, 0 for none
	crashed atomic.Bool  // a worker died since the workers were recorded
	// reads counts the times that nginx may have read its files, and rightAt is
	// the count after which they were all found right: while the two are the
	// same, nginx runs what its files should say, whatever they say now.
	reads, rightAt atomic.Int64

	mu    sync.Mutex
	now   *Drift
	seen  []DriftFile // what was told last
	image *image      // of the last good version, without contents
	pause *pausing

	// Of the holder of the engine's lock.
	heals     []time.Duration // boot clock of the last ones
	held      time.Duration   // boot clock until which nothing is healed
	delay     time.Duration   // how long it is held the next time
	loaded    generation      // the workers that were proven last
	expected  time.Duration   // boot clock until which new workers are no surprise: somebody was heard to reload
	quiet     quiet           // how often a foreign reload is told
	installed string          // fingerprint of the nginx that was asked what it can do
}

func newDrifter() *drifter {
	d := &drifter{wake: make(chan struct{}, 1)}
	d.reads.Store(1)
	return d
}

// reading says that nginx is about to read its files.
func (d *drifter) reading() { d.reads.Add(1) }

func (d *drifter) right() bool { return d.rightAt.Load() == d.reads.Load() }

// Drift is what was changed beside Fairlead, nil where nothing was since the
// agent began.
func (e *Engine) Drift() *Drift {
	e.drift.mu.Lock()
	defer e.drift.mu.Unlock()
	if e.drift.now == nil {
		return nil
	}
	d := *e.drift.now
	return &d
}

// lookAgain has the guard look soon.
func (d *drifter) lookAgain() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// guard compares what is with what should be until ctx ends: at once, when a
// watched file changes, when somebody else has nginx reload, and every now and
// then.
func (e *Engine) guard(ctx context.Context) {
	w := newDriftWatch(e.log)
	defer w.close()
	e.look(ctx, true)
	for ctx.Err() == nil {
		if w.follow(e.watched()) {
			e.look(ctx, false) // for what changed before it was watched
		}
		sweep := time.NewTimer(jitter(e.cfg.Sweep))
		over := time.NewTimer(e.pauseLeft())
		select {
		case <-ctx.Done():
		case <-e.drift.wake:
			e.look(ctx, false)
		case <-w.changes():
			w.settle(ctx)
			e.look(ctx, false)
		case <-over.C:
			e.pauseOver(ctx)
		case <-sweep.C:
			e.upgraded(ctx)
			e.savePause()
			e.look(ctx, true)
		}
		sweep.Stop()
		over.Stop()
	}
}

// watched is the directories where a change is to be seen at once.
func (e *Engine) watched() []string {
	dirs := []string{e.cfg.Conf}
	e.drift.mu.Lock()
	defer e.drift.mu.Unlock()
	if m := e.drift.image; m != nil {
		for _, entry := range m.entries {
			if entry.mode.IsDir() {
				dirs = append(dirs, filepath.Join(m.version.Dir, entry.path))
			}
		}
	}
	return dirs
}

// jitter spreads the sweeps of a fleet: two thirds to four thirds of d.
func jitter(d time.Duration) time.Duration {
	return d*2/3 + time.Duration(rand.Int64N(int64(d*2/3)))
}

// look is a first look, which waits for no apply and disturbs none; only what
// it finds is looked at again with the engine's lock. A thorough one looks at
// nginx's workers too.
func (e *Engine) look(ctx context.Context, thorough bool) {
	good, err := e.serving()
	if err != nil {
		return // nothing was proven yet
	}
	if !thorough && e.clean(ctx, good) {
		return
	}
	unlock, err := e.acquire(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if !e.open.Load() || e.stopped || e.unknown {
		return
	}
	if err := e.mend(ctx); err != nil && ctx.Err() == nil {
		e.log.Warn("drift cannot be looked at", "error", err)
	}
}

// clean says whether nothing is to be done, and was not before.
func (e *Engine) clean(ctx context.Context, good version) bool {
	if e.Drift().Now() || e.drift.hup.Load() != 0 {
		return false
	}
	m, err := e.known(good, false)
	if err != nil {
		return false
	}
	reads := e.drift.reads.Load()
	found, err := e.store.compare(m)
	if err != nil || len(found) > 0 || e.runsGood(ctx, good) != nil {
		return false
	}
	e.drift.rightAt.Store(reads)
	return true
}

// runsGood says what is wrong with what nginx answers and who does; nil when
// it is down, which is not this one's care.
func (e *Engine) runsGood(ctx context.Context, good version) error {
	said, err := e.generation(ctx)
	if err != nil || said == good.generation() {
		return nil
	}
	return fleet.Errorf(fleet.Failed, "nginx runs %s, not %s", Short(said), good)
}

// known is a version as it should be. Without contents it is read once, and
// written where there is none yet, from files that are whole.
func (e *Engine) known(v version, contents bool) (*image, error) {
	e.drift.mu.Lock()
	m := e.drift.image
	e.drift.mu.Unlock()
	if m != nil && m.version.Name == v.Name && m.version.Manifest.Local == v.Manifest.Local && !contents {
		return m, nil
	}
	err := e.store.rekeep(v)
	if err != nil {
		return nil, err
	}
	if m, err = e.store.image(v.Name, contents); err != nil {
		return nil, err
	}
	if !contents {
		e.drift.mu.Lock()
		e.drift.image = m
		e.drift.mu.Unlock()
	}
	return m, nil
}

// mend compares, and does what the policy says. The lock is held.
func (e *Engine) mend(ctx context.Context) error {
	d := e.drift
	m, err := e.known(e.good, false)
	if err != nil {
		e.note(&Drift{State: DriftStays, Message: "what Fairlead put there is not known any more; the next revision mends that: " + err.Error()}, nil)
		return err
	}
	e.unseen()
	hup, reads := d.hup.Swap(0), d.reads.Load()
	found, err := e.store.compare(m)
	if err != nil {
		return err
	}
	if hup != 0 {
		e.toldReload(int(hup-1), found)
	}
	if wrong := e.runsGood(ctx, e.good); wrong != nil && len(found) == 0 {
		found = append(found, DriftFile{Path: "nginx", Change: changeRunning, Detail: wrong.Error()})
	}
	if len(found) == 0 {
		d.rightAt.Store(reads)
		e.cleared()
		return nil
	}
	switch mode := m.drift(); {
	case e.Paused() != nil:
		e.note(&Drift{State: DriftSeen, Message: "nothing is healed during the pause"}, found)
	case mode == fleet.DriftReport:
		e.note(&Drift{State: DriftSeen, Message: "the policy is to report it; the next revision replaces it"}, found)
	case mode == fleet.DriftAdopt:
		e.note(&Drift{State: DriftAdopted, Message: "the policy is to leave it until the next revision"}, found)
	case e.flaps():
		e.note(&Drift{State: DriftStopped, Message: "it was healed too often and is left alone for " + until(d.held)}, found)
	default:
		e.heal(ctx, found)
	}
	return nil
}

// changeRunning is of nginx itself: it serves something else than was proven.
const changeRunning = "running"

// heal puts everything back, keeps what was found, and has nginx read its
// files again where it may run something else than they say.
func (e *Engine) heal(ctx context.Context, found []DriftFile) {
	began := time.Now()
	e.drift.heals = append(e.drift.heals, host.BootClock())
	dir, err := e.restoreFiles(found)
	if err == nil {
		err = e.rightAgain(ctx)
	}
	if err != nil {
		e.note(&Drift{State: DriftStays, Message: "it could not be healed: " + err.Error()}, found)
		return
	}
	message := "a copy is in " + dir
	if dir == "" {
		message = "nginx was made to read its files again"
	}
	e.note(&Drift{State: DriftHealed, Message: message}, found)
	e.log.Info("drift healed", "files", len(found), "took", time.Since(began))
}

// restoreFiles restores files and link, after keeping a copy of what is there; ""
// where no file differs.
func (e *Engine) restoreFiles(found []DriftFile) (copied string, err error) {
	found = slices.DeleteFunc(slices.Clone(found), func(f DriftFile) bool { return f.Change == changeRunning })
	if len(found) == 0 {
		return "", nil
	}
	m, err := e.known(e.good, true)
	if err != nil {
		return "", err
	}
	if copied, err = e.store.preserve(m, found, e.store.changes(m, found)); err != nil {
		e.log.Warn("what was changed by hand is not kept as a whole", "error", err)
	}
	// What lay behind a replaced directory shows when that is right.
	for range 3 {
		if err := e.store.restore(m, found); err != nil {
			return copied, err
		}
		if found, err = e.store.compare(m); err != nil || len(found) == 0 {
			return copied, err
		}
	}
	return copied, errors.New("it is changed as fast as it is healed: " + listed(found))
}

// rightAgain makes sure that nginx runs what its files say again: it looks
// where they were never read while they were wrong, and reloads where they
// may have been.
func (e *Engine) rightAgain(ctx context.Context) error {
	if !e.up() {
		return nil // who starts it finds the files right
	}
	if e.drift.right() && e.runsGood(ctx, e.good) == nil {
		return nil
	}
	reads := e.drift.reads.Load() + 1 // that of load
	// The foreign reload may have hung nginx: then it is started anew.
	f := e.restore(context.WithoutCancel(ctx), e.good, &failure{})
	if f != nil {
		return fleet.Errorf(f.kind, "nginx does not serve %s: %s", e.good, f.text)
	}
	e.proven(e.good)
	e.drift.rightAt.Store(reads)
	return nil
}

// flaps says whether healing is held off, and begins to hold it off where it
// came too often.
func (e *Engine) flaps() bool {
	d, now := e.drift, host.BootClock()
	if e.flapping() {
		return true
	}
	d.heals = slices.DeleteFunc(d.heals, func(at time.Duration) bool { return now-at > flapTime })
	if len(d.heals) < flapMost {
		if len(d.heals) == 0 && now-d.held > flapLast {
			d.delay = 0
		}
		return false
	}
	d.delay = min(max(2*d.delay, flapFirst), flapLast)
	d.held, d.heals = now+d.delay, nil
	time.AfterFunc(d.delay, d.lookAgain)
	return true
}

func (e *Engine) flapping() bool { return host.BootClock() < e.drift.held }

func until(boot time.Duration) string {
	return (boot - host.BootClock()).Round(time.Second).String()
}

// note records what is found and tells of it once.
func (e *Engine) note(now *Drift, found []DriftFile) {
	d := e.drift
	now.Since = time.Now().UTC()
	now.Files = slices.Clone(found[:min(len(found), driftListed)])
	now.More = len(found) - len(now.Files)
	d.mu.Lock()
	was := d.now
	if was != nil {
		now.Healed = was.Healed
		if was.State == now.State && now.State != DriftHealed {
			now.Since = was.Since
		}
	}
	if now.State == DriftHealed {
		now.Healed++
	}
	same := was != nil && was.State == now.State && now.State != DriftHealed && slices.Equal(d.seen, found)
	if same {
		now.Message = was.Message // with the times as they were told
	}
	d.now = now
	d.seen = slices.Clone(found)
	d.mu.Unlock()
	if same {
		return
	}
	event := EventDrifted
	if now.State == DriftHealed {
		event = EventHealed
	}
	text := listed(found)
	if now.Message != "" {
		text += "; " + now.Message
	}
	e.tell(event, "%s", text)
}

// cleared records that nothing differs any more, without anything having been
// healed: it was undone by hand, or a newer version took its place.
func (e *Engine) cleared() {
	d := e.drift
	d.mu.Lock()
	was := d.now
	if !was.Now() {
		d.mu.Unlock()
		return
	}
	d.now, d.seen = nil, nil
	if was.Healed > 0 {
		d.now = &Drift{State: DriftHealed, Since: time.Now().UTC(), Healed: was.Healed}
	}
	d.mu.Unlock()
	e.tell(EventHealed, "nothing differs any more: it was put back by hand, or a newer revision took its place")
}
