package host

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of start times in /proc/PID/stat. The kernel converts to
// USER_HZ, which is 100 on every architecture that Go runs on.
const tick = time.Second / 100

// BootClock is the time since the machine booted, sleep included
// (CLOCK_BOOTTIME): the same base as the start times of processes, and one
// that no change of the wall clock moves. It begins again at every boot.
func BootClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("host: CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// BootID is different after every boot; "" where the kernel does not say.
var BootID = sync.OnceValue(func() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
})
