package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Identity is what makes a process itself: pids are used again, a pid together
// with its start time is not, within one boot.
type Identity struct {
	PID     int           `json:"pid"`
	Started time.Duration `json:"started"` // BootClock's base, rounded down to 10 ms
	Session int           `json:"session"` // pid of the leader, which may have ended
}

// Identify reads who has a pid now. The error is fs.ErrNotExist when nobody
// has, which a zombie counts as.
func Identify(pid int) (Identity, error) {
	fields, err := statFields(pid)
	if err != nil {
		return Identity{}, err
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return Identity{}, fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
	}
	session, err1 := strconv.Atoi(fields[3])
	ticks, err2 := strconv.ParseInt(fields[19], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return Identity{}, fmt.Errorf("process %d: stat: %w", pid, err)
	}
	return Identity{PID: pid, Started: time.Duration(ticks) * tick, Session: session}, nil
}

// Executable is the path of the program that a pid runs, without the mark of
// one that was replaced on disk since. It needs the same user, or root.
func Executable(pid int) (string, error) {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "", fmt.Errorf("process %d: %w", pid, gone(err))
	}
	return strings.TrimSuffix(path, deletedMark), nil
}

// Title is the command line of a pid, which programs like nginx rewrite to say
// what they are. Empty for a kernel thread and a zombie.
func Title(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", fmt.Errorf("process %d: %w", pid, gone(err))
	}
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " ")), nil
}

// Children lists the pids whose parent is pid's main thread, 16 µs against
// several milliseconds for a walk of /proc. Zombies are among them.
func Children(pid int) ([]int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, fmt.Errorf("children of %d: %w", pid, gone(err))
	}
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// Processes lists all pids that this process may see.
func Processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// gone makes one error of the two with which /proc says that a process ended.
func gone(err error) error {
	if errors.Is(err, errSRCH) {
		return fs.ErrNotExist
	}
	return err
}
