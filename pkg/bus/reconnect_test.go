package bus_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/subjects"
)

// A link that breaks on a node's side breaks for it alone, and it comes back as soon
// as it can. What the broker ends it ends for all of them.
func TestWhoWasCutOffByTheBrokerSpreadsItsReturnAndWhoLostItsOwnLinkDoesNot(t *testing.T) {
	s := open(t)
	var mu sync.Mutex
	var last net.Conn
	var asked atomic.Int64
	connected := make(chan struct{}, 10)
	s.connect(bus.Options{Credentials: s.credentials("ship1", subjects.Node), Persist: true,
		Spread: func() time.Duration { asked.Add(1); return time.Nanosecond },
		Dial: func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			mu.Lock()
			defer mu.Unlock()
			last = conn
			return conn, err
		},
		OnConnect: func() { connected <- struct{}{} }})
	next(t, connected)
	mu.Lock()
	_ = last.Close()
	mu.Unlock()
	next(t, connected)
	if n := asked.Load(); n != 0 {
		t.Errorf("it lost its own link, and asked %d times over how long to spread its return", n)
	}
	s.stop()
	s.start()
	next(t, connected)
	if asked.Load() == 0 {
		t.Error("the broker went away, and it did not spread its return")
	}
}
