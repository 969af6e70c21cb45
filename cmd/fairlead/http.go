package main

import (
	"net"

	"fairlead/pkg/fleet"
)

// loopback listens on an address of this host alone.
func loopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--http %q: use HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fleet.Errorf(fleet.Invalid, "--http %q: metrics have no authentication, so only a loopback address is taken, such as 127.0.0.1:9422", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--http: %w", err)
	}
	return l, nil
}
