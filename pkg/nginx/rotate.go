package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// rotateLooks is how many looks go by between two at the sizes of log files.
const rotateLooks = 15

// rotate keeps nginx's own log files small, so that no log fills the disk of a
// site: a file in Logs that has grown past LogBytes gets the name with .1, older
// ones move up, LogKeep of them are kept, and SIGUSR1 has nginx open a new one.
// No line is lost: nginx writes to the renamed file until then.
func (w *watch) rotate() {
	if w.looks++; w.looks%rotateLooks != 0 {
		return
	}
	e := w.engine
	moved, err := e.moveLogs()
	if moved {
		err = errors.Join(err, w.master.Signal(syscall.SIGUSR1)) // it was just seen to take signals
	}
	if err != nil {
		e.log.Warn("log files of nginx are not rotated", "error", err)
	}
}

// moveLogs renames what is too large. It is true when nginx is to open its
// files again, which it is also when an engine died between the two.
func (e *Engine) moveLogs() (moved bool, err error) {
	entries, err := os.ReadDir(e.cfg.Logs)
	if err != nil {
		return false, err
	}
	sizes := make(map[string]int64)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sizes[entry.Name()] = info.Size()
		}
	}
	for name, size := range sizes {
		path := filepath.Join(e.cfg.Logs, name)
		current, old := strings.CutSuffix(name, ".1")
		_, there := sizes[current]
		switch {
		case old && strings.HasSuffix(current, ".log") && !there:
			moved = true
		case !strings.HasSuffix(name, ".log") || size <= e.cfg.LogBytes:
		case path == e.cfg.startLog(): // nginx's stderr, which no signal opens again
			err = errors.Join(err, os.Truncate(path, 0))
		default:
			failed := shift(path, e.cfg.LogKeep)
			moved = moved || failed == nil
			err = errors.Join(err, failed)
			e.log.Info("rotated a log of nginx", "file", path, "bytes", size)
		}
	}
	return moved, err
}

// shift renames path to path.1, path.1 to path.2 and so on; the last one goes.
func shift(path string, keep int) error {
	for i := keep; i > 0; i-- {
		from := path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
