package bench

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// gate is the way of the simulated agents to the broker, which can be shut.
type gate struct {
	mu    sync.Mutex
	shut  chan struct{} // closed when the gate opens; nil while it is open
	until time.Time     // until when those who come spread
	conns map[net.Conn]bool
}

// dialer opens a connection.
type dialer = func(network, address string) (net.Conn, error)

func newGate() *gate { return &gate{conns: make(map[net.Conn]bool)} }

// Dial connects. While the gate is shut it waits for it to open.
func (g *gate) Dial(network, address string) (net.Conn, error) {
	for {
		g.mu.Lock()
		shut, until := g.shut, g.until
		g.mu.Unlock()
		if shut != nil {
			<-shut
			continue
		}
		if over := time.Until(until); over > 0 {
			time.Sleep(rand.N(over))
		}
		conn, err := dialBroker(network, address)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if g.shut == nil {
			g.conns[conn] = true
			g.mu.Unlock()
			return &passed{conn, g}, nil
		}
		g.mu.Unlock()
		_ = conn.Close()
	}
}

// cut ends all connections and shuts the gate.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
	for conn := range g.conns {
		_ = conn.Close()
	}
	clear(g.conns)
}

// open lets through again: who waits in one moment, which is the worst that a fleet
// can do.
func (g *gate) open() { g.openOver(0) }

// openOver lets through, and has those who come spread over a time.
func (g *gate) openOver(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(d)
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// passed is a connection that came through.
type passed struct {
	net.Conn
	gate *gate
}

func (p *passed) Close() error {
	p.gate.mu.Lock()
	delete(p.gate.conns, p.Conn)
	p.gate.mu.Unlock()
	return p.Conn.Close()
}
