package nginx

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"fairlead/pkg/host"
)

// signalled is the master's line about a SIGHUP and who sent it.
var signalled = regexp.MustCompile(`signal 1 \(SIGHUP\) received from (\d+)`)

var died = regexp.MustCompile(`worker process \d+ exited (on signal|with (fatal )?code [1-9])`)

// heard takes a line of the master. A SIGHUP of somebody else, such as
// logrotate, certbot or a person, has nginx read its files as they are.
func (d *drifter) heard(line string) {
	if died.MatchString(line) {
		d.crashed.Store(true)
	}
	m := signalled.FindStringSubmatch(line)
	if m == nil {
		return
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil || pid == os.Getpid() {
		return
	}
	d.reading()
	d.hup.Store(int64(pid) + 1)
	d.lookAgain()
}

// toldReload tells of it, once a minute at most.
func (e *Engine) toldReload(pid int, found []DriftFile) {
	who := "somebody"
	if pid > 0 {
		who = "process " + strconv.Itoa(pid)
		if title, err := host.Title(pid); err == nil && title != "" {
			who += " (" + title[:min(len(title), 200)] + ")"
		}
	}
	often, tell := e.drift.quiet.may()
	if !tell {
		return
	}
	what := "its files were as they should be"
	if len(found) > 0 {
		what = "meanwhile these differ: " + listed(found)
	}
	if often > 0 {
		what += "; the " + strconv.Itoa(often) + " times before were not told"
	}
	e.tell(EventReloaded, "%s told nginx to reload, beside Fairlead; %s", who, what)
}

// quiet lets one event a minute through and counts the others.
type quiet struct {
	last  time.Duration
	left  int
	begun bool
}

func (q *quiet) may() (left int, ok bool) {
	now := host.BootClock()
	if q.begun && now-q.last < time.Minute {
		q.left++
		return 0, false
	}
	left, q.left, q.last, q.begun = q.left, 0, now, true
	return left, true
}

// generation is the workers that took connections when a version was proven.
// It lies on disk, so that a reload that happened without the agent shows.
type generation struct {
	Boot    string          `json:"boot"`
	Version string          `json:"version"`
	Master  host.Identity   `json:"master"`
	Workers []host.Identity `json:"workers"`
}

func (e *Engine) generationFile() string { return filepath.Join(e.cfg.State, "generation.json") }

// reads says that nginx is about to read its files because the engine has it
// do so: new workers are no surprise then, for this agent or the next one.
func (e *Engine) reads() {
	_ = os.Remove(e.generationFile())
	e.drift.reading()
	e.drift.crashed.Store(false)
	e.drift.loaded = generation{}
}

// loadedNow records the workers of a version that was just proven.
func (e *Engine) loadedNow(v version) {
	d := e.drift
	g := generation{Boot: host.BootID(), Version: v.Name}
	if m := e.master.Load(); m != nil {
		g.Master = m.Identity
	}
	for _, w := range e.workersNow() {
		if !w.draining {
			g.Workers = append(g.Workers, w.Identity)
		}
	}
	was := d.loaded
	if slices.Equal(was.Workers, g.Workers) && was.Boot == g.Boot && was.Version == g.Version && was.Master == g.Master {
		return
	}
	d.loaded = g
	data, err := json.Marshal(g)
	tmp := e.generationFile() + ".new"
	if err == nil {
		err = os.WriteFile(tmp, data, 0o600) // of this boot alone: a power cut may take it
	}
	if err == nil {
		err = os.Rename(tmp, e.generationFile())
	}
	if err != nil { // an older record would have it that somebody else told nginx to reload
		err = errors.Join(err, os.RemoveAll(tmp), os.RemoveAll(e.generationFile()))
		e.log.Warn("the workers of nginx are not recorded", "error", err)
	}
}

// recorded is what loadedNow wrote last, in this boot.
func (e *Engine) recorded() (g generation) {
	data, err := os.ReadFile(e.generationFile())
	if err != nil || json.Unmarshal(data, &g) != nil || g.Boot != host.BootID() {
		return generation{}
	}
	return g
}

// unseen finds out whether nginx was reloaded by somebody who was not heard,
// because the agent was away or its log was: none of the workers that were
// proven is left then. A worker that died and came back proves nothing. The
// lock is held.
func (e *Engine) unseen() {
	d := e.drift
	if !e.up() {
		return
	}
	known := d.loaded
	e.loadedNow(e.good)
	if d.hup.Load() != 0 { // the new workers may come later
		d.expected = host.BootClock() + e.deadline()
		return
	}
	left := func(id host.Identity) bool { return slices.Contains(known.Workers, id) }
	same := known.Version == e.good.Name && known.Master.PID == d.loaded.Master.PID && known.Master.Started == d.loaded.Master.Started
	if !same || len(known.Workers) == 0 || len(d.loaded.Workers) == 0 || slices.ContainsFunc(d.loaded.Workers, left) {
		return
	}
	if d.crashed.Swap(false) || host.BootClock() < d.expected {
		return
	}
	d.reading()
	d.hup.Store(1)
}
