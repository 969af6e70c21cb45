package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"fairlead/pkg/host"
)

// How many looks in a row must find the same before anything is done about it.
const (
	stoppedLooks = 2 // a process stopped by a signal
	missingLooks = 2 // no status socket to connect to
	fewLooks     = 3 // workers are missing
	silentLooks  = 5 // the status socket does not answer in time
)

// watch looks at a living nginx every few seconds. nginx can be alive and no
// good: its master stuck in a system call, deaf to all but KILL, while workers
// serve on; processes stopped; workers gone or hanging; its status socket
// removed. One look proves nothing on a busy machine: several must agree, and
// none counts that came late itself or in the middle of a change.
type watch struct {
	engine *Engine
	master *host.Process
	at     time.Time // end of the last look

	last      host.Activity
	deaf      time.Time // since when the master lets signals wait; zero when it does not
	idle      time.Time // since when it does, and uses no processor
	stopped   int
	halted    int // workers are
	few       int
	silent    int
	missing   int
	told      bool // of what may not be helped here
	outdated  bool // was told
	looks     int
	rest      time.Time     // no other help before this
	restDelay time.Duration // doubles with each help
}

// until looks until the master has ended, or another has taken its place.
func (w *watch) until(ctx context.Context, master *host.Process) {
	*w = watch{engine: w.engine, master: master, rest: w.rest, restDelay: w.restDelay}
	waiting, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = master.Wait(waiting) // an error other than that of ctx: somebody else replaced it
	}()
	defer func() {
		cancel()
		<-ended
	}()
	ticker := time.NewTicker(w.engine.cfg.LookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look(ctx)
		}
	}
}

// look is one look, when nothing else is being done to nginx.
func (w *watch) look(ctx context.Context) {
	e := w.engine
	select {
	case e.lock <- struct{}{}:
		defer func() { <-e.lock }()
	default:
		w.forget() // a change is under way, and has a deadline of its own
		return
	}
	late := !w.at.IsZero() && time.Since(w.at) > 3*e.cfg.LookEvery+time.Second
	defer func() { w.at = time.Now() }()
	ctx = context.WithoutCancel(ctx) // what has begun is ended
	if e.good.Name == "" {
		return // it serves the host's own configuration, which is nothing of ours
	}
	if e.stopped || e.unknown || e.master.Load() != w.master || !w.master.Alive() {
		return
	}
	if late { // this machine is too busy, or was asleep: nobody is to be judged
		w.forget()
		return
	}
	if w.wellMaster(ctx) && w.wellWorkers(ctx) && w.wellSocket(ctx) {
		if time.Now().After(w.rest.Add(healthy)) {
			w.restDelay = 0
		}
		e.retry(ctx)
		w.tellOutdated()
		w.rotate()
	}
}

// tellOutdated tells once that nginx's executable was replaced under it.
func (w *watch) tellOutdated() {
	if w.outdated || !host.Replaced(w.master.PID) {
		return
	}
	w.outdated = true
	w.engine.tell(EventOutdated, "%s was replaced on disk: process %d runs the old one until nginx is started anew", w.engine.binary, w.master.PID)
}

// forget begins anew with counting.
func (w *watch) forget() {
	*w = watch{engine: w.engine, master: w.master, at: w.at, told: w.told, outdated: w.outdated, looks: w.looks, rest: w.rest, restDelay: w.restDelay}
}

// wellMaster makes sure that the master is not stopped and takes signals. It
// sleeps in sigsuspend with no signal blocked; while it reads a configuration
// it blocks them. One that blocks them and uses no processor for longer than
// anything may take hangs: opening a FIFO, or on a file system that is gone.
func (w *watch) wellMaster(ctx context.Context) bool {
	e, now := w.engine, time.Now()
	a, err := host.ReadActivity(w.master.PID)
	if err != nil {
		return false // it has just ended
	}
	worked := a.CPU > w.last.CPU
	w.last = a
	if a.State == 'T' {
		if w.stopped++; w.stopped >= stoppedLooks {
			w.resume([]int{w.master.PID}, "the master process")
		}
		return false
	}
	w.stopped = 0
	if !a.Blocks(syscall.SIGHUP) || a.State == 't' {
		w.deaf, w.idle, w.told = time.Time{}, time.Time{}, false
		return a.State != 't'
	}
	if w.deaf.IsZero() {
		w.deaf, w.idle = now, now
	}
	if worked {
		w.idle = now
	}
	limit := max(e.cfg.Patience, e.deadline())
	if now.Sub(w.idle) < limit && now.Sub(w.deaf) < 10*limit {
		return false
	}
	what := fmt.Sprintf("nginx (master process %d) hung: for %v it took no signal", w.master.PID, now.Sub(w.deaf).Round(time.Second))
	if !e.mayEnd() {
		if !w.told {
			w.told = true
			e.tell(EventWedged, "%s; its workers serve on, and no change takes effect until whoever started it starts it anew", what)
		}
		return false
	}
	if !e.ending(ctx) {
		e.anew(ctx, what)
	}
	return false
}

// wellWorkers makes sure that there are as many workers as there should be and
// that none is stopped.
func (w *watch) wellWorkers(ctx context.Context) bool {
	e := w.engine
	all, err := workersOf(w.master.PID)
	if err != nil {
		return false
	}
	var stopped []int
	active := 0
	for _, p := range all {
		if a, err := host.ReadActivity(p.PID); err == nil && a.State == 'T' {
			stopped = append(stopped, p.PID)
		}
		if !p.draining {
			active++
		}
	}
	if len(stopped) > 0 {
		if w.halted++; w.halted >= stoppedLooks {
			w.resume(stopped, "workers")
		}
		return false
	}
	w.halted = 0
	linked, err := e.store.linked()
	if err != nil || active >= linked.Manifest.Workers || linked.Name != e.good.Name {
		w.few = 0
		return true
	}
	if w.few++; w.few >= fewLooks {
		w.few = 0
		w.help(ctx, fmt.Sprintf("nginx had %d of %d workers", active, linked.Manifest.Workers))
	}
	return false
}

// wellSocket makes sure that workers answer.
func (w *watch) wellSocket(ctx context.Context) bool {
	e := w.engine
	if err := e.listenAgain(); err != nil {
		e.log.Warn("nginx's control log is not heard", "error", err)
	}
	_, err := e.running(ctx)
	switch {
	case err == nil:
		w.silent, w.missing = 0, 0
		return true
	case ctx.Err() != nil:
		return false
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		if w.missing++; w.missing >= missingLooks && w.rested() {
			w.missing = 0
			e.rebind(ctx)
		}
		return false
	}
	if w.silent++; w.silent >= silentLooks {
		w.silent = 0
		w.help(ctx, fmt.Sprintf("nginx did not answer on its status socket, %d times in a row (%v)", silentLooks, err))
	}
	return false
}

// rested says whether enough time has passed since the last help, and begins
// the next, longer rest if so.
func (w *watch) rested() bool {
	if time.Now().Before(w.rest) {
		return false
	}
	w.restDelay = min(max(2*w.restDelay, time.Second), 5*time.Minute)
	w.rest = time.Now().Add(w.restDelay)
	return true
}

// help gives nginx new workers, and where that does not help and the engine
// may, a new master.
func (w *watch) help(ctx context.Context, what string) {
	e := w.engine
	if e.ending(ctx) || !w.rested() {
		return
	}
	e.log.Error("nginx is not well", "what", what)
	began := time.Now()
	err := e.backTo(e.good)
	if err == nil {
		f := e.load(ctx, e.good, e.workersNow())
		if f == nil {
			e.helped(what+"; reloaded", time.Since(began))
			return
		}
		err = f
	}
	if e.mayEnd() && !e.ending(ctx) {
		e.anew(ctx, fmt.Sprintf("%s, and a reload did not help (%s)", what, firstLine(err.Error())))
	}
}

// resume lets processes of nginx go on that a signal has stopped.
func (w *watch) resume(pids []int, what string) {
	w.stopped, w.halted = 0, 0
	for _, pid := range pids {
		p, err := host.OpenProcess(pid)
		if err != nil {
			continue
		}
		if a, err := host.ReadActivity(pid); err == nil && (pid == w.master.PID || a.Parent == w.master.PID) {
			_ = p.Signal(syscall.SIGCONT)
		}
		p.Close()
	}
	w.engine.helped(fmt.Sprintf("%s of nginx %v had been stopped by a signal; told to go on", what, pids), 0)
}

// hangs says whether the master lets signals wait and does no work, at ten
// looks within a fifth of a second; for who has waited for it long enough.
func (e *Engine) hangs(ctx context.Context) bool {
	var first host.Activity
	for i := range 10 {
		a, err := host.ReadActivity(e.master.Load().PID)
		if i == 0 {
			first = a
		}
		if err != nil || a.State != 'T' && !a.Blocks(syscall.SIGHUP) || a.CPU != first.CPU || !pause(ctx, 20*time.Millisecond) {
			return false
		}
	}
	return true
}

// mayEnd says whether the engine may end nginx: where it can have it started again.
func (e *Engine) mayEnd() bool { return e.cfg.Manage != External }

// anew ends an nginx that is beyond help and has it started again. Its workers
// serve until the last moment, so it is down for as long as a start takes.
func (e *Engine) anew(ctx context.Context, what string) {
	if e.good.unusable() != "" && !slices.ContainsFunc(e.store.earlier(), version.serving) {
		e.log.Error("nginx is not well, and is left as it is, since nothing is on disk that it could be started with", "what", what)
		return
	}
	e.log.Error("nginx is ended and started anew", "what", what)
	e.makeWhole()
	e.endMaster(ctx, 0)
	e.trouble.begin(what)
	e.setMaster(nil)
	e.endOrphans(context.WithoutCancel(ctx))
	if err := e.startBest(ctx); err != nil && ctx.Err() == nil {
		e.stillDown(err)
	}
}
