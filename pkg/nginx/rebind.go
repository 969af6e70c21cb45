package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/host"
)

// rebind has nginx listen on its status socket, and write its pid file, again
// when somebody removed the files under it, with a broom for /run for example.
func (e *Engine) rebind(ctx context.Context) {
	if why := e.good.unusable(); why != "" {
		e.log.Error("nginx's status socket is gone, and the last good version too: nginx is left as it is until a version is applied", "reason", why)
		return
	}
	began := time.Now()
	err := e.makeDirs()
	if err == nil {
		err = e.listenAgain()
	}
	if err == nil {
		err = e.store.commit(e.good)
	}
	if err == nil {
		if f := e.load(ctx, e.good, e.workersNow()); f != nil {
			err = f
		}
	}
	if err == nil {
		e.helped(fmt.Sprintf("nginx's status socket %s was gone; made again by two reloads (%v)",
			e.cfg.statusSocket(), time.Since(began).Round(time.Millisecond)), 0)
		return
	}
	e.log.Error("nginx's status socket is gone", "error", err)
	if e.mayEnd() {
		e.anew(ctx, "nginx's status socket was gone, and could not be made again: "+firstLine(err.Error()))
	}
}

// bindAgain prepares for a reload to v after which nginx has a status socket
// again. nginx keeps a listener that its configuration still names, file or no
// file, so one generation has other names. No request fails.
func (e *Engine) bindAgain(ctx context.Context, v version) error {
	if err := errors.Join(e.makeDirs(), e.listenAgain()); err != nil {
		return err
	}
	err := e.stepAside(ctx, v)
	_ = os.Remove(e.cfg.statusSocket()) // what is there, nobody listens on
	return errors.Join(err, e.store.commit(v))
}

// stepAside loads a version with other names for the status socket and the
// pid file. The copy is no version: an engine that dies meanwhile
// finds a link that means nothing to it, and goes back to the last good one.
func (e *Engine) stepAside(ctx context.Context, v version) error {
	text, err := os.ReadFile(filepath.Join(v.Dir, e.cfg.entry()))
	if err != nil {
		return err
	}
	dir := filepath.Join(e.store.versions(), "aside")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	away := strings.NewReplacer(e.cfg.statusSocket()+`"`, e.cfg.statusSocket()+`.aside"`, e.cfg.PidFile+`"`, e.cfg.PidFile+`.aside"`)
	aside := version{Name: "aside", Dir: dir, Manifest: v.Manifest}
	if err := os.WriteFile(filepath.Join(dir, e.cfg.entry()), []byte(away.Replace(string(text))), 0o600); err != nil {
		return err
	}
	master, old := e.master.Load(), e.workersNow()
	if err := e.store.commit(aside); err != nil {
		return err
	}
	if err := master.Signal(syscall.SIGHUP); err != nil { // it was seen to take signals
		return err
	}
	limit, cancel := context.WithTimeout(ctx, e.deadline())
	defer cancel()
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		all, err := workersOf(master.PID)
		if err != nil {
			return err
		}
		if settled(all, old, aside.Manifest.Workers) && len(all) > 0 {
			return nil
		}
		select {
		case <-limit.Done():
			return errors.New("it did not reload in time")
		case <-ticker.C:
		}
	}
}

// socketLost says whether nobody can reach the status socket of a master that
// runs and takes signals.
func (e *Engine) socketLost() bool {
	conn, err := net.DialTimeout("unix", e.cfg.statusSocket(), time.Second)
	if err == nil {
		conn.Close()
		return false
	}
	a, failed := host.ReadActivity(e.master.Load().PID)
	return (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) && failed == nil && !a.Blocks(syscall.SIGHUP) && a.Catches(syscall.SIGHUP)
}

// gone says whether a file is missing.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
