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

// start starts nginx on the linked version v and proves it. Whatever a dead
// master left, workers that hold the ports and sockets that block a bind, is
// cleared away first.
func (e *Engine) start(ctx context.Context, v version) *failure {
	e.setMaster(nil)
	e.endOrphans(ctx)
	for _, path := range []string{e.cfg.statusSocket(), e.cfg.PidFile} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &failure{kind: fleet.Failed, text: err.Error()}
		}
	}
	e.control.drain()
	p, err := host.Start(host.Daemon{Path: e.binary, Args: e.arguments(), Stderr: e.cfg.startLog()})
	if err != nil {
		return &failure{kind: fleet.Failed, text: err.Error()}
	}
	e.setMaster(p)
	if err := e.remember(p.Identity); err != nil {
		e.log.Warn("the master of nginx is not recorded", "error", err)
	}
	if f := e.prove(ctx, v, nil); f != nil {
		e.end(ctx, 0)
		return f
	}
	e.log.Info("nginx started", "pid", p.PID, "revision", v.Manifest.Revision, "digest", Short(v.Manifest.Digest))
	return nil
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

// birth is master.json: which process this engine started last.
type birth struct {
	Boot string `json:"boot"` // start times count from here
	host.Identity
}

func (e *Engine) remember(id host.Identity) error {
	data, err := json.Marshal(birth{Boot: host.BootID(), Identity: id})
	if err != nil {
		return err
	}
	return host.WriteFile(e.cfg.masterFile(), data, 0o600)
}

func (e *Engine) remembered() (birth, bool) {
	data, err := os.ReadFile(e.cfg.masterFile())
	var b birth
	if err != nil || json.Unmarshal(data, &b) != nil || b.Boot != host.BootID() {
		return birth{}, false
	}
	return b, true
}

// endOrphans ends the workers of a dead master, which would hold its ports.
// They are in the session that the master led; the kernel gives that number to
// nobody else while one of them lives. They drain as after a reload; one that
// does not begin to within a second is killed.
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
		if exe, err := host.Executable(pid); err == nil && exe == e.binary && p.Session == b.PID && p.Started >= b.Started {
			e.endOrphan(ctx, p)
		}
		p.Close()
	}
}

func (e *Engine) endOrphan(ctx context.Context, p *host.Process) {
	e.log.Warn("a process of nginx outlived its master", "pid", p.PID)
	_ = p.Signal(syscall.SIGQUIT)
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
