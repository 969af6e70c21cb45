package bus_test

import (
	"io"
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

// A handshake that fails leaves no connection open: an agent that tries for weeks
// would keep one for each time, here and at the broker.
func TestAConnectionWhoseHandshakeFailedIsEnded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Write([]byte("no broker\r\n")) // and says nothing more
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}()
		}
	}()
	s := open(t)
	c, err := bus.Connect(within(t), bus.Options{URL: "tls://" + l.Addr().String(), TLS: s.tls(), Credentials: s.credentials("ship1", subjects.Node), Persist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	next(t, ended)
	next(t, ended)
}
