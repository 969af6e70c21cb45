package nginx

import (
	"context"

	"fairlead/pkg/fleet"
)

// rollBack brings the last good version back and proves it; the error says
// what nginx had against the new one, and whether the old one serves.
func (e *Engine) rollBack(ctx context.Context, v version, why *failure) error {
	err := withOwners(e.takeBack(ctx, v, why), why.owners)
	if why.node {
		err = &nodeFault{err}
	}
	return err
}

func (e *Engine) takeBack(ctx context.Context, v version, why *failure) error {
	why.text = v.Manifest.ownLines(why.text)
	good := e.behind(v)
	if t := e.trial.Load(); t != nil && good.Name == t.fallback.Name {
		e.good = good
		e.endTrial()
	}
	e.log.Warn("a version of nginx's configuration failed", "revision", v.Manifest.Revision, "digest", Short(v.Manifest.Digest), "reason", why.text, "back_to", good.Manifest.Revision)
	if good.Name == "" {
		if err := e.putBack(ctx, why); err != nil {
			return fleet.Errorf(why.kind, "%s: %s\nand %w", v, why.text, err)
		}
		return fleet.Errorf(why.kind, "%s: %s\nthe host's own configuration serves again", v, why.text)
	}
	e.tidy(true)
	if err := e.store.commit(good); err != nil {
		return fleet.Errorf(why.kind, "%s: %s\nand the last good version could not be linked again: %w", v, why.text, err)
	}
	if f := e.restore(ctx, good, why); f != nil {
		return fleet.Errorf(why.kind, "%s: %s\nand %s does not serve again: %s", v, why.text, good, f.text)
	}
	e.proven(good)
	e.tell(EventRolledBack, "%s: %s; %s serves again", v, why.text, good)
	return fleet.Errorf(why.kind, "%s: %s\n%s serves again", v, why.text, good)
}

// restore proves the last good version, without a reload where nginx never
// left it: keepalive connections survive then.
func (e *Engine) restore(ctx context.Context, good version, why *failure) *failure {
	if why.refused && e.up() {
		e.control.drain()
		if f := e.prove(ctx, good, past{}); f == nil {
			return nil
		}
	}
	f := e.load(ctx, good, e.workersNow())
	if f == nil || !e.mayEnd() || e.up() && !e.hangs(ctx) {
		return f
	}
	e.anew(ctx, "nginx died or hung over a change")
	if !e.up() || e.good.Name != good.Name { // or an older one serves
		return f
	}
	return nil
}
