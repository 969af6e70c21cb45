package nginx

import (
	"context"
	"slices"

	"fairlead/pkg/fleet"
)

// enforces says whether what is changed by hand is put back.
func (e *Engine) enforces() bool {
	m, err := e.known(e.good, false)
	return (err != nil || m.drift() == fleet.DriftEnforce) && e.Paused() == nil
}

// reclaim makes the commit point a link again where somebody put a file of his
// own in its place, of which a copy is kept. The error is Conflict where it
// was never Fairlead's. The lock is held.
func (e *Engine) reclaim() error {
	err := e.store.ours()
	if fleet.KindOf(err) != fleet.Conflict {
		return err
	}
	good, unknown := e.serving()
	if unknown != nil {
		return err // nothing was ever committed here
	}
	m, err := e.known(good, true)
	if err != nil {
		return fleet.Errorf(fleet.Failed, "%s was replaced, and there is nothing to put there: %w", e.store.link, err)
	}
	found := []DriftFile{{Path: e.store.link, Change: changeLink, Detail: "it is no link any more"}}
	dir, err := e.store.preserve(m, found, e.store.changes(m, found))
	if err != nil {
		return fleet.Errorf(fleet.Failed, "%s is not Fairlead's and cannot be kept: %w", e.store.link, err)
	}
	if err := e.store.relink(good); err != nil {
		return fleet.Errorf(fleet.Failed, "link the last good version: %w", err)
	}
	e.note(&Drift{State: DriftHealed, Message: "a copy is in " + dir}, found)
	return nil
}

// respects handles a commit point that is no link when the engine begins: with
// a policy that leaves it, an nginx that serves the last good version is taken
// over as it is. True when it was.
func (e *Engine) respects(ctx context.Context, good version) bool {
	if e.enforces() {
		return false
	}
	master := e.find()
	if master == nil {
		return false // it is to be started, and that needs the link
	}
	e.setMaster(master)
	e.control.drain()
	if e.answers(ctx, good.generation()) != good.generation() || e.proveWithin(ctx, adoption, good) != nil {
		return false
	}
	e.log.Info("nginx adopted; its nginx.conf is not Fairlead's", "pid", master.PID, "revision", good.Manifest.Revision)
	e.take(good)
	return true
}

// tidy puts the last good version's files right before nginx is told to read
// them: always where it did not serve with them as they are (needed), else as
// the policy says. The link is its caller's. True when something was put back.
// The lock is held.
func (e *Engine) tidy(needed bool) bool {
	if !needed && (!e.enforces() || e.flapping()) {
		return false
	}
	m, err := e.known(e.good, false)
	if err != nil {
		return false
	}
	found, err := e.store.compare(m)
	found = slices.DeleteFunc(found, func(f DriftFile) bool { return f.Change == changeLink })
	if err != nil || len(found) == 0 {
		return false
	}
	dir, err := e.restoreFiles(found)
	if err != nil {
		e.note(&Drift{State: DriftStays, Message: "it could not be healed: " + err.Error()}, found)
		return false
	}
	e.note(&Drift{State: DriftHealed, Message: "a copy is in " + dir}, found)
	return true
}

// untouched says whether an Apply of what serves already has nothing to do, and
// heals what differs first: by the policy, or because a newer revision ends
// the time for which it was left. The lock is held.
func (e *Engine) untouched(ctx context.Context, revision uint64) bool {
	m, err := e.known(e.good, false)
	if err != nil {
		return false // a fresh version mends that
	}
	found, err := e.store.compare(m)
	if err != nil {
		return false
	}
	if len(found) == 0 || !e.enforces() && revision == e.good.Manifest.Revision {
		return true
	}
	e.heal(ctx, found)
	return e.Drift().State == DriftHealed
}
