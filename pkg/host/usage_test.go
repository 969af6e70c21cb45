package host_test

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"fairlead/pkg/host"
)

func TestUsageIsPlausible(t *testing.T) {
	u, err := host.Usage(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for claim, holds := range map[string]bool{
		"CPU is a percentage":            u.CPUPercent >= 0 && u.CPUPercent <= 100,
		"load is not negative":           u.Load1 >= 0 && u.Load5 >= 0 && u.Load15 >= 0,
		"memory adds up":                 u.MemoryTotalBytes > 1<<20 && u.MemoryUsedBytes+u.MemoryAvailableBytes == u.MemoryTotalBytes,
		"swap used is part of swap":      u.SwapUsedBytes <= u.SwapTotalBytes,
		"disk used is part of disk":      u.DiskTotalBytes > 0 && u.DiskUsedBytes <= u.DiskTotalBytes && u.DiskAvailableBytes <= u.DiskTotalBytes,
		"inodes used are part of inodes": u.DiskInodesUsed <= u.DiskInodesTotal,
		"the machine is up":              u.UptimeSeconds > 0,
		"this boot has an id":            u.BootID == host.BootID(),
	} {
		if !holds {
			t.Errorf("not so: %s: %+v", claim, u)
		}
	}
}

func TestFactsAreThoseOfThisMachine(t *testing.T) {
	f, err := host.ReadFacts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	hostname, _ := os.Hostname()
	if f.Hostname != hostname || f.OS != runtime.GOOS || f.Arch != runtime.GOARCH || f.CPUs != runtime.NumCPU() || f.Kernel == "" {
		t.Fatalf("%+v", f)
	}
	if release, err := os.ReadFile("/etc/os-release"); err == nil && strings.Contains(string(release), "\nID=") && f.Platform == "" {
		t.Fatalf("platform is empty, os-release says %s", release)
	}
}

func TestUsageRunsNoOtherProgram(t *testing.T) {
	children := func() (r syscall.Rusage) {
		if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := children()
	if _, err := host.Usage(context.Background(), "/"); err != nil {
		t.Fatal(err)
	}
	if after := children(); after.Minflt != before.Minflt || after.Nvcsw != before.Nvcsw {
		t.Fatalf("children's use went from %+v to %+v", before, after)
	}
}

func TestWhatCannotBeReadIsNamedAndTheRestIsThere(t *testing.T) {
	u, err := host.Usage(context.Background(), "/no/such/path")
	if err == nil || !strings.Contains(err.Error(), "/no/such/path") {
		t.Fatalf("got %v", err)
	}
	if u.MemoryTotalBytes == 0 || u.Facts.Hostname == "" || u.DiskTotalBytes != 0 {
		t.Fatalf("%+v", u)
	}
}

func TestManyMayAskForUsageAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := host.Usage(context.Background(), "/"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestUsageSaysItsUnitsInJSON(t *testing.T) {
	data, err := json.Marshal(host.HostUsage{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cpuPercent", "load1", "memoryUsedBytes", "swapUsedBytes", "diskUsedBytes", "diskInodesUsed", "uptimeSeconds", "bootId", "facts"} {
		if !strings.Contains(string(data), `"`+key+`":`) {
			t.Errorf("%s is not in %s", key, data)
		}
	}
}
