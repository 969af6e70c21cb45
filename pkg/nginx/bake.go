package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Bake is a version's time of trial, as Status tells it.
type Bake struct {
	Revision uint64    `json:"revision"`
	Until    time.Time `json:"until"` // by the node's clock
	Answers  uint64    `json:"answers"`
	Errors   uint64    `json:"errors"` // those with a status of 500 or more
	// Before is what the version before answered in its last five minutes.
	Before Answered `json:"before"`
}

// trial is a version that serves and was proven, and may still be taken back.
// It lies in bake.json, so that a restart of the agent goes on with it.
type trial struct {
	Version  string        `json:"version"` // directory under versions/
	Revision uint64        `json:"revision"`
	Whole    uint64        `json:"whole"` // the newest revision of which everything serves
	Boot     string        `json:"boot"`  // the times count from here
	Ends     time.Duration `json:"ends"`  // by the boot clock
	Length   time.Duration `json:"length"`
	Before   Answered      `json:"before"` // what the last good version answered
	Percent  int           `json:"percent"`
	Least    int           `json:"least"` // answers to judge by
	// Restarts is how often nginx ended meanwhile and was started with it again.
	Restarts int `json:"restarts,omitempty"`

	version  version
	fallback version // the last good version, which comes back when this one fails
	rebooted bool    // it began before the host was started
	exits    uint64  // workers that had died of a signal when it began
	killed   uint64  // and of SIGKILL
	allowed  uint64  // how many of them died while the version before served
}

const (
	// fewestAnswers is what minRequests is when it is 0.
	fewestAnswers = 20
	// bakeLook is how often a bake is looked at.
	bakeLook = 250 * time.Millisecond
)

// newTrial is a version's trial as its policy wants it, nil where it wants
// none, or where there is nothing behind it to go back to.
func (e *Engine) newTrial(v version) *trial {
	policy, behind := v.policy().Bake, e.good
	if t := e.trial.Load(); t != nil {
		behind = t.fallback // what it takes the place of has not stood its own trial
	}
	if policy == nil || behind.Name == "" || behind.Manifest.Revision == 0 || v.Manifest.Digest == e.good.Manifest.Digest {
		return nil
	}
	length, err := time.ParseDuration(policy.Time)
	if err != nil || length <= 0 {
		return nil // validated long ago
	}
	t := &trial{
		Version: v.Name, Revision: v.Manifest.Revision, Boot: host.BootID(), Length: length, Ends: host.BootClock() + length,
		Before: e.tally.before(Short(e.good.Manifest.Digest)), Percent: policy.MaxErrorPercent, Least: policy.MinRequests,
		version: v, fallback: behind, exits: e.control.exits.Load(), killed: e.control.killed.Load(),
	}
	t.allowed = t.exits - e.exits
	if t.Least == 0 {
		t.Least = fewestAnswers
	}
	return t
}

// behind is the version that comes back when v fails: what served before it,
// whose own trial then goes on; where v is on trial, the last good one.
func (e *Engine) behind(v version) version {
	if t := e.trial.Load(); t != nil && v.Name == t.Version {
		return t.fallback
	}
	return e.good
}

// serving is the version that serves, for who does not hold the lock: the one
// that bakes, else the last good one.
func (e *Engine) serving() (version, error) {
	if t := e.trial.Load(); t != nil {
		return t.version, nil
	}
	return e.store.good()
}

// settle records a version that was just proven: as the last good one, or on
// trial where its policy says so.
func (e *Engine) settle(v version) error {
	t := e.newTrial(v)
	if t == nil {
		if err := e.record(v); err != nil {
			return err
		}
	} else {
		if err := e.saveTrial(t); err != nil {
			return err
		}
		e.beginTrial(t)
	}
	e.proven(v)
	return nil
}

// record notes a version that serves: as what bakes, where it is that under
// another revision or with other values of this node, else as the last good one.
func (e *Engine) record(v version) error {
	if t := e.trial.Load(); t != nil && t.version.Manifest.Digest == v.Manifest.Digest {
		next := *t
		next.Version, next.Revision, next.version = v.Name, v.Manifest.Revision, v
		if err := e.saveTrial(&next); err != nil {
			return err
		}
		e.trial.Store(&next)
		return nil
	}
	if err := e.store.setGood(v); err != nil {
		return err
	}
	e.endTrial()
	return nil
}

func (e *Engine) beginTrial(t *trial) {
	e.tally.begin(Short(t.version.Manifest.Digest))
	e.trial.Store(t)
	select {
	case e.baking <- struct{}{}:
	default:
	}
	e.log.Info("a version bakes", "revision", t.Revision, "for", t.remaining())
}

// endTrial forgets the trial, whatever came of it.
func (e *Engine) endTrial() {
	e.trial.Store(nil)
	if err := os.Remove(e.cfg.bakeFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("the record of a bake stays", "error", err)
	}
}

func (e *Engine) saveTrial(t *trial) error {
	t.Whole = t.version.Manifest.Whole
	data, err := json.Marshal(t)
	if err == nil {
		err = host.WriteFile(e.cfg.bakeFile(), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "record the bake: %w", err)
	}
	return nil
}

// savedTrial is the trial that an agent before this one did not see the end
// of: what is left of it in the same boot of the host, all of it in another.
// A version that is in quarantine has had its trial.
func (e *Engine) savedTrial() *trial {
	data, err := os.ReadFile(e.cfg.bakeFile())
	t := new(trial)
	if err != nil || json.Unmarshal(data, t) != nil {
		return nil
	}
	if t.version, err = readVersion(filepath.Join(e.store.versions(), t.Version)); err != nil || t.Version == e.good.Name {
		return nil
	}
	if _, held := e.quarantine.holds(t.version.tried()); held {
		return nil
	}
	t.version.Manifest.Revision, t.version.Manifest.Whole = t.Revision, t.Whole
	t.exits, t.killed, t.fallback = e.control.exits.Load(), e.control.killed.Load(), e.good
	if t.Boot != host.BootID() {
		t.rebooted = true
		t.Boot, t.Ends = host.BootID(), host.BootClock()+t.Length
	}
	return t
}

// startTrial starts nginx with a version whose trial the end of nginx or of the
// host cut short. The end of nginx may be somebody's doing, or the kernel's for
// want of memory, and is held against the version only when it happens twice.
func (e *Engine) startTrial(ctx context.Context, t *trial) bool {
	why := "nginx ended twice"
	if t.rebooted || t.Restarts == 0 {
		err := e.tryAgain(ctx, *t)
		if err == nil {
			return true
		}
		why = "nginx ended, and not started again: " + err.Error()
	}
	e.failTrial(t, "rolled back during bake: "+why)
	return false
}

// tryAgain notes the restart first: whatever ends the agent too, it counts.
func (e *Engine) tryAgain(ctx context.Context, t trial) error {
	if !t.rebooted {
		t.Restarts++
	}
	if err := e.saveTrial(&t); err != nil {
		return err
	}
	if e.trial.Load() != nil {
		e.trial.Store(&t)
	}
	if err := e.makeDirs(); err != nil {
		e.log.Warn("directories of nginx are missing", "error", err)
	}
	if err := e.startWith(ctx, t.version); err != nil {
		return err
	}
	e.take(t.version)
	e.ended = false
	e.recovered(fmt.Sprintf("started with %s, which goes on baking", t.version))
	return nil
}

// spareTrial has the trial that goes on after a newer version failed know nothing
// of the workers that died meanwhile.
func (e *Engine) spareTrial(exits, killed uint64) {
	if t := e.trial.Load(); t != nil {
		next := *t
		next.exits += e.control.exits.Load() - exits
		next.killed += e.control.killed.Load() - killed
		e.trial.Store(&next)
	}
}

// failTrial notes that a trial failed, before the last good version comes back.
func (e *Engine) failTrial(t *trial, why string) {
	e.condemnVersion(t.version, why)
	e.endTrial()
	e.good = t.fallback
	e.tell(EventRolledBack, "%s: %s; back to %s", t.version, why, e.good)
}

func (t *trial) remaining() time.Duration { return t.Ends - host.BootClock() }

// bake watches trials to their end, until ctx ends.
func (e *Engine) bake(ctx context.Context) {
	look := time.NewTicker(bakeLook)
	defer look.Stop()
	for ctx.Err() == nil {
		t := e.trial.Load()
		if t == nil {
			select {
			case <-e.baking:
			case <-ctx.Done():
			}
			continue
		}
		c, worst := e.tally.counted()
		fault := t.fault(c, worst, e.control.exits.Load()-t.exits, e.control.killed.Load()-t.killed)
		if fault != "" || t.remaining() <= 0 && e.up() { // nobody stands a trial by not running
			e.judgeTrial(ctx, t, c, fault)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// fault is why a version is to be taken back, "" for nothing so far. Of the
// workers that died of a signal one may have died of SIGKILL: no fault of nginx
// itself ends it so, but a person does, or the kernel for want of memory.
func (t *trial) fault(c Answered, worst string, exits, killed uint64) string {
	if exits > t.allowed+min(killed, 1) {
		return fmt.Sprintf("%d workers died of a signal, %d before", exits, t.allowed)
	}
	if c.Answers < uint64(t.Least) || !t.tooMany(c) {
		return ""
	}
	text := fmt.Sprintf("%s of %d answers were 5xx", percent(c), c.Answers)
	if t.Before.Answers > 0 {
		text += fmt.Sprintf(", %s before", percent(t.Before))
	}
	if worst != "" {
		text += ", most of them by " + worst
	}
	return text
}

// tooMany says whether errors are past the policy's limit, and more than
// before. Without a limit they must be more than chance makes of the rate
// before: two standard deviations and one; where too little is known of
// before, more than half.
func (t *trial) tooMany(c Answered) bool {
	if t.Percent > 0 {
		return c.Percent() > float64(t.Percent) && c.Percent() > t.Before.Percent()
	}
	if t.Before.Answers < uint64(t.Least) {
		return 2*c.Errors > c.Answers
	}
	expected := t.Before.Percent() / 100 * float64(c.Answers)
	return float64(c.Errors) > expected+2*math.Sqrt(expected)+1
}

// judgeTrial ends a trial: the version becomes the last good one, or the last
// good one comes back and the version goes into quarantine.
func (e *Engine) judgeTrial(ctx context.Context, t *trial, c Answered, fault string) {
	unlock, err := e.acquire(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if !e.open.Load() || e.stopped || e.trial.Load() != t {
		return // nginx was stopped, or a newer version came
	}
	if fault != "" {
		fault = "rolled back during bake: " + fault
		e.condemnVersion(t.version, fault)
		if err := e.rollBack(context.WithoutCancel(ctx), t.version, &failure{kind: fleet.Failed, text: fault}); err != nil {
			e.log.Warn("a bake failed", "error", err)
		}
		return
	}
	if err := e.store.setGood(t.version); err != nil {
		e.log.Error("a baked version is not recorded", "error", err)
	}
	e.endTrial()
	e.tell(EventBaked, "%s: %s of %d answers were 5xx in %v, %s before", t.version, percent(c), c.Answers, t.Length, percent(t.Before))
	e.collectLater()
}

// bakeStatus is nil when nothing bakes.
func (e *Engine) bakeStatus() *Bake {
	t := e.trial.Load()
	if t == nil {
		return nil
	}
	c, _ := e.tally.counted()
	return &Bake{Revision: t.Revision, Until: time.Now().Add(t.remaining()).UTC().Truncate(time.Second), Answers: c.Answers, Errors: c.Errors, Before: t.Before}
}

// percent is "37%" or "0.4%".
func percent(c Answered) string {
	p := c.Percent()
	digits := 0
	if p > 0 && p < 10 {
		digits = 1
	}
	return strconv.FormatFloat(p, 'f', digits, 64) + "%"
}
