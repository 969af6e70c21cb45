package bus

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Reconnect delays: doubling from the first to the last, each with up to half
// of itself as jitter, so that a fleet does not come back in one moment.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// eagerDelay is the longest for who is Eager.
const eagerDelay = time.Second

func reconnectDelay(attempts int) time.Duration {
	d := lastDelay
	if attempts < 6 {
		d = min(firstDelay<<max(attempts-1, 0), lastDelay)
	}
	return d/2 + rand.N(d/2+1)
}

// delay is how long to wait before the next attempt to reconnect, of which 1 is the
// first. A link that broke on this side broke for one, who may come back at once; what the
// broker ended, or nobody answers, is so for all, and they spread.
func (o Options) delay(attempts int, alone bool) time.Duration {
	d := reconnectDelay(attempts)
	if o.Eager {
		return min(d, eagerDelay)/2 + rand.N(eagerDelay/2)
	}
	if o.Spread != nil && (!alone || attempts > 1) {
		if over := o.Spread(); over > 0 {
			d = max(d, rand.N(over))
		}
	}
	return d
}

// watched notes when a link breaks on this side, and ends each connection before the
// next: nats.go leaves one open whose handshake failed.
func (c *Conn) watched(dial dialer) dialer {
	return func(network, address string) (net.Conn, error) {
		if last := c.last.Swap(nil); last != nil {
			_ = last.Close()
		}
		conn, err := dial(network, address)
		if err != nil {
			return nil, err
		}
		w := &watchedConn{conn, &c.alone}
		c.last.Store(w)
		return w, nil
	}
}

type watchedConn struct {
	net.Conn
	alone *atomic.Bool
}

// Read notes an error that is no word of the other side: a time that ran out, or no way there.
func (w *watchedConn) Read(into []byte) (int, error) {
	n, err := w.Conn.Read(into)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		w.alone.Store(true)
	}
	return n, err
}
