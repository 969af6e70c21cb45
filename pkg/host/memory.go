package host

import (
	"bufio"
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// calm is the share of a core below which a process counts as idle: ten thousand
// nodes with nothing to do take a broker a quarter.
const calm = 0.5

// TrimWhileCalm gives free heap back every so often, until ctx ends, unless this
// process was busy since the last time. Go lets the heap grow to twice of what
// lives before it collects, and gives back slowly: of a broker whose thousands
// of connections are idle that is half of its memory.
//
// While it is calm the heap grows to one and a half of what lives: collecting twice as
// often costs little then, and much while there is much to do.
func TrimWhileCalm(ctx context.Context, every time.Duration) {
	usual := debug.SetGCPercent(100)
	debug.SetGCPercent(usual)
	defer debug.SetGCPercent(usual)
	often := usual
	if usual > 1 { // else it is off
		often = usual / 2
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		before := ownProcessor()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if (ownProcessor() - before).Seconds() >= calm*every.Seconds() {
			debug.SetGCPercent(usual)
			continue
		}
		debug.SetGCPercent(often)
		debug.FreeOSMemory()
	}
}

// ownProcessor is the processor time of this process so far, 0 where the system
// does not say.
func ownProcessor() time.Duration {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TrimMemory gives back what only the start of this process needed: free heap,
// and the pages of its executable that are in memory (they are read again from
// the file as they are used). A process of many parts that then does little,
// such as an agent, keeps about half of its resident memory. It is advice to
// the kernel; what it does not take stays as it is.
func TrimMemory() {
	debug.FreeOSMemory()
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		// 00400000-00a00000 r-xp 00000000 fe:00 1234   /usr/bin/fairlead
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || strings.Join(fields[5:], " ") != own || strings.Contains(fields[1], "w") {
			continue // what was written must stay
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, err := strconv.ParseUint(from, 16, 64)
		if err != nil {
			continue
		}
		end, err := strconv.ParseUint(to, 16, 64)
		if err != nil || end <= begin {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_DONTNEED)
	}
}
