package nginx

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"syscall"
)

// fingerprint is what changes when nginx or one of its modules is installed
// anew: inode, size and time of the binary and of each file beside its modules.
func (e *Engine) fingerprint() string {
	h := sha256.New()
	add := func(path string) {
		if info, err := os.Stat(path); err == nil {
			inode := uint64(0)
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				inode = stat.Ino
			}
			fmt.Fprintf(h, "%q %d %d %d\n", path, inode, info.Size(), info.ModTime().UnixNano())
		}
	}
	add(e.binary)
	modules := e.can().ModuleDir
	if entries, err := os.ReadDir(modules); err == nil {
		for _, entry := range entries {
			add(modules + "/" + entry.Name())
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// upgraded notices that nginx or its modules were installed anew: it is asked
// again what it can do, and reads the last good version as a test, so that
// what would fail at its next start is known before. The master that runs is
// the old one until it is started again.
func (e *Engine) upgraded(ctx context.Context) {
	if e.fingerprint() == e.drift.installed {
		return
	}
	unlock, err := e.acquire(ctx)
	if err != nil {
		return
	}
	defer unlock()
	can, err := ask(ctx, e.binary)
	if err != nil { // in the middle of an installation, perhaps
		e.log.Warn("nginx was installed anew and does not answer", "error", err)
		return
	}
	was := e.can().Version
	e.asked.Store(&can)
	e.drift.installed = e.fingerprint()
	what := fmt.Sprintf("nginx %s or its modules were installed anew", can.Version)
	if was != can.Version {
		what = fmt.Sprintf("nginx on disk is %s now and was %s", can.Version, was)
	}
	if err := e.test(ctx, e.good, Bundle{}); err != nil {
		e.tell(EventUpgraded, "%s, and it would not start with %s: %v", what, e.good, err)
		return
	}
	e.tell(EventUpgraded, "%s; it takes %s; the master that runs is the old one until it is started again", what, e.good)
}
