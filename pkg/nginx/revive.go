package nginx

import (
	"context"
	"fmt"
	"time"

	"fairlead/pkg/fleet"
)

// loyal is how often the last good version alone is tried before older ones:
// what was in its way once, such as a port that its dead predecessor still
// held, is mostly gone the next time.
const loyal = 2

// startBest starts nginx with the last good version; where that did not serve
// several times, with the one before it that does, and at last with one that
// serves nothing but the status socket. What it could not start with stays
// wanted and is tried again while the other serves.
func (e *Engine) startBest(ctx context.Context) error {
	if err := e.makeDirs(); err != nil {
		e.log.Warn("directories of nginx are missing", "error", err)
	}
	e.tidy(e.good.unusable() != "")
	candidates := []version{}
	if e.good.unusable() != "" || e.trouble.failures() > 0 {
		e.makeWhole()
	}
	fault := e.good.unusable()
	if fault == "" {
		candidates = append(candidates, e.good)
	}
	if fault != "" || e.trouble.failures() >= loyal {
		candidates = append(candidates, e.store.earlier()...)
		if base, err := e.base(); err == nil {
			candidates = append(candidates, base)
		}
	}
	err := fleet.Errorf(fleet.Failed, "%s cannot be used: %s", e.good, fault)
	for i, v := range candidates {
		first := e.startWith(ctx, v)
		if first != nil && v.Name == e.good.Name && e.tidy(true) {
			first = e.startWith(ctx, v)
		}
		if first == nil {
			e.settleFor(v, err)
			return nil
		}
		if i == 0 && fault == "" {
			err = first // of the version that is wanted
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// makeWhole puts the files of the last good version back as they were when it was
// proven, and keeps a copy of what was changed by hand: whatever the node's
// policy says of such changes, one that keeps nginx from running does not stay.
func (e *Engine) makeWhole() {
	m, err := e.known(e.good, true)
	if err != nil {
		return // no archive: it is as it is
	}
	found, err := e.store.compare(m)
	if err == nil && len(found) > 0 {
		var dir string
		if dir, err = e.restoreFiles(found); err == nil {
			e.tell(EventHealed, "%s was changed by hand, and nginx did not run with it; a copy is in %s", listed(found), dir)
		}
	}
	if err != nil {
		e.log.Error("the last good version is not as it was", "version", e.good.Name, "error", err)
	}
}

// startWith links a version and starts nginx with it.
func (e *Engine) startWith(ctx context.Context, v version) error {
	if err := e.backTo(v); err != nil {
		return err
	}
	if f := e.start(ctx, v); f != nil {
		return fleet.Errorf(f.kind, "start nginx with %s: %s", v, e.explain(f.text))
	}
	return nil
}

// settleFor takes what nginx was started with; why is what was against the
// last good version, if it is another.
func (e *Engine) settleFor(v version, why error) {
	e.ended = false
	wanted := e.good
	if v.Name != wanted.Name {
		e.wanted = want{version: wanted, instead: v.Name, delay: firstRetry, at: time.Now().Add(firstRetry)}
		e.trouble.begin("nginx does not run")
		e.recovered(fmt.Sprintf("%s serves in place of %s, which could not be started: %s", v, wanted, firstLine(why.Error())))
	}
	e.take(v)
	e.recovered(fmt.Sprintf("started with %s", v))
}

// take is accept for what serves already: that it cannot be recorded, on a
// full disk, is no reason to say that it does not.
func (e *Engine) take(v version) {
	if err := e.accept(v); err != nil {
		e.log.Warn("nginx serves, and that is not recorded", "version", v.Name, "error", err)
	}
}

// want is a good version that could not be started.
type want struct {
	version
	instead string // the name of the version that serves in its place
	delay   time.Duration
	at      time.Time // of the next try
}

const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
)

// retry tries to go back to a version that could not be started, while
// another serves in its place; a reload that fails does that one no harm.
func (e *Engine) retry(ctx context.Context) {
	w := &e.wanted
	if w.instead == "" || time.Now().Before(w.at) {
		return
	}
	if e.good.Name != w.instead || w.unusable() != "" { // something else was applied, or it is gone
		*w = want{}
		return
	}
	w.delay = min(2*w.delay, lastRetry)
	w.at = time.Now().Add(w.delay)
	if e.store.commit(w.version) != nil {
		return
	}
	f := e.load(ctx, w.version, e.workersNow())
	if f == nil {
		e.take(w.version)
		*w = want{}
		e.helped(fmt.Sprintf("%s serves again, which could not be started", e.good), 0)
		return
	}
	e.log.Info("the version that is wanted still does not serve", "version", w.Name, "reason", f.text, "next", w.delay)
	if err := e.store.commit(e.good); err == nil {
		if f := e.restore(ctx, e.good, f); f != nil {
			e.log.Error("nginx does not serve", "error", f.text)
		}
	}
}
