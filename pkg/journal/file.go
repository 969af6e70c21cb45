package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
)

// lockFile opens or creates the file and takes its lock, which the file's
// closing gives free, as does the process's death.
func lockFile(path string, timeout time.Duration) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(timeout)
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(file, deadline)
		if err == nil {
			err = own(file, dir)
		}
		if err == nil && isAt(file, path) {
			return file, nil
		}
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fleet.Errorf(fleet.Conflict, "another agent holds it (waited %s)", timeout)
		}
		if err != nil {
			return nil, err
		}
		// Its holder set it aside while we waited: take the new one.
	}
}

// flock takes the lock that bbolt takes too; for one open file that is the same.
func flock(file *os.File, deadline time.Time) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// own makes the file this user's alone and its name durable.
func own(file *os.File, dir string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm() != 0o600 {
		if err := file.Chmod(0o600); err != nil {
			return err
		}
	}
	if info.Size() > 0 {
		return nil
	}
	return syncDir(dir)
}

func isAt(file *os.File, path string) bool {
	mine, err1 := file.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// setAside renames a damaged file and removes the oldest ones beyond keep, so
// that a failing disk is not filled as well.
func setAside(path string, keep int) (string, error) {
	aside := fmt.Sprintf("%s.corrupt-%s", path, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	if all, err := filepath.Glob(path + ".corrupt-*"); err == nil && len(all) > keep {
		slices.Sort(all)
		for _, old := range all[:len(all)-keep] {
			_ = os.Remove(old)
		}
	}
	return aside, syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
