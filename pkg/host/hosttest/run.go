// Package hosttest runs tests so that no process outlives them. nginx outlives
// whoever starts it, by design, and so does what a test starts as a daemon: when
// a test is cut off, by its time-out or a signal, nobody would end it.
//
// It promises that when Run returns every process has ended that the tests
// started, directly or not. Only a SIGKILL to Run's own process keeps it from that.
package hosttest

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// within marks the process that runs the tests, and all below it.
const within = "FAIRLEAD_TESTS_RUN_WITHIN"

// Run runs tests and returns the exit code; TestMain calls it with m.Run or what
// does the same. They run in a child: this very program, started once more. This
// process becomes the parent of whatever loses its own parent below it, and ends
// what is left when the child has ended.
func Run(tests func() int) int {
	if os.Getenv(within) != "" {
		return tests()
	}
	code, err := runWithin()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hosttest:", err)
		return 1
	}
	return code
}

func runWithin() (int, error) {
	runtime.LockOSThread() // Pdeathsig means the end of this thread
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become the parent of orphans: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env: append(os.Environ(), within+"=1"), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("run the tests: %w", err)
	}
	go func() {
		for s := range signals {
			_ = child.Signal(s) // it may have ended
		}
	}()
	status, err := reapUntil(child.Pid)
	if err != nil {
		return 0, fmt.Errorf("wait for the tests: %w", err)
	}
	if left := endAll(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "hosttest: ended what the tests had left running: %s\n", strings.Join(left, ", "))
	}
	if status.Signaled() {
		fmt.Fprintf(os.Stderr, "hosttest: the tests were ended by a signal: %s\n", status.Signal())
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// reapUntil reaps children, orphans among them, until one has ended.
func reapUntil(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return status, err
		case ended == pid && (status.Exited() || status.Signaled()):
			return status, nil
		}
	}
}

// endAll ends all children, and those that become children by that, and returns
// what they are called.
func endAll() (names []string) {
	known := make(map[int]bool)
	for {
		for pid, name := range children() {
			if !known[pid] {
				known[pid] = true
				names = append(names, name)
			}
			_ = unix.Kill(pid, unix.SIGKILL) // a child of this process: its pid stays until it is reaped
		}
		if pid, err := unix.Wait4(-1, nil, 0, nil); err == nil {
			delete(known, pid) // the pid may be used again
		} else if err != unix.EINTR {
			return names // there is none
		}
	}
}

// children are the processes whose parent is this one, with their titles.
func children() map[int]string {
	found := make(map[int]string)
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// "pid (comm) state ppid …": comm may hold spaces and brackets.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		dir := filepath.Dir(path)
		title, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		pid, perr := strconv.Atoi(filepath.Base(dir))
		if err == nil && perr == nil {
			found[pid] = strings.TrimSpace(strings.ReplaceAll(string(title), "\x00", " "))
		}
	}
	return found
}
