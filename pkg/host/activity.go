package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Activity is what a process does at one moment.
type Activity struct {
	State  byte          // 'R' running, 'S' asleep, 'D' waiting for a device, 'T' stopped by a signal, 't' by a debugger, 'Z' ended
	Parent int           // pid
	CPU    time.Duration // used since it started, all threads, rounded down to 10 ms
	// Blocked are the signals that its main thread lets wait: bit n-1 is signal n.
	Blocked uint64
	Caught  uint64 // the signals that it has handlers for, likewise
}

// Blocks says whether the process lets a signal wait now.
func (a Activity) Blocks(s syscall.Signal) bool { return a.Blocked&(1<<(uint(s)-1)) != 0 }

// Catches says whether the process has a handler for a signal.
func (a Activity) Catches(s syscall.Signal) bool { return a.Caught&(1<<(uint(s)-1)) != 0 }

// ReadActivity looks at a process. The error is fs.ErrNotExist when there is none.
func ReadActivity(pid int) (Activity, error) {
	fields, err := statFields(pid)
	if err != nil {
		return Activity{}, err
	}
	a := Activity{State: fields[0][0]}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	a.Parent, err = strconv.Atoi(fields[1])
	if err := errors.Join(err, err1, err2); err != nil {
		return Activity{}, fmt.Errorf("process %d: stat: %w", pid, err)
	}
	a.CPU = time.Duration(user+system) * tick
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Activity{}, fmt.Errorf("process %d: %w", pid, gone(err))
	}
	for line := range strings.Lines(string(data)) { // a process that has just ended has no masks
		name, mask, _ := strings.Cut(line, ":")
		switch name {
		case "SigBlk":
			a.Blocked, err1 = strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		case "SigCgt":
			a.Caught, err2 = strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		}
	}
	return a, errors.Join(err1, err2)
}

// statFields are the fields of /proc/PID/stat from the third on, the state.
func statFields(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, gone(err))
	}
	// "pid (comm) state ppid pgrp session …": comm may hold spaces and brackets.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("process %d: stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// SameMounts says whether a process sees the same file systems as this one:
// only then does a path of its mean the same file here. It needs the same
// user, or root.
func SameMounts(pid int) (bool, error) {
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if errors.Is(err2, fs.ErrNotExist) || errors.Is(err2, errSRCH) {
		err2 = fs.ErrNotExist
	}
	return own == its, errors.Join(err1, err2)
}

// Replaced says whether the file that a process was started from is no longer
// the one at its path: a package was upgraded under it.
func Replaced(pid int) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasSuffix(path, deletedMark)
}

const deletedMark = " (deleted)"
