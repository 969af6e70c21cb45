package agent

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/handlers"
)

// linkDays is for how many days it is kept what the link carried.
const linkDays = 7

// meter counts what the link to the broker carries, below TLS, and keeps it to its
// budget. The zero value is ready; its methods may be called from any goroutine.
type meter struct {
	budget *budget // nil for none

	in, out atomic.Uint64 // not in days yet

	mu   sync.Mutex
	days []handlers.LinkDay // the newest first
}

// wrap counts what is read from a connection and written to it.
func (m *meter) wrap(c net.Conn) net.Conn {
	m.budget.begin()
	return metered{c, m}
}

// began takes what the agent before this one counted.
func (m *meter) began(days []handlers.LinkDay) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.days = days
}

// upTo puts what was counted since the last call to the day of now, the broker's
// time, and returns the last days that had any, the newest first. While that time
// is not known, what is counted waits.
func (m *meter) upTo(now time.Time) []handlers.LinkDay {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.IsZero() {
		return slices.Clone(m.days)
	}
	counted := handlers.LinkDay{Day: now.UTC().Format(time.DateOnly), InBytes: m.in.Swap(0), OutBytes: m.out.Swap(0)}
	// Days that are still to come are of a broker whose clock was wrong.
	m.days = slices.DeleteFunc(m.days, func(d handlers.LinkDay) bool { return d.Day > counted.Day })
	switch {
	case counted.Bytes() == 0:
	case len(m.days) > 0 && m.days[0].Day == counted.Day:
		m.days[0].InBytes += counted.InBytes
		m.days[0].OutBytes += counted.OutBytes
	default:
		m.days = slices.Insert(m.days, 0, counted)
	}
	m.days = m.days[:min(len(m.days), linkDays)]
	return slices.Clone(m.days)
}

// metered is a connection whose bytes are counted.
type metered struct {
	net.Conn
	meter *meter
}

func (c metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:c.meter.budget.most(len(p))])
	c.meter.in.Add(uint64(n))
	c.meter.budget.pass(n)
	return n, err
}

func (c metered) Write(p []byte) (int, error) {
	c.meter.budget.pass(len(p))
	n, err := c.Conn.Write(p)
	c.meter.out.Add(uint64(n))
	return n, err
}
