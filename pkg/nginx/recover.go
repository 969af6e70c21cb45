package nginx

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// recover brings the tree and nginx into agreement after whatever happened: a
// first start, a reboot, a kill -9 of the agent between any two lines.
//
//   - nginx runs what is linked: that was proven or only the record is missing;
//     it is proven now, and is the last good version.
//   - nginx runs the last good version and something else is linked: the agent
//     died before nginx was told; the link goes back.
//   - nginx answers neither: it reads the last good version again, and if that
//     does not help it is ended and started.
//   - nginx does not run: it starts with the last good version, on a new node
//     with one that serves nothing but the status socket.
func (e *Engine) recover(ctx context.Context) error {
	if e.store.takenOver() {
		e.setMaster(e.find())
		if err := e.putBack(ctx, &failure{}); err != nil {
			return err
		}
	}
	if e.store.foreign() {
		e.setMaster(e.find())
		return fleet.Errorf(fleet.Conflict, "%s is the host's own: it serves as it is until `fairlead adopt` has turned it into resources", e.cfg.link())
	}
	if err := e.store.ours(); err != nil {
		return err
	}
	good, err := e.store.good()
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			e.log.Error("the record of the last good version is lost", "error", err)
		}
		if good, err = e.base(); err != nil {
			return err
		}
	}
	e.good = good
	if master := e.find(); master != nil {
		e.setMaster(master)
		return e.adopt(ctx, good)
	}
	if err := e.backTo(good); err != nil {
		return err
	}
	if e.cfg.Manage == External {
		e.log.Info("waiting for nginx to be started", "pid_file", e.cfg.PidFile)
		return nil
	}
	return e.startGood(ctx)
}

// adoption is how long an nginx that was found has to prove what it answers.
// It may be in the middle of a reload that the agent did not live to see.
const adoption = 2 * time.Second

// adopt takes over a running nginx without touching it where that is possible.
func (e *Engine) adopt(ctx context.Context, good version) error {
	if e.store.foreign() {
		return nil
	}
	linked, err := e.store.linked()
	if err == nil && e.answers(ctx, linked.generation(), good.generation()) == linked.generation() {
		if linked.Name == good.Name {
			linked = good // with the revision of the record
		}
		e.control.drain()
		if f := e.proveWithin(ctx, adoption, linked); f == nil {
			e.log.Info("nginx adopted", "pid", e.master.Load().PID, "revision", linked.Manifest.Revision)
			return e.accept(linked)
		}
	}
	if err := e.backTo(good); err != nil {
		return err
	}
	e.control.drain()
	if e.answers(ctx, good.generation()) == good.generation() && e.proveWithin(ctx, adoption, good) == nil {
		e.log.Info("nginx adopted; a version that was not proven is undone", "pid", e.master.Load().PID, "revision", good.Manifest.Revision)
		return e.accept(good)
	}
	f := e.load(ctx, good, e.workersNow())
	if f == nil {
		e.log.Info("nginx adopted and reloaded", "revision", good.Manifest.Revision)
		return e.accept(good)
	}
	if e.cfg.Manage == External {
		if e.cfg.including() {
			return fleet.Errorf(f.kind, "nginx does not read %s: write this line into http { } of %s, and reload nginx: %s\n%s",
				e.cfg.link(), e.cfg.HostConf, e.includeLines()[0], f.text)
		}
		return fleet.Errorf(f.kind, "nginx runs, but not from %s: %s", e.cfg.link(), f.text)
	}
	e.log.Error("the nginx that was found does not serve; it is started anew", "reason", f.text)
	e.end(ctx, 0)
	return e.startGood(ctx)
}

// proveWithin proves a version that nginx is thought to serve already.
func (e *Engine) proveWithin(ctx context.Context, d time.Duration, v version) *failure {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return e.prove(ctx, v, nil)
}

// startGood starts nginx with the last good version.
func (e *Engine) startGood(ctx context.Context) error {
	if f := e.start(ctx, e.good); f != nil {
		return fleet.Errorf(f.kind, "start nginx with %s: %s", e.good, f.text)
	}
	return e.accept(e.good)
}

// accept records a version that was just proven. One that cannot be recorded,
// on a full disk, serves all the same.
func (e *Engine) accept(v version) error {
	err := e.store.setGood(v)
	e.proven(v)
	return err
}

// backTo links a version unless it is linked already. It never takes the place
// of the host's own configuration, for which Apply alone is permitted.
func (e *Engine) backTo(v version) error {
	if e.store.foreign() {
		return fleet.Errorf(fleet.Conflict, "%s is the host's own", e.cfg.link())
	}
	if linked, err := e.store.linked(); err == nil && linked.Name == v.Name {
		return nil
	}
	return e.store.commit(v)
}

// answers waits, for as long as a reload under way may take, until nginx
// answers with one of the generations; "" when it does not.
func (e *Engine) answers(ctx context.Context, generations ...string) string {
	ctx, cancel := context.WithTimeout(ctx, bindRetries+e.parse)
	defer cancel()
	for {
		if said, err := e.generation(ctx); err == nil {
			for _, g := range generations {
				if g == said {
					return g
				}
			}
			if len(generations) == 1 {
				return ""
			}
		}
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(glance):
		}
	}
}

// find looks for the running master: the process that the pid file names, or,
// where it has not written one yet, any that was started as the engine does.
func (e *Engine) find() *host.Process {
	if p := e.verify(e.pidFile()); p != nil || e.cfg.Manage == External {
		return p
	}
	pids, _ := host.Processes()
	for _, pid := range pids {
		if p := e.verify(pid); p != nil {
			return p
		}
	}
	return nil
}

// verify opens a process and makes sure that it is the master of this nginx:
// its executable, its title, and for one that the engine remembers its start
// time too. nil when it is not.
func (e *Engine) verify(pid int) *host.Process {
	if pid <= 0 {
		return nil
	}
	p, err := host.OpenProcess(pid)
	if err != nil {
		return nil
	}
	exe, err1 := host.Executable(pid)
	title, err2 := host.Title(pid)
	ours := err1 == nil && err2 == nil && exe == e.binary && e.isMaster(title)
	if b, ok := e.remembered(); ok && b.PID == pid && b.Started != p.Started {
		ours = false // the pid was used again
	}
	if !ours || !p.Alive() {
		p.Close()
		return nil
	}
	return p
}

// isMaster reads a title: "nginx: master process /usr/sbin/nginx -p … -c …",
// or the bare command line while nginx has not set one yet.
func (e *Engine) isMaster(title string) bool {
	if strings.HasPrefix(title, "nginx: worker") || strings.HasPrefix(title, "nginx: cache") {
		return false
	}
	if e.cfg.Manage == External {
		return strings.HasPrefix(title, "nginx: master process")
	}
	return strings.Contains(title+" ", " -c "+e.cfg.link()+" ") && !strings.Contains(title, " -t ")
}
