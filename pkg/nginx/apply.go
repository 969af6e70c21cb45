package nginx

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"fairlead/pkg/fleet"
)

// Verdict is how an Apply or a Reload ended well.
type Verdict struct {
	Changed  bool          `json:"changed"` // false when everything was as it should be already
	Revision uint64        `json:"revision"`
	Digest   string        `json:"digest"` // proven to be the one that serves
	Workers  int           `json:"workers"`
	Probes   int           `json:"probes,omitempty"` // virtual hosts that changed and answered as they should
	Took     time.Duration `json:"took"`
	Steps    Steps         `json:"steps"`
	// Notes says what is served otherwise than written: servers of upstreams that are left out.
	Notes []string `json:"notes,omitempty"`
}

// Steps is how long each part took.
type Steps struct {
	Stage  time.Duration `json:"stage"`  // files written and synced
	Test   time.Duration `json:"test"`   // every check before the commit, nginx -t the last
	Commit time.Duration `json:"commit"` // link renamed and synced
	Prove  time.Duration `json:"prove"`  // from the signal to new workers and answers with the digest
	Probe  time.Duration `json:"probe"`  // of the virtual hosts that changed
}

// Apply makes nginx serve a bundle and proves that it does. It does nothing
// when nginx serves it already. On any error the node serves what it served
// before; the message holds what nginx said.
//
// The kinds of error: Invalid (fleet.Faults) for what this node's nginx has no
// module for, Failed for what nginx refuses, Timeout for what was not proven in
// time, Unavailable while the engine or an nginx that others manage is down,
// Paused during a pause (PausedError), Busy and Cancelled when ctx ended before
// the commit point. After the commit point ctx is no longer heeded: the change
// is proven or rolled back.
func (e *Engine) Apply(ctx context.Context, revision uint64, b Bundle) (Verdict, error) {
	e.care.names.look(ctx, b.Policy().Resolvers, namesIn(b.locals()), fresh)
	unlock, err := e.enter(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer unlock()
	return e.apply(ctx, revision, revision, b)
}

// apply is Apply for the holder of the lock. whole is the newest revision of
// which everything serves, once the bundle does.
func (e *Engine) apply(ctx context.Context, revision, whole uint64, b Bundle) (Verdict, error) {
	if p := e.Paused(); p != nil {
		return Verdict{}, fleet.Errorf(fleet.Paused, "%w", PausedError{*p})
	}
	began := time.Now()
	if e.serves(ctx, b) && e.untouched(ctx, revision) {
		return e.unchanged(revision, whole, b, began)
	}
	if !e.up() {
		if f := e.notOurs(ctx); f != nil {
			return Verdict{}, fleet.Errorf(f.kind, "%s", f.text)
		}
	}
	if q, held := e.quarantine.holds(e.trying(b)); held {
		return Verdict{}, q.refusal()
	}
	var steps Steps
	if err := e.makeDirs(); err != nil { // somebody may have removed them
		return Verdict{}, err
	}
	v, err := e.stage(revision, b)
	if err != nil {
		return Verdict{}, err
	}
	v.Manifest.Whole = whole
	steps.Stage = time.Since(began)
	probes := make(chan []probe, 1)
	changed := v.changedFrom(e.good)
	go func() { probes <- probesOf(v.files, changed) }() // beside nginx -t, which is another process
	err = e.check(ctx, v, b)
	steps.Test = time.Since(began) - steps.Stage
	if err == nil && ctx.Err() != nil {
		err = fleet.Errorf(fleet.Cancelled, "%s: called off before nginx was told: %w", v, context.Cause(ctx))
	}
	if err != nil {
		e.discard(v)
		return Verdict{}, e.condemn(b, revision, err)
	}
	asked := <-probes
	if err := e.activate(context.WithoutCancel(ctx), v, asked, &steps); err != nil {
		e.discard(v)
		return Verdict{}, e.condemn(b, revision, err)
	}
	if err := e.quarantine.remove(b.Digest); err != nil {
		e.log.Warn("the quarantine is not on disk", "error", err)
	}
	e.log.Info("nginx serves a new version", "revision", revision, "digest", Short(b.Digest), "took", time.Since(began))
	return Verdict{Changed: true, Revision: revision, Digest: b.Digest, Workers: v.Manifest.Workers, Probes: len(asked), Took: time.Since(began), Steps: steps, Notes: e.notes(b)}, nil
}

// serves compares the three digests: last good, linked, running.
func (e *Engine) serves(ctx context.Context, b Bundle) bool {
	v := e.good
	linked, err := os.Readlink(e.store.link)
	if err != nil || linked != filepath.Join(v.Dir, e.store.entry) || v.Manifest.Digest != b.Digest || v.Manifest.Local != e.local(b) {
		return false
	}
	said, err := e.generation(ctx)
	return err == nil && said == v.generation()
}

// unchanged records that the last good version stands for a newer revision too.
func (e *Engine) unchanged(revision, whole uint64, b Bundle, began time.Time) (Verdict, error) {
	v := e.good
	if v.Manifest.Revision != revision || v.Manifest.Whole != whole {
		v.Manifest.Revision, v.Manifest.Whole = revision, whole
		if err := e.record(v); err != nil {
			return Verdict{}, err
		}
		e.good = v
	}
	return Verdict{Revision: revision, Digest: v.Manifest.Digest, Workers: v.Manifest.Workers, Took: time.Since(began), Notes: e.notes(b)}, nil
}

// notes says which servers of a bundle are left out on this node, and why.
func (e *Engine) notes(b Bundle) []string { return e.sightOf(b.locals(), b.Policy()).notes() }

// activate commits a version, proves it, probes what changed and records it,
// or rolls it back.
func (e *Engine) activate(ctx context.Context, v version, probes []probe, steps *Steps) (err error) {
	old := e.workersNow()
	began := time.Now()
	exits, killed := e.control.exits.Load(), e.control.killed.Load()
	defer func() {
		if err != nil {
			e.spareTrial(exits, killed)
		}
	}()
	if err := e.reclaim(); err != nil {
		return &nodeFault{err}
	}
	if err := e.store.commit(v); err != nil {
		return &nodeFault{err}
	}
	steps.Commit = time.Since(began)
	began = time.Now()
	if f := e.load(ctx, v, old); f != nil {
		return e.rollBack(ctx, v, f)
	}
	steps.Prove = time.Since(began)
	began = time.Now()
	if f := e.ask(ctx, probes); f != nil {
		return e.rollBack(ctx, v, f)
	}
	steps.Probe = time.Since(began)
	if err := e.settle(v); err != nil {
		return e.rollBack(ctx, v, &failure{kind: fleet.Failed, text: err.Error(), node: true})
	}
	e.collectLater()
	return nil
}

// discard removes a version that did not come to serve.
func (e *Engine) discard(v version) {
	if err := e.store.discard(v); err != nil {
		e.log.Warn("a version of nginx's configuration stays", "version", v.Name, "error", err)
	}
}

func (e *Engine) workersNow() []worker {
	m := e.master.Load()
	if m == nil {
		return nil
	}
	all, _ := workersOf(m.PID)
	return all
}
