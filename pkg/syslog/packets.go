package syslog

import (
	"fmt"
	"net"
	"sync"
	"syscall"
)

// buffers are shared by all listeners: one that waits holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, MaxLength); return &b }}

// listenUDP asks for a receive buffer that holds a burst; the system may
// give less.
func listenUDP(target string) (net.PacketConn, error) {
	addr, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(1 << 20)
	return conn, nil
}

// receivePackets reads datagrams until the socket is closed.
func (l *Listener) receivePackets() {
	raw, err := l.packets.(syscall.Conn).SyscallConn()
	for err == nil {
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			failed = l.receivePacket(int(fd))
			return failed != syscall.EAGAIN && failed != syscall.EINTR
		})
		if err == nil && failed != nil && !l.pause() {
			return
		}
	}
}

// receivePacket reads one datagram that has arrived. With MSG_TRUNC Linux
// gives its real length also where the buffer was too short.
func (l *Listener) receivePacket(fd int) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, _, err := syscall.Recvfrom(fd, *buffer, syscall.MSG_DONTWAIT|syscall.MSG_TRUNC)
	if err != nil {
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return err
		}
		return fmt.Errorf("receive datagram: %w", err)
	}
	if n > len(*buffer) {
		l.counters.cut.Add(1)
		n = len(*buffer)
	}
	l.take((*buffer)[:n], false)
	return nil
}
