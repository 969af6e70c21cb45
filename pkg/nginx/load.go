package nginx

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// load makes nginx read the linked version v, by a signal or by starting it,
// and proves it. Workers in old must be gone then.
func (e *Engine) load(ctx context.Context, v version, old []worker) *failure {
	if !e.up() {
		if f := e.notOurs(ctx); f != nil {
			return f
		}
		return e.start(ctx, v)
	}
	if e.socketLost() {
		if err := e.bindAgain(ctx, v); err != nil {
			return &failure{kind: fleet.Failed, text: "nginx's status socket was gone: " + err.Error(), node: true}
		}
		old = e.workersNow()
	}
	e.control.drain()
	e.reads()
	before := past{workers: old, reads: e.control.reads.Load() + 1}
	if err := e.hangUp(); err != nil {
		return &failure{kind: fleet.Failed, text: err.Error(), node: true}
	}
	return e.prove(ctx, v, before)
}

// notOurs is why an nginx that does not run is not this engine's to start.
func (e *Engine) notOurs(ctx context.Context) *failure {
	switch {
	case e.cfg.Manage == External:
		return &failure{kind: fleet.Unavailable, text: "nginx does not run, and it is not this agent's to start"}
	case e.cfg.Manage == Systemd && !e.ended:
		u, err := e.unit(ctx)
		if err != nil {
			return &failure{kind: fleet.Unavailable, text: err.Error()}
		}
		if why := u.mayStart(e.cfg.Unit); why != "" {
			return &failure{kind: fleet.Unavailable, text: "nginx does not run: " + why}
		}
	}
	return nil
}

// hangUp sends SIGHUP to the master, once its pid file says that it is past
// the point until which the signal would kill it: nginx writes the file after
// it has installed its handlers.
func (e *Engine) hangUp() error {
	master := e.master.Load()
	pid := e.pidFile()
	if pid == 0 { // somebody removed it: a master that has its handlers is past that point too
		if a, err := host.ReadActivity(master.PID); err == nil && a.Catches(syscall.SIGHUP) {
			pid = master.PID
		}
	}
	if pid != master.PID {
		return fmt.Errorf("%s names process %d, but nginx is process %d", e.cfg.PidFile, pid, master.PID)
	}
	return master.Signal(syscall.SIGHUP)
}

// pidFile is the pid that nginx wrote, 0 when there is none. nginx -t leaves
// an empty file where there was none.
func (e *Engine) pidFile() int {
	data, err := os.ReadFile(e.cfg.PidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// Reload has nginx read its configuration again and proves that all workers
// are new. A reload that was interrupted and is tried again (resumed) did its
// work already when all workers are newer than since, the BootClock of its
// first start; Changed is false then.
func (e *Engine) Reload(ctx context.Context, resumed bool, since time.Duration) (Verdict, error) {
	unlock, err := e.enter(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer unlock()
	began := time.Now()
	v, err := e.store.linked()
	if err != nil {
		return Verdict{}, fleet.Errorf(fleet.Failed, "reload: %w", err)
	}
	if !e.up() {
		return Verdict{}, fleet.Errorf(fleet.Unavailable, "reload: nginx does not run")
	}
	verdict := Verdict{Changed: true, Revision: e.good.Manifest.Revision, Digest: v.Manifest.Digest, Workers: v.Manifest.Workers}
	old := e.workersNow()
	if resumed && newerThan(old, since) {
		verdict.Changed = false // proven to serve, below, without another signal
		e.control.drain()
		if f := e.prove(context.WithoutCancel(ctx), v, past{}); f != nil {
			return Verdict{}, fleet.Errorf(f.kind, "reload: %s", f.text)
		}
	} else if f := e.load(context.WithoutCancel(ctx), v, old); f != nil {
		return Verdict{}, fleet.Errorf(f.kind, "reload: %s", f.text)
	}
	e.loadedNow(e.good)
	verdict.Took = time.Since(began)
	verdict.Steps.Prove = verdict.Took
	e.log.Info("nginx reloaded", "workers", verdict.Workers, "took", verdict.Took)
	return verdict, nil
}
