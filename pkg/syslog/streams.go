package syslog

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"
)

// receiveStreams accepts connections until the listener is closed, and then
// closes them and waits for their readers.
func (l *Listener) receiveStreams() {
	var (
		readers sync.WaitGroup
		mu      sync.Mutex
		open    = map[net.Conn]bool{}
	)
	defer func() {
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		readers.Wait()
	}()
	for {
		conn, err := l.streams.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil && !l.pause() {
			return
		}
		if err != nil {
			continue
		}
		mu.Lock()
		full := len(open) >= l.address.connections
		if !full {
			open[conn] = true
		}
		mu.Unlock()
		if full {
			l.counters.refused.Add(1)
			_ = conn.Close()
			continue
		}
		readers.Go(func() {
			l.receiveStream(conn)
			_ = conn.Close()
			mu.Lock()
			delete(open, conn)
			mu.Unlock()
		})
	}
}

// receiveStream reads one connection to its end. The deadline is for a whole
// message, so that sending one byte a minute does not hold a connection.
func (l *Listener) receiveStream(conn net.Conn) {
	frames := frameReader{in: bufio.NewReader(conn)}
	for {
		if err := conn.SetReadDeadline(time.Now().Add(l.address.idle)); err != nil {
			return
		}
		frame, cut, err := frames.next()
		if err != nil {
			return
		}
		if cut {
			l.counters.cut.Add(1)
		}
		l.take(frame, true)
	}
}
