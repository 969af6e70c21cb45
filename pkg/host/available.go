package host

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MemoryAvailable is how many bytes programs can still have without swapping:
// the machine's, or what the limit of this process's control group leaves
// where that is less.
func MemoryAvailable() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read free memory: %w", err)
	}
	free := uint64(0)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read free memory: %w", err)
			}
			free = kib << 10
		}
	}
	return min(free, groupLeft()), nil
}

// groupLeft is what control groups (version 2) leave; no limit is all there is.
func groupLeft() uint64 {
	left := uint64(math.MaxUint64)
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return left
	}
	_, group, ok := strings.Cut(string(text), "0::")
	if !ok {
		return left
	}
	for dir := filepath.Join("/sys/fs/cgroup", strings.TrimSpace(group)); strings.HasPrefix(dir, "/sys/fs/cgroup"); dir = filepath.Dir(dir) {
		limit, ok1 := number(filepath.Join(dir, "memory.max"))
		used, ok2 := number(filepath.Join(dir, "memory.current"))
		if ok1 && ok2 {
			left = min(left, limit-min(used, limit))
		}
	}
	return left
}

func number(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	return n, err == nil
}
