package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// start has nginx started on the linked version v and proves it. Whatever a
// dead master left, workers that hold the ports and sockets that block a bind,
// is cleared away first.
func (e *Engine) start(ctx context.Context, v version) *failure {
	f := e.launch(ctx, v)
	if f != nil && removeStale(f.text) {
		f = e.launch(ctx, v)
	}
	return f
}

func (e *Engine) launch(ctx context.Context, v version) *failure {
	e.setMaster(nil)
	e.endOrphans(ctx)
	for _, path := range []string{e.cfg.statusSocket(), e.cfg.PidFile} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &failure{kind: fleet.Failed, text: err.Error()}
		}
	}
	if v.unusable() == "" {
		clearSockets(v)
	}
	e.control.drain()
	e.reads()
	p, f := e.launchMaster(ctx)
	if f != nil {
		return f
	}
	e.setMaster(p)
	ctx = context.WithoutCancel(ctx) // an agent that is told to stop now leaves an nginx that serves
	if f := e.prove(ctx, v, past{}); f != nil {
		e.end(ctx, 0)
		return f
	}
	e.log.Info("nginx started", "pid", p.PID, "revision", v.Manifest.Revision, "digest", Short(v.Manifest.Digest))
	return nil
}

// launchMaster starts the master, or has the service manager do it.
func (e *Engine) launchMaster(ctx context.Context) (*host.Process, *failure) {
	if e.cfg.Manage == Systemd {
		return e.startUnit(ctx)
	}
	p, err := host.Start(host.Daemon{Path: e.binary, Args: e.arguments(), Stderr: e.cfg.startLog()})
	if err != nil {
		return nil, &failure{kind: fleet.Failed, text: err.Error()}
	}
	return p, nil
}

// arguments is how nginx is started. It stays in the foreground of a session
// of its own, so that its pid is known from the first moment.
func (e *Engine) arguments() []string {
	return []string{"-p", e.cfg.State, "-c", e.cfg.link(), "-e", "stderr", "-g", "daemon off;"}
}

// lastWords is why a master died: what it said on the control log, else what
// it left on stderr.
func (e *Engine) lastWords(said []string) string {
	for {
		select {
		case c := <-e.control.complaints:
			said = append(said, c.text)
			continue
		default:
		}
		break
	}
	if len(said) == 0 {
		if data, err := os.ReadFile(e.cfg.startLog()); err == nil {
			if lines := nginxLines(string(data)); lines != "" {
				said = append(said, lines)
			}
		}
	}
	return strings.Join(append(said, "the master process of nginx ended"), "\n")
}

// birth is master.json: which process the last master is or was.
type birth struct {
	Boot string `json:"boot"` // start times count from here
	host.Identity
}

// remember records the master, for whoever has to clear up after it: the next
// agent too.
func (e *Engine) remember(id host.Identity) {
	b := birth{Boot: host.BootID(), Identity: id}
	if old, ok := e.remembered(); ok && old == b && !gone(e.cfg.masterFile()) {
		return
	}
	e.birth = b
	data, err := json.Marshal(b)
	if err == nil {
		err = host.WriteFile(e.cfg.masterFile(), data, 0o600)
	}
	if err != nil {
		e.log.Warn("the master of nginx is not recorded", "error", err)
	}
}

func (e *Engine) remembered() (birth, bool) {
	if e.birth.PID != 0 {
		return e.birth, true
	}
	data, err := os.ReadFile(e.cfg.masterFile())
	var b birth
	if err != nil || json.Unmarshal(data, &b) != nil || b.Boot != host.BootID() {
		return birth{}, false
	}
	return b, true
}

// endOrphans ends the workers of a dead master, which would hold its ports.
// They are in the session of that master. Where it led the session, the kernel
// gives the number to nobody else while one of them lives; where it did not,
// what has a living nginx for its parent is somebody else's. They drain as
// after a reload; one that does not begin to within a second is killed.
func (e *Engine) endOrphans(ctx context.Context) {
	b, ok := e.remembered()
	if !ok {
		return
	}
	pids, _ := host.Processes()
	for _, pid := range pids {
		p, err := host.OpenProcess(pid)
		if err != nil {
			continue
		}
		if p.Session == b.Session && p.Started >= b.Started && p.PID != b.PID && e.orphaned(b, pid) {
			e.endOrphan(ctx, p)
		}
		p.Close()
	}
}

// orphaned says whether a process in the session of a dead master is its
// worker: who lost a parent has one that is no nginx.
func (e *Engine) orphaned(b birth, pid int) bool {
	title, err := host.Title(pid)
	worker := strings.HasPrefix(title, "nginx: worker") || strings.HasPrefix(title, "nginx: cache")
	if err != nil || b.Session == b.PID {
		return err == nil && (worker || e.isNginx(pid))
	}
	if !worker || !e.isNginx(pid) {
		return false
	}
	a, err := host.ReadActivity(pid)
	return err == nil && !e.isNginx(a.Parent)
}

func (e *Engine) endOrphan(ctx context.Context, p *host.Process) {
	e.log.Warn("a process of nginx outlived its master", "pid", p.PID)
	_ = p.Signal(syscall.SIGQUIT)
	_ = p.Signal(syscall.SIGCONT) // one that is stopped hears nothing
	limit := time.Now().Add(time.Second)
	for p.Alive() {
		title, err := host.Title(p.PID)
		if err == nil && strings.Contains(title, "shutting down") {
			return
		}
		if time.Now().After(limit) {
			_ = p.Signal(syscall.SIGKILL)
		}
		short, cancel := context.WithTimeout(ctx, glance)
		_ = p.Wait(short)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}
