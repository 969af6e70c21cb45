package main

import (
	"net"
	"net/http"
	"time"

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

// serveHTTP serves health and metrics on a loopback address; it has no
// authentication, so no other address is taken.
func serveHTTP(address string, handler func() http.Handler) (closer, error) {
	if address == "" {
		return nothing{}, nil
	}
	listener, err := loopback(address)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return server, nil
}

type closer interface{ Close() error }

type nothing struct{}

func (nothing) Close() error { return nil }
