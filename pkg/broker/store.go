package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"fairlead/pkg/fleet"
)

// lockStore makes the store directory, proves that it can be written and
// holds it for this broker. The error tells what to do.
func lockStore(dir, owner string) (*os.File, error) {
	err := os.MkdirAll(filepath.Dir(dir), 0o755) // which other things may share
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make store directory: %w", err)
	}
	path := filepath.Join(dir, "broker.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store directory %s cannot be written: %w: give it to this user or choose another", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path)
		f.Close()
		return nil, fleet.Errorf(fleet.Conflict, "store directory %s is in use by %s: stop it or choose another directory",
			dir, orUnknown(strings.TrimSpace(string(holder))))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock store directory %s: %w", dir, err)
	}
	err = f.Truncate(0)
	_, errWrite := fmt.Fprintf(f, "broker %q, process %d\n", owner, os.Getpid())
	if err = errors.Join(err, errWrite); err != nil {
		f.Close()
		return nil, fmt.Errorf("store directory %s cannot be written: %w: is the disk full?", dir, err)
	}
	return f, nil
}

func orUnknown(holder string) string {
	if holder == "" {
		return "another broker"
	}
	return holder
}
