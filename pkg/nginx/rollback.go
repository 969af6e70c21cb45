package nginx

import (
	"context"
	"fmt"

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

// takeBack goes back to what served before; where that was on trial and does
// not serve again, to the last good version.
func (e *Engine) takeBack(ctx context.Context, v version, why *failure) error {
	why.text = v.Manifest.ownLines(why.text)
	t, good := e.trial.Load(), e.behind(v)
	if t != nil && v.Name == t.Version {
		e.good = good
		e.endTrial()
		t = nil
	}
	e.log.Warn("a version of nginx's configuration failed", "revision", v.Manifest.Revision, "digest", Short(v.Manifest.Digest), "reason", why.text, "back_to", good.Manifest.Revision)
	if good.Name == "" {
		if err := e.putBack(ctx, why); err != nil {
			return fleet.Errorf(why.kind, "%s: %s\nand %w", v, why.text, err)
		}
		return fleet.Errorf(why.kind, "%s: %s\nthe host's own configuration serves again", v, why.text)
	}
	e.tidy(true)
	err := e.linkAgain(ctx, good, why)
	if err != nil && t != nil && good.Name == t.Version {
		why.text += fmt.Sprintf("\nand %s, which was baking, does not serve again: %v", good, err)
		good = t.fallback
		e.good = good
		e.endTrial()
		err = e.linkAgain(ctx, good, why)
	}
	if err != nil {
		return fleet.Errorf(why.kind, "%s: %s\nand %s does not serve again: %w", v, why.text, good, err)
	}
	e.proven(good)
	e.tell(EventRolledBack, "%s: %s; %s serves again", v, why.text, good)
	return fleet.Errorf(why.kind, "%s: %s\n%s serves again", v, why.text, good)
}

// linkAgain links a version that served before, and has nginx serve it.
func (e *Engine) linkAgain(ctx context.Context, v version, why *failure) error {
	if err := e.store.commit(v); err != nil {
		return err
	}
	if f := e.restore(ctx, v, why); f != nil {
		return f
	}
	return nil
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
