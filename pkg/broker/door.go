package broker

import (
	"context"
	"crypto/tls"
	"runtime"
	"sync"
	"time"

	"fairlead/pkg/fleet"
)

// door lets a few clients at a time through the part of a handshake that costs
// processor time, in the order in which they came. Where thousands come back in
// one moment, all of them at once would each be slow, each give up before it is
// through, and come again: work for nothing, until nobody is through at all. For
// who has hung up when its turn comes nothing is done.
type door struct {
	places chan struct{}
	wait   time.Duration // for a place, before a client is turned away, at the price of nothing
	hold   time.Duration // of a place, at most: a slow client must not keep others out
}

const (
	// doorWait leaves a client that had to wait the time for the rest of its handshake.
	doorWait = handshakeSeconds * time.Second * 2 / 3
	doorHold = time.Second
)

func newDoor() *door {
	return &door{places: make(chan struct{}, 2*runtime.GOMAXPROCS(0)), wait: doorWait, hold: doorHold}
}

// before is a server's configuration with the door before it.
func (d *door) before(c *tls.Config) *tls.Config {
	with := c.Clone()
	with.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		leave, err := d.enter(hello.Context())
		if err != nil {
			return nil, err
		}
		if hungUp(hello.Conn) {
			leave()
			return nil, fleet.Errorf(fleet.Unavailable, "the client has hung up")
		}
		own := c.Clone()
		verify := own.VerifyConnection
		// It is called when all that the server computes has left; what follows is the
		// client's to say. (With clients' certificates it is called when one has come.)
		own.VerifyConnection = func(s tls.ConnectionState) error {
			leave()
			if verify != nil {
				return verify(s)
			}
			return nil
		}
		return own, nil
	}
	return with
}

// enter waits for a place. Leaving twice does no harm; a handshake that ends leaves.
func (d *door) enter(handshake context.Context) (leave func(), err error) {
	select {
	case d.places <- struct{}{}: // by itself: who need not wait cannot have waited too long
	default:
		if err := d.queue(handshake); err != nil {
			return nil, err
		}
	}
	held, cancel := context.WithTimeout(handshake, d.hold)
	var once sync.Once
	free := func() { once.Do(func() { <-d.places }) }
	context.AfterFunc(held, free)
	return func() { free(); cancel() }, nil
}

// queue returns with a place.
func (d *door) queue(handshake context.Context) error {
	timer := time.NewTimer(d.wait)
	defer timer.Stop()
	select {
	case d.places <- struct{}{}:
		return nil
	case <-handshake.Done():
		return handshake.Err()
	case <-timer.C:
		return fleet.Errorf(fleet.Busy, "too many handshakes: this one had no turn within %s", d.wait)
	}
}
