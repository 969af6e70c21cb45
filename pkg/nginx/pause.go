package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// MaxPause is how long a pause may be: what nobody ends must end by itself.
const MaxPause = 7 * 24 * time.Hour

// Pause is the time for which nginx is left as it is: nothing is healed and
// nothing is applied, but nginx is started when it dies.
type Pause struct {
	By     string        `json:"by"`
	Reason string        `json:"reason,omitempty"`
	For    time.Duration `json:"for"`
	// Until is the end by the broker's clock; zero where no broker was heard
	// since it began.
	Until time.Time `json:"until,omitzero"`
}

func (p Pause) String() string {
	text := "paused by " + p.By
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format("2006-01-02 15:04:05Z")
	} else {
		text += " for " + p.For.String()
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// PausedError is why nothing is applied now. The newest revision is applied
// when the pause ends.
type PausedError struct{ Pause Pause }

func (p PausedError) Error() string {
	return p.Pause.String() + "; the newest revision is applied when the pause ends"
}

// pausing is pause.json. Its end is judged by the broker's clock where that is
// known, and by the boot clock, whichever comes first; never by the wall clock
// of the node. Over a restart of the host without a link only the time counts
// for which the host was up, to a sweep's length.
type pausing struct {
	Pause
	Boot string        `json:"boot"`
	End  time.Duration `json:"end"`  // of the boot clock of Boot
	Left time.Duration `json:"left"` // when this was written
}

// left is how long a pause goes on; it learns the broker's time once there is one.
func (p *pausing) left(broker time.Time) time.Duration {
	if p.Boot != host.BootID() {
		p.Boot, p.End = host.BootID(), host.BootClock()+p.Left
	}
	p.Left = p.End - host.BootClock()
	switch {
	case broker.IsZero():
	case p.Until.IsZero():
		p.Until = broker.Add(p.Left)
	default:
		p.Left = min(p.Left, p.Until.Sub(broker))
	}
	return p.Left
}

func (e *Engine) pauseFile() string { return filepath.Join(e.cfg.State, "pause.json") }

// Pause leaves nginx as it is for a while. It waits for an apply under way and
// holds over restarts of the agent and the host. A pause that goes on already
// is replaced. The error is Invalid for a length that is not within MaxPause.
func (e *Engine) Pause(ctx context.Context, p Pause) (Pause, error) {
	if p.For <= 0 || p.For > MaxPause {
		return Pause{}, fleet.Errorf(fleet.Invalid, "a pause of %v: give a time up to %v", p.For, MaxPause)
	}
	unlock, err := e.enter(ctx)
	if err != nil {
		return Pause{}, err
	}
	defer unlock()
	now := &pausing{Pause: p, Boot: host.BootID(), End: host.BootClock() + p.For, Left: p.For}
	now.Until = time.Time{}
	now.left(e.cfg.Clock())
	if err := e.writePause(now); err != nil {
		return Pause{}, err
	}
	e.drift.mu.Lock()
	e.drift.pause = now
	p = now.Pause
	e.drift.mu.Unlock()
	e.tell(EventPaused, "%s", p)
	e.drift.lookAgain() // for the timer
	return p, nil
}

// Resume ends a pause; false where there was none. What differs is looked at
// at once.
func (e *Engine) Resume(ctx context.Context, by string) (bool, error) {
	unlock, err := e.enter(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if e.Paused() == nil {
		return false, nil
	}
	if err := e.endPause(by); err != nil {
		return false, err
	}
	return true, nil
}

// Paused is the pause that goes on, nil where there is none.
func (e *Engine) Paused() *Pause {
	e.drift.mu.Lock()
	defer e.drift.mu.Unlock()
	p := e.drift.pause
	if p == nil || p.left(e.cfg.Clock()) <= 0 {
		return nil
	}
	copied := p.Pause
	return &copied
}

// pauseLeft is how long to wait for the end of the pause; a day where there is
// none.
func (e *Engine) pauseLeft() time.Duration {
	e.drift.mu.Lock()
	defer e.drift.mu.Unlock()
	if e.drift.pause == nil {
		return 24 * time.Hour
	}
	return max(e.drift.pause.left(e.cfg.Clock()), 0)
}

// pauseOver ends a pause whose time is over, and looks.
func (e *Engine) pauseOver(ctx context.Context) {
	unlock, err := e.acquire(ctx)
	if err != nil {
		return
	}
	defer unlock()
	e.drift.mu.Lock()
	over := e.drift.pause != nil && e.drift.pause.left(e.cfg.Clock()) <= 0
	e.drift.mu.Unlock()
	if !over {
		return
	}
	if err := e.endPause(""); err != nil {
		e.log.Warn("the end of a pause is not recorded", "error", err)
	}
}

// endPause ends it, by somebody or by its time. The lock is held.
func (e *Engine) endPause(by string) error {
	if err := os.Remove(e.pauseFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fleet.Errorf(fleet.Failed, "end the pause: %w", err)
	}
	if err := host.SyncDir(e.cfg.State); err != nil {
		return fleet.Errorf(fleet.Failed, "end the pause: %w", err)
	}
	e.drift.mu.Lock()
	p := e.drift.pause
	e.drift.pause = nil
	e.drift.mu.Unlock()
	how := "its time is over"
	if by != "" {
		how = "ended by " + by
	}
	e.tell(EventResumed, "the pause of %s is over: %s", p.By, how)
	e.drift.lookAgain()
	return nil
}

// savePause writes down how long the pause goes on, for a restart of the host.
func (e *Engine) savePause() {
	e.drift.mu.Lock()
	p := e.drift.pause
	var copied pausing
	if p != nil {
		p.left(e.cfg.Clock())
		copied = *p
	}
	e.drift.mu.Unlock()
	if p == nil {
		return
	}
	if err := e.writePause(&copied); err != nil {
		e.log.Warn("the pause is not recorded", "error", err)
	}
}

func (e *Engine) writePause(p *pausing) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = host.WriteFile(e.pauseFile(), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "record the pause: %w", err)
	}
	return nil
}

// readPause finds the pause of before.
func (e *Engine) readPause() error {
	data, err := os.ReadFile(e.pauseFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p := new(pausing)
	if err == nil {
		err = json.Unmarshal(data, p)
	}
	if err == nil && (p.Left > MaxPause || p.For > MaxPause) {
		err = fmt.Errorf("it is longer than %v", MaxPause)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.pauseFile(), err)
	}
	e.drift.mu.Lock()
	defer e.drift.mu.Unlock()
	e.drift.pause = p
	return nil
}
