package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// queueLength is how many records wait for the handler; 26 KB, since one
// process may hold the listeners of a thousand agents.
const queueLength = 256

// Listener receives syslog messages on one socket.
type Listener struct {
	address  address
	packets  net.PacketConn // unixgram, udp
	streams  net.Listener   // tcp
	file     os.FileInfo    // the unix socket's, as it was made
	queue    chan Record
	done     chan struct{} // closed by Close
	closing  sync.Once
	running  atomic.Bool
	counters struct{ received, dropped, cut, refused atomic.Uint64 }
}

// Stats counts since Listen.
type Stats struct {
	Received uint64 `json:"received"` // messages read, dropped ones included
	Dropped  uint64 `json:"dropped"`  // datagrams for which the handler's queue had no room
	Cut      uint64 `json:"cut"`      // messages longer than MaxLength
	Refused  uint64 `json:"refused"`  // TCP connections beyond the limit
}

// Listen opens the socket, so that senders can begin; Run reads it.
//
//	unixgram:/path[?mode=0660]   (or unix:) as nginx's "syslog:server=unix:/path" wants it
//	udp:host:port
//	tcp:host:port[?connections=256&idle=10m]   newline and octet counted framing (RFC 6587)
//
// A unix socket is open to all users as /dev/log is, because nginx writes
// from workers that are not root; a mode or the directory restricts it. A
// socket of this user's that nobody listens on is replaced; anything else in
// its place is an error.
func Listen(text string) (*Listener, error) {
	a, err := parseAddress(text)
	if err != nil {
		return nil, err
	}
	l := &Listener{address: a, queue: make(chan Record, queueLength), done: make(chan struct{})}
	switch a.network {
	case "tcp":
		l.streams, err = net.Listen("tcp", a.target)
	case "udp":
		l.packets, err = listenUDP(a.target)
	default:
		l.packets, l.file, err = listenUnix(a.target, a.mode)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for syslog on %s: %w", text, err)
	}
	return l, nil
}

// Addr is where it listens, with the real port where 0 was asked for.
func (l *Listener) Addr() net.Addr {
	if l.streams != nil {
		return l.streams.Addr()
	}
	return l.packets.LocalAddr()
}

// Stats is safe at any time.
func (l *Listener) Stats() Stats {
	c := &l.counters
	return Stats{c.received.Load(), c.dropped.Load(), c.cut.Load(), c.refused.Load()}
}

// Run hands every record to handle, one at a time, until the context ends or
// Close is called; then it hands over what was received and returns nil.
// While handle is slow, TCP senders wait and datagrams beyond the queue are
// dropped and counted, since nginx would drop them too and not say so.
// Run is called once.
func (l *Listener) Run(ctx context.Context, handle func(Record)) error {
	if l.running.Swap(true) {
		return errors.New("syslog listener runs already")
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	go func() { // ended by Close, which closes what it reads
		defer close(l.queue)
		if l.streams != nil {
			l.receiveStreams()
		} else {
			l.receivePackets()
		}
	}()
	for r := range l.queue {
		handle(r)
	}
	return nil
}

// Close stops listening and removes the socket's file where it is still the
// one that Listen made. It may be called more than once.
func (l *Listener) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.done)
		if l.file != nil {
			removeSocket(l.address.target, l.file)
		}
		if l.streams != nil {
			err = l.streams.Close()
		} else {
			err = l.packets.Close()
		}
	})
	return err
}

// take reads one message into the queue: waiting for room, or dropping.
func (l *Listener) take(data []byte, wait bool) {
	l.counters.received.Add(1)
	r, err := Parse(data)
	if err != nil {
		return // empty
	}
	if wait {
		l.queue <- r
		return
	}
	select {
	case l.queue <- r:
	default:
		l.counters.dropped.Add(1)
	}
}

// pause keeps a persistent error, such as no free descriptors, from turning
// into a busy loop. It is false once the listener is closed.
func (l *Listener) pause() bool {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}
