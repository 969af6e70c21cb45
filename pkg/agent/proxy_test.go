package agent_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is a link to the broker that can be cut, and changed.
type proxy struct {
	listener net.Listener
	target   string
	change   func([]byte) []byte // what the broker says, a line at a time; nil for nothing

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(url, "nats://")}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// cut ends the connections that stand and lets none stand until heal.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

func (p *proxy) serve(agent net.Conn) {
	defer agent.Close()
	broker, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer broker.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns = append(p.conns, agent, broker)
	p.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(broker, agent)
		_ = broker.Close()
	})
	p.copyDown(agent, broker)
	_ = agent.Close()
	up.Wait()
}

// copyDown copies what the broker says. All that it says ends with a line break.
func (p *proxy) copyDown(agent io.Writer, broker io.Reader) {
	r := bufio.NewReaderSize(broker, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if p.change != nil {
			line = p.change(line)
		}
		if _, werr := agent.Write(line); werr != nil || err != nil {
			return
		}
	}
}
