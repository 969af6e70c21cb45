package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// recover brings the tree and nginx into agreement after whatever happened: a
// first start, a reboot, a kill -9 of the agent between any two lines.
//
//   - nginx runs what is linked: that was proven or only the record is missing;
//     it is proven now, and is the last good version. Where the record is
//     missing, the hosts that changed are probed and its trial begins.
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
	if foreign := e.store.ours(); foreign != nil {
		good, err := e.store.good()
		if err != nil {
			return foreign
		}
		if e.good = good; e.respects(ctx, good) {
			return nil
		}
		if err := e.reclaim(); err != nil {
			return err
		}
	}
	good, err := e.lastGood()
	if err != nil {
		return err
	}
	e.good = good
	if master := e.find(); master != nil {
		e.setMaster(master)
		return e.adopt(ctx, good)
	}
	return e.resume(ctx, good)
}

// resume starts nginx, which does not run: with the version whose trial the end
// of nginx cut short, else with the last good one.
func (e *Engine) resume(ctx context.Context, good version) error {
	if t := e.savedTrial(); t != nil && e.cfg.Manage == Child && e.startTrial(ctx, t) {
		return nil
	}
	if err := e.backTo(good); err != nil {
		return err
	}
	if e.cfg.Manage == External {
		e.log.Info("waiting for nginx to be started", "pid_file", e.cfg.PidFile)
		return nil
	}
	return e.bringBack(ctx)
}

// lastGood is the version that the record names; where that is lost, the one
// that is linked, or the newest that was proven before; on a new node one that
// serves nothing but the status socket.
func (e *Engine) lastGood() (version, error) {
	good, err := e.store.good()
	if err == nil {
		return good, nil
	}
	if !errors.Is(err, os.ErrNotExist) || len(e.store.onDisk()) > 0 {
		e.log.Error("the record of the last good version is lost", "error", err)
	}
	if linked, err := e.store.linked(); err == nil && linked.unusable() == "" {
		return linked, nil
	}
	if earlier := e.store.earlier(); len(earlier) > 0 {
		return earlier[0], nil
	}
	return e.base()
}

// adoption is how long an nginx that was found has to prove what it answers.
// It may be in the middle of a reload that the agent did not live to see.
const adoption = 2 * time.Second

// adopt takes over a running nginx without touching it where that is possible.
func (e *Engine) adopt(ctx context.Context, good version) error {
	ctx = context.WithoutCancel(ctx) // an agent that is told to stop now has no reason to doubt nginx
	if e.store.foreign() {
		return nil
	}
	var unfit *failure // of what is linked
	linked, err := e.store.linked()
	if err == nil && !e.failed(linked) && e.answers(ctx, linked.generation(), good.generation()) == linked.generation() {
		if linked.Name == good.Name {
			linked = good // with the revision of the record
		}
		e.control.drain()
		if e.proveWithin(ctx, adoption, linked) == nil {
			if unfit = e.finish(ctx, linked, good); unfit == nil {
				e.log.Info("nginx adopted", "pid", e.master.Load().PID, "revision", linked.Manifest.Revision)
				return nil
			}
		}
	}
	if unfit == nil && !good.serving() && e.starts() && e.foreign(ctx, good) {
		e.log.Error("nginx serves what is not on disk any more; it is left as it is until a version is applied", "pid", e.master.Load().PID)
		e.unknown = true
		return nil
	}
	if unfit == nil && !e.up() {
		e.setMaster(nil) // it ended while it was looked at
		return e.resume(ctx, good)
	}
	if err := e.backTo(good); err != nil {
		return err
	}
	e.control.drain()
	if e.answers(ctx, good.generation()) == good.generation() && e.proveWithin(ctx, adoption, good) == nil {
		e.log.Info("nginx adopted; a version that was not proven is undone", "pid", e.master.Load().PID, "revision", good.Manifest.Revision)
		e.take(good)
		return nil
	}
	f := e.load(ctx, good, e.workersNow())
	if f == nil {
		e.log.Info("nginx adopted and reloaded", "revision", good.Manifest.Revision)
		e.take(good)
		return nil
	}
	if v, ok := e.runs(ctx); ok { // what it had; a signal that it does not take yet costs nothing
		return e.keepWith(v, good, f)
	}
	if e.cfg.Manage == External {
		if e.cfg.including() {
			return fleet.Errorf(f.kind, "nginx does not read %s: write this line into http { } of %s, and reload nginx: %s\n%s",
				e.cfg.link(), e.cfg.HostConf, e.includeLines()[0], f.text)
		}
		return fleet.Errorf(f.kind, "nginx runs, but not from %s: %s", e.cfg.link(), f.text)
	}
	e.log.Error("the nginx that was found does not serve; it is started anew", "reason", f.text)
	e.trouble.begin("the nginx that was found did not serve: " + firstLine(f.text))
	e.end(ctx, 0)
	return e.startBest(ctx)
}

// foreign says whether nginx, which was started from the link, serves anything
// else than a version, or cannot be asked although it has workers.
func (e *Engine) foreign(ctx context.Context, v version) bool {
	digest, err := e.running(ctx)
	return err != nil && len(e.workersNow()) > 0 || err == nil && digest != v.Manifest.Digest
}

// runs is the version on disk that nginx runs and proves, while it takes signals.
func (e *Engine) runs(ctx context.Context) (version, bool) {
	master := e.master.Load()
	if a, err := host.ReadActivity(master.PID); err != nil || a.Blocks(syscall.SIGHUP) || a.State == 'T' {
		return version{}, false
	}
	digest, err := e.running(ctx)
	if err != nil {
		return version{}, false
	}
	for _, name := range e.store.onDisk() {
		v, err := readVersion(filepath.Join(e.store.versions(), name))
		if err != nil || v.Manifest.Digest != digest || v.unusable() != "" {
			continue
		}
		e.control.drain()
		if e.proveWithin(ctx, adoption, v) == nil {
			return v, true
		}
	}
	return version{}, false
}

// keepWith goes on with a version that nginx runs in place of the last good
// one, which it does not load.
func (e *Engine) keepWith(v, good version, f *failure) error {
	if err := e.backTo(v); err != nil {
		return err
	}
	e.wanted = want{version: good, instead: v.Name, delay: firstRetry, at: time.Now().Add(firstRetry)}
	e.log.Error("nginx goes on with an older version", "version", v.Name, "in_place_of", good.Name, "reason", f.text)
	e.take(v)
	return nil
}

// proveWithin proves a version that nginx is thought to serve already.
func (e *Engine) proveWithin(ctx context.Context, d time.Duration, v version) *failure {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return e.prove(ctx, v, past{})
}

// failed says whether a version was found not to serve.
func (e *Engine) failed(v version) bool {
	_, held := e.quarantine.holds(v.tried())
	return held && v.Name != e.good.Name
}

// accept records a version that was just proven, or goes on with its trial. One that cannot be recorded,
// on a full disk, serves all the same.
func (e *Engine) accept(v version) (err error) {
	if t := e.savedTrial(); e.trial.Load() == nil && t != nil && t.Version == v.Name {
		e.beginTrial(t)
		err = e.saveTrial(t)
	} else {
		err = e.record(v)
	}
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
	if err := e.reclaim(); err != nil {
		return err
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
	if e.cfg.Manage == Systemd {
		u, _ := e.unit(context.Background())
		return e.verify(u.main)
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
	title, err := host.Title(pid)
	b, known := e.remembered()
	known = known && b.PID == pid
	same := known && b.Started == p.Started // whatever it runs: --nginx-binary may have changed since
	ours := err == nil && e.isMaster(title) && (same || !known && e.isNginx(pid))
	if !ours || !p.Alive() {
		p.Close()
		return nil
	}
	return p
}

// isNginx says whether a process runs the engine's executable: the one at its
// path, one that lay there until a package was upgraded, the same file by
// another path, or, in a container, which has paths of its own, one of the
// same name.
func (e *Engine) isNginx(pid int) bool {
	exe, err := host.Executable(pid)
	if err != nil {
		return false
	}
	if exe == e.binary {
		return true
	}
	if e.cfg.Manage != External {
		return false
	}
	its, err1 := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	own, err2 := os.Stat(e.binary)
	if err1 == nil && err2 == nil && os.SameFile(its, own) {
		return true
	}
	same, err := host.SameMounts(pid)
	return err == nil && !same && filepath.Base(exe) == filepath.Base(e.binary)
}

// isMaster reads a title: "nginx: master process /usr/sbin/nginx -p … -c …",
// or the bare command line while nginx has not set one yet.
func (e *Engine) isMaster(title string) bool {
	if strings.HasPrefix(title, "nginx: worker") || strings.HasPrefix(title, "nginx: cache") {
		return false
	}
	switch e.cfg.Manage {
	case External:
		return strings.HasPrefix(title, "nginx: master process")
	case Systemd:
		return strings.HasPrefix(title, "nginx: master process") && !e.readsElsewhere(title)
	}
	return strings.Contains(title+" ", " -c "+e.cfg.link()+" ") && !strings.Contains(title, " -t ")
}
