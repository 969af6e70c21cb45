package nginx

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// driftWatch tells that something changes in some directories. It is for speed
// alone: where the kernel has no watches left, the sweep finds the same later.
type driftWatch struct {
	inotify *fsnotify.Watcher // nil where there is none
	dirs    []string
	log     *slog.Logger
}

func newDriftWatch(log *slog.Logger) *driftWatch {
	w := &driftWatch{log: log}
	var err error
	if w.inotify, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("files are not watched, only looked at now and then", "error", err)
	}
	return w
}

func (w *driftWatch) close() {
	if w.inotify != nil {
		_ = w.inotify.Close()
	}
}

// follow watches these directories and no others, and reports whether one is
// new. One that was replaced by another of its name is watched anew.
func (w *driftWatch) follow(dirs []string) (more bool) {
	if w.inotify == nil {
		return false
	}
	for _, dir := range w.inotify.WatchList() {
		if !slices.Contains(dirs, dir) {
			_ = w.inotify.Remove(dir) // it may be gone
		}
	}
	watched := w.inotify.WatchList()
	for _, dir := range dirs {
		if slices.Contains(watched, dir) {
			continue
		}
		if err := w.inotify.Add(dir); err != nil {
			w.log.Debug("a directory is not watched", "directory", dir, "error", err)
			continue
		}
		more = true
	}
	return more
}

// changes has something when something changes.
func (w *driftWatch) changes() <-chan fsnotify.Event {
	if w.inotify == nil {
		return nil
	}
	return w.inotify.Events
}

// settle waits until nothing changes for a moment, within its patience.
func (w *driftWatch) settle(ctx context.Context) {
	patience := time.NewTimer(driftPatience)
	defer patience.Stop()
	for {
		quiet := time.NewTimer(driftQuiet)
		select {
		case <-w.inotify.Events:
			quiet.Stop()
			continue
		case <-w.inotify.Errors:
			quiet.Stop()
			continue // the queue was too short: all is looked at anyway
		case <-quiet.C:
		case <-patience.C:
		case <-ctx.Done():
		}
		quiet.Stop()
		return
	}
}
