package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// HostUsage is how busy and how full the machine is.
type HostUsage struct {
	// CPUPercent is 0 to 100 over all CPUs, since the call before by anybody
	// in this process; a second at least, and at the first call since boot.
	CPUPercent           float64 `json:"cpuPercent"`
	Load1                float64 `json:"load1"`
	Load5                float64 `json:"load5"`
	Load15               float64 `json:"load15"`
	MemoryTotalBytes     uint64  `json:"memoryTotalBytes"`
	MemoryUsedBytes      uint64  `json:"memoryUsedBytes"`      // total without available
	MemoryAvailableBytes uint64  `json:"memoryAvailableBytes"` // what programs can have without swapping
	SwapTotalBytes       uint64  `json:"swapTotalBytes"`
	SwapUsedBytes        uint64  `json:"swapUsedBytes"`
	DiskPath             string  `json:"diskPath"` // the file system that holds it is meant
	DiskTotalBytes       uint64  `json:"diskTotalBytes"`
	DiskUsedBytes        uint64  `json:"diskUsedBytes"`
	DiskAvailableBytes   uint64  `json:"diskAvailableBytes"` // to users that are not root
	DiskInodesTotal      uint64  `json:"diskInodesTotal"`    // 0 where the file system has no such limit
	DiskInodesUsed       uint64  `json:"diskInodesUsed"`
	UptimeSeconds        float64 `json:"uptimeSeconds"`
	BootID               string  `json:"bootId"`
	Facts                Facts   `json:"facts"`
}

// Facts are what the machine is; they change with a boot or an upgrade.
type Facts struct {
	Hostname        string `json:"hostname"`
	OS              string `json:"os"`                        // "linux"
	Platform        string `json:"platform,omitempty"`        // "debian", from os-release
	PlatformVersion string `json:"platformVersion,omitempty"` // "12"
	Kernel          string `json:"kernel"`
	Arch            string `json:"arch"`                     // as Go calls it: "amd64"
	CPUs            int    `json:"cpus"`                     // those that this process may use
	Virtualization  string `json:"virtualization,omitempty"` // "kvm", "docker"; empty on bare metal
}

// Usage reads how busy and full the machine is, and its file system at a
// path. It does not wait for a measuring interval and runs no program. With
// an error, which names each thing that could not be read, the rest is right.
// A dead network file system at path blocks it, as it blocks anybody.
func Usage(ctx context.Context, path string) (HostUsage, error) {
	u := HostUsage{DiskPath: path, UptimeSeconds: BootClock().Seconds(), BootID: BootID()}
	var errs [6]error
	u.CPUPercent, errs[0] = busy.percent()
	if l, err := load.AvgWithContext(ctx); err == nil {
		u.Load1, u.Load5, u.Load15 = l.Load1, l.Load5, l.Load15
	} else {
		errs[1] = fmt.Errorf("read load: %w", err)
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		u.MemoryTotalBytes, u.MemoryAvailableBytes = m.Total, m.Available
		u.MemoryUsedBytes = m.Total - min(m.Available, m.Total)
	} else {
		errs[2] = fmt.Errorf("read memory: %w", err)
	}
	if s, err := mem.SwapMemoryWithContext(ctx); err == nil {
		u.SwapTotalBytes, u.SwapUsedBytes = s.Total, s.Used
	} else {
		errs[3] = fmt.Errorf("read swap: %w", err)
	}
	if d, err := disk.UsageWithContext(ctx, path); err == nil {
		u.DiskTotalBytes, u.DiskUsedBytes, u.DiskAvailableBytes = d.Total, d.Used, d.Free
		u.DiskInodesTotal, u.DiskInodesUsed = d.InodesTotal, d.InodesUsed
	} else {
		errs[4] = fmt.Errorf("read file system of %s: %w", path, err)
	}
	u.Facts, errs[5] = ReadFacts(ctx)
	return u, errors.Join(errs[:]...)
}

// ReadFacts reads what the machine is. gopsutil's own summary is not used: it
// runs lsb_release where that is installed.
func ReadFacts(ctx context.Context) (Facts, error) {
	f := Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var err1, err2, err3 error
	f.Hostname, err1 = os.Hostname()
	f.Kernel, err2 = host.KernelVersionWithContext(ctx)
	system, role, err3 := host.VirtualizationWithContext(ctx)
	if role == "guest" {
		f.Virtualization = system
	}
	f.Platform, f.PlatformVersion = platform("/etc/os-release", "/usr/lib/os-release")
	return f, errors.Join(err1, err2, err3)
}

// platform is ID and VERSION_ID of the first os-release file there is (see
// os-release(5)); empty where there is none, as in a bare container.
func platform(paths ...string) (id, version string) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch value = strings.Trim(value, `"'`); key {
			case "ID":
				id = value
			case "VERSION_ID":
				version = value
			}
		}
		return id, version
	}
	return "", ""
}

// busy remembers the CPU counters of the call before. It is for the whole
// process, as the counters are for the whole machine.
var busy cpuMeter

type cpuMeter struct {
	mu          sync.Mutex
	at          time.Duration // since boot
	total, idle uint64        // ticks
	last        float64
}

// percent is how much of the time since the call before the CPUs worked.
// Calls within a second get the same answer: many agents may share a process.
func (m *cpuMeter) percent() (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := BootClock()
	if m.at > 0 && now-m.at < time.Second {
		return m.last, nil
	}
	total, idle, err := cpuTicks()
	if err != nil {
		return 0, err
	}
	if spent := float64(total) - float64(m.total); spent > 0 {
		// The kernel's idle counters may step back a little (proc(5), iowait).
		rested := float64(idle) - float64(m.idle)
		m.last = min(100, max(0, 100*(spent-rested)/spent))
	}
	m.at, m.total, m.idle = now, total, idle
	return m.last, nil
}

// cpuTicks reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal; guest times come after and are in user already.
func cpuTicks() (total, idle uint64, err error) {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read CPU times: %w", err)
	}
	defer file.Close()
	line, err := bufio.NewReader(file).ReadString('\n')
	if err != nil {
		return 0, 0, fmt.Errorf("read CPU times: %w", err)
	}
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("read CPU times: /proc/stat begins %.40q", line)
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read CPU times: %w", err)
		}
		total += ticks
		if i == 3 || i == 4 {
			idle += ticks
		}
	}
	return total, idle, nil
}
