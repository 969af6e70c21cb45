package dev

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Options say what to run.
type Options struct {
	Data  string // directory for everything; DefaultData() when empty
	Nodes int    // 1 when 0
	NATS  string // address of the broker; 127.0.0.1:4222 when empty, port 0 for a free one
	Sync  string // when the broker's disk is synced, see package broker; "2m" when empty
	// FirstAddress is node1's, 127.0.0.1 when empty; the others follow it.
	FirstAddress string
	Version      string
	Logger       *slog.Logger
	// Timing for tests; zero fields take the parts' defaults.
	HealthEvery time.Duration
	NudgeAfter  time.Duration
	ExpireAfter time.Duration
	Storage     subjects.Settings
	// Programs that shellcommand may run; a few harmless ones when nil.
	Programs []string
	// GateProgram asks the program of a rollout's gate, see station.Config; nil where there is none.
	GateProgram func(ctx context.Context, name string, question []byte) (station.GateAnswer, error)
}

// DefaultData is where `fairlead dev` keeps everything: below /var/lib for
// root, since workers of nginx must reach it, else in the user's data
// directory.
func DefaultData() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/fairlead/dev", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "fairlead", "dev"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fleet.Errorf(fleet.Invalid, "no home directory to keep data in: give --data DIR")
	}
	return filepath.Join(home, ".local", "share", "fairlead", "dev"), nil
}

// maxNodes is what one host's loopback addresses and memory reasonably bear.
const maxNodes = 200

func (o Options) complete() (Options, error) {
	if o.Data == "" {
		data, err := DefaultData()
		if err != nil {
			return o, err
		}
		o.Data = data
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return o, fleet.Errorf(fleet.Invalid, "data directory: %w", err)
	}
	o.Data = data
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return o, fleet.Errorf(fleet.Invalid, "%d nodes: use 1 to %d; `fairlead bench` simulates more", o.Nodes, maxNodes)
	}
	if o.NATS == "" {
		o.NATS = "127.0.0.1:4222"
	}
	if o.FirstAddress == "" {
		o.FirstAddress = "127.0.0.1"
	}
	if o.Storage.LogsBytes == 0 {
		o.Storage.LogsBytes = 1 << 30
	}
	if o.Storage.BlobsBytes == 0 {
		o.Storage.BlobsBytes = 2 << 30
	}
	if o.Sync == "" {
		o.Sync = "2m"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Programs == nil {
		o.Programs = DefaultPrograms()
	}
	return o, nil
}

// DefaultPrograms are those that shellcommand may run by default: they look
// and change nothing.
func DefaultPrograms() []string {
	var found []string
	for _, name := range []string{"uname", "uptime", "date", "df", "free", "id", "hostname"} {
		for _, dir := range []string{"/usr/bin", "/bin"} {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err == nil {
				found = append(found, path)
				break
			}
		}
	}
	return found
}

// NodeName is the name of the i-th node, from 1.
func NodeName(i int) string { return "node" + strconv.Itoa(i) }

func nodeAddress(first string, i int) (string, error) {
	ip := net.ParseIP(first).To4()
	if ip == nil || ip[0] != 127 {
		return "", fleet.Errorf(fleet.Invalid, "%q is not an IPv4 loopback address", first)
	}
	n := int(ip[1])<<16 | int(ip[2])<<8 | int(ip[3])
	n += i - 1
	return fmt.Sprintf("127.%d.%d.%d", n>>16&255, n>>8&255, n&255), nil
}
