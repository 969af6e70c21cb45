package nginx

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/health"
)

const (
	// askAgain is how often names are resolved again, with a jitter on top.
	askAgain = 30 * time.Second
	// settle is how long changes gather until they become one reload.
	settle = 200 * time.Millisecond
	// reloads may be so many in a row, and then one in each of these times:
	// each makes old workers that drain.
	reloadsInARow = 3
	reloadTime    = 10 * time.Second
	// secondTry is when a view that nginx refused is tried again.
	secondTry = 5 * time.Minute
)

// care is what an engine does between applies: it checks servers and resolves
// names, and has nginx use what it found.
type care struct {
	names   *names
	monitor *health.Monitor
	nudge   chan struct{} // something may have changed
	again   chan struct{} // resolve now

	mu     sync.Mutex
	good   map[string]local // of the version that serves
	policy fleet.NodePolicy

	// Of the goroutine of attend alone.
	told      map[[2]string]health.Server // failing servers that were told of
	refused   string                      // hash of a view that nginx refused
	refusedAt time.Time
}

func newCare(cfg Config) *care {
	return &care{
		names:   newNames(filepath.Join(cfg.State, "names.json"), cfg.Logger),
		monitor: health.New(filepath.Join(cfg.State, "servers.json"), cfg.Logger),
		nudge:   make(chan struct{}, 1), again: make(chan struct{}, 1),
		told: map[[2]string]health.Server{},
	}
}

// watch takes over what a version that serves says; called with the lock.
func (e *Engine) watch(v version) {
	data, _ := os.ReadFile(filepath.Join(v.Dir, upstreamsFile)) // most versions have none
	c := e.care
	c.mu.Lock()
	c.good, c.policy = parseLocals(data), v.policy()
	c.mu.Unlock()
	c.monitor.Watch(e.sightOf(c.watched()).targets())
}

func (c *care) watched() (map[string]local, fleet.NodePolicy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good, c.policy
}

// sightOf is what is known now of some upstreams.
func (e *Engine) sightOf(upstreams map[string]local, p fleet.NodePolicy) sight {
	s := sight{upstreams: upstreams, bounds: egressOf(&p), answer: e.care.names.of, down: map[[2]string]bool{}}
	for _, f := range e.care.monitor.Failing() {
		if f.Down {
			s.down[[2]string{f.Group, f.Address}] = true
		}
	}
	return s
}

// attend works until ctx ends: names on their timer, servers by their own
// checks, and what came of it as one change of nginx.
func (e *Engine) attend(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { e.care.monitor.Run(ctx) })
	tasks.Go(func() { e.resolveAgain(ctx) })
	for _, f := range e.care.monitor.Failing() { // told before the restart
		e.care.told[[2]string{f.Group, f.Address}] = f
	}
	b := budget{tokens: reloadsInARow, at: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.care.monitor.Changed():
		case <-e.care.nudge:
		}
		if !pause(ctx, max(settle, b.wait(time.Now()))) {
			return
		}
		changed, err := e.refresh(ctx)
		if changed {
			b.spend(time.Now())
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("what was found out about servers does not take effect", "error", err)
		}
		e.tellServers()
	}
}

// resolveAgain asks for the names of the version that serves.
func (e *Engine) resolveAgain(ctx context.Context) {
	for wait := time.Duration(0); ; wait = askAgain + rand.N(askAgain/5) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.care.again:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
		upstreams, p := e.care.watched()
		if len(upstreams) == 0 {
			continue
		}
		if all := namesIn(upstreams); len(all) > 0 {
			e.care.names.look(ctx, p.Resolvers, all, 0)
			e.care.names.forget(all)
		}
		select {
		case e.care.nudge <- struct{}{}:
		default:
		}
	}
}

// refresh stages the version that serves anew where this node sees its servers
// otherwise by now, and has nginx load it like any other change: tested,
// proven, rolled back. The digest stays the same; what is filled in does not.
func (e *Engine) refresh(ctx context.Context) (changed bool, err error) {
	unlock, err := e.enter(ctx)
	if err != nil {
		return false, nil // it does not run; the next one that does sees it all
	}
	defer unlock()
	s := e.sightOf(e.care.watched())
	e.care.monitor.Watch(s.targets())
	if e.Paused() != nil || e.Drift().Now() {
		return false, nil // left as it is; the end of that comes back here
	}
	linked, err := e.store.linked()
	if err != nil || linked.Name != e.good.Name || !e.up() || !e.good.differs(s.texts()) {
		return false, nil
	}
	b, err := e.good.bundle()
	if err != nil {
		return false, err
	}
	l, err := e.localsOf(b)
	if err != nil || l.hash == e.good.Manifest.Local || l.hash == e.care.refused && time.Since(e.care.refusedAt) < secondTry {
		return false, err
	}
	began := time.Now()
	v, err := e.stageWith(e.good.Manifest.Revision, b, l)
	if err != nil {
		return false, err
	}
	if err = e.check(ctx, v, b); err == nil {
		err = e.activate(context.WithoutCancel(ctx), v, nil, new(Steps))
	}
	if err != nil {
		e.discard(v)
		e.care.refused, e.care.refusedAt = l.hash, time.Now()
		return true, err
	}
	e.log.Info("nginx uses its servers as they are now", "revision", v.Manifest.Revision, "local", Short(l.hash), "took", time.Since(began))
	return true, nil
}

// differs says whether texts are not those of the version as it was staged.
func (v version) differs(texts map[string]string) bool {
	for _, f := range v.Manifest.apart() {
		if text, ours := texts[f.Path]; ours {
			if hashOfBytes([]byte(text)) != f.SHA256 {
				return true
			}
		}
	}
	return false
}

// tellServers tells of the servers that began to fail and those that are well.
func (e *Engine) tellServers() {
	now := map[[2]string]health.Server{}
	for _, f := range e.care.monitor.Failing() {
		k := [2]string{f.Group, f.Address}
		now[k] = f
		was, known := e.care.told[k]
		switch {
		case !known && f.Down:
			e.tell(EventServerDown, "Upstream/%s: %s takes no more requests: %s", f.Group, f.Address, f.Reason)
		case !f.Down && (!known || was.Down):
			e.tell(EventServerDown, "Upstream/%s: %s fails, as all servers do: requests go on to all of them: %s", f.Group, f.Address, f.Reason)
		}
	}
	for k, f := range e.care.told {
		if _, fails := now[k]; !fails {
			e.tell(EventServerUp, "Upstream/%s: %s takes requests again; it failed for %v", f.Group, f.Address, time.Since(f.Since).Round(time.Second))
		}
	}
	e.care.told = now
}

// mostServers is how many servers a Status tells of: it travels in each
// health report.
const mostServers = 100

// servers are those that are not used as written, the failing ones first.
func (e *Engine) servers() []ServerStatus {
	var all []ServerStatus
	for _, f := range e.care.monitor.Failing() {
		one := ServerStatus{Upstream: f.Group, Server: f.Address, Address: f.Address, State: ServerDown, Since: f.Since, Message: f.Reason}
		if !f.Down {
			one.State, one.Message = ServerPanic, fmt.Sprintf("%s; all servers fail, so requests go on to all of them", f.Reason)
		}
		all = append(all, one)
	}
	all = append(all, e.sightOf(e.care.watched()).troubles()...)
	return all[:min(len(all), mostServers)]
}

// budget bounds how often something is done: some in a row, then one at a time.
type budget struct {
	tokens float64
	at     time.Time
}

// wait is how long it takes until the next one may be.
func (b *budget) wait(now time.Time) time.Duration {
	b.tokens = min(reloadsInARow, b.tokens+now.Sub(b.at).Seconds()/reloadTime.Seconds())
	b.at = now
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - b.tokens) * float64(reloadTime))
}

func (b *budget) spend(now time.Time) {
	b.wait(now)
	b.tokens--
}
