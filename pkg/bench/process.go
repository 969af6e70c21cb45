package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// endTime is what a process may take to end before it is killed.
const endTime = 10 * time.Second

func end(p *host.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if p.Signal(syscall.SIGTERM) == nil && p.Wait(ctx) != nil {
		_ = p.Signal(syscall.SIGKILL)
	}
	_ = p.Close()
}

// memory reads a field of /proc/PID/status, in bytes: VmRSS now, VmHWM at most.
func memory(pid int, field string) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != field {
			continue
		}
		kilobytes, err := strconv.ParseUint(strings.Fields(value)[0], 10, 64)
		return kilobytes << 10, err
	}
	return 0, fmt.Errorf("no %s of process %d", field, pid)
}

var errNotThere = fleet.Errorf(fleet.Timeout, "the agent is not there yet")

// stopWithNginx ends an agent and the nginx that it leaves running.
func stopWithNginx(agent *host.Process, pidFile string) {
	end(agent)
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return
	}
	if nginx, err := host.OpenProcess(pid); err == nil {
		end(nginx)
	}
}

// clockTick is the unit of processor times in /proc, by the ABI of Linux.
const clockTick = 10 * time.Millisecond

// processor reads the processor time of a process so far, its own and the
// kernel's on its behalf.
func processor(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th
	// and 13th fields behind it.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, err
}
