package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"fairlead/pkg/fleet"
)

// account is who workers run as. Without root it is the engine's own user, and
// name and group are empty: nginx then has nothing to change to.
type account struct {
	name, group string
	uid, gid    int
}

// workerAccount finds the account; "" means www-data, else nobody.
func workerAccount(name string) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	return lookupAccount(name)
}

// lookupAccount is workerAccount of an engine that is root.
func lookupAccount(name string) (account, error) {
	names := []string{name}
	if name == "" {
		names = []string{"www-data", "nobody"}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		g, err := user.LookupGroupId(u.Gid) // nobody's group is nogroup on Debian
		if err != nil {
			return account{}, fleet.Errorf(fleet.Unavailable, "group of user %s: %w", name, err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return account{name: name, group: g.Name, uid: uid, gid: gid}, errors.Join(err1, err2)
	}
	return account{}, fleet.Errorf(fleet.Unavailable, "there is no user %v for nginx's workers", names)
}

// makeDirs makes what is missing. Workers may pass through State and Run, read
// Logs, and see nothing else; directories that are there already stay as the
// administrator made them.
func (e *Engine) makeDirs() error {
	for _, d := range []struct {
		path  string
		mode  fs.FileMode
		group bool // belongs to the workers' group
	}{
		{e.cfg.State, 0o711, false}, {e.store.versions(), 0o700, false}, {e.cfg.tempDir(), 0o711, false},
		{e.cfg.Conf, 0o755, false}, {e.cfg.Run, 0o710, true}, {e.cfg.Logs, 0o750, true},
	} {
		if _, err := os.Stat(d.path); err == nil {
			continue
		}
		err := os.MkdirAll(d.path, 0o755)
		if err == nil {
			err = os.Chmod(d.path, d.mode)
		}
		if err == nil && d.group && os.Geteuid() == 0 {
			err = os.Chown(d.path, -1, e.workers.gid)
		}
		if err != nil {
			return fleet.Errorf(fleet.Unavailable, "make directories for nginx: %w", err)
		}
	}
	return nil
}

// barrier is the first directory on the way to path that workers may not pass,
// "" when there is none. It looks at modes alone, not at access lists.
func (a account) barrier(path string) string {
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Sprintf("%s (%v)", dir, err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		bit := fs.FileMode(0o001)
		switch {
		case !ok || a.uid == 0:
			bit = 0
		case int(stat.Uid) == a.uid:
			bit = 0o100
		case int(stat.Gid) == a.gid:
			bit = 0o010
		}
		if bit != 0 && info.Mode()&bit == 0 {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}
