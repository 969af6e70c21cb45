package syslog

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// address is what Listen was asked for.
type address struct {
	network     string // "unixgram", "udp" or "tcp"
	target      string // path or host:port
	mode        os.FileMode
	connections int
	idle        time.Duration
}

// maxSocketPath is what fits into sockaddr_un on Linux, without its final NUL.
const maxSocketPath = 107

// parseAddress reads "network:target?option=value&…".
func parseAddress(s string) (address, error) {
	a := address{mode: 0o666, connections: 256, idle: 10 * time.Minute}
	s, options, _ := strings.Cut(s, "?")
	network, target, _ := strings.Cut(s, ":")
	a.network, a.target = network, target
	switch network {
	case "unix", "unixgram":
		a.network = "unixgram"
		if target == "" || len(target) > maxSocketPath {
			return a, fmt.Errorf("syslog address %q: a socket's path has 1 to %d bytes, this one has %d", s, maxSocketPath, len(target))
		}
	case "udp", "tcp":
		if _, _, err := net.SplitHostPort(target); err != nil {
			return a, fmt.Errorf("syslog address %q: %w", s, err)
		}
	default:
		return a, fmt.Errorf("syslog address %q: want unixgram:/path, udp:host:port or tcp:host:port", s)
	}
	values, err := url.ParseQuery(options)
	if err != nil {
		return a, fmt.Errorf("syslog address %q: options: %w", s, err)
	}
	for name := range values {
		if err := a.set(name, values.Get(name)); err != nil {
			return a, fmt.Errorf("syslog address %q: option %s=%s: %w", s, name, values.Get(name), err)
		}
	}
	return a, nil
}

func (a *address) set(name, text string) error {
	switch {
	case name == "mode" && a.network == "unixgram":
		mode, err := strconv.ParseUint(text, 8, 9)
		a.mode = os.FileMode(mode)
		return err
	case name == "connections" && a.network == "tcp":
		n, err := strconv.ParseUint(text, 10, 16)
		a.connections = int(n)
		return err
	case name == "idle" && a.network == "tcp":
		d, err := time.ParseDuration(text)
		if err == nil && d <= 0 {
			return fmt.Errorf("want more than zero")
		}
		a.idle = d
		return err
	}
	return fmt.Errorf("%s knows no such option", a.network)
}
