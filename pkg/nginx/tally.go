package nginx

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Answered counts answers, and those of them with a status of 500 or more.
type Answered struct {
	Answers uint64 `json:"answers"`
	Errors  uint64 `json:"errors"`
}

// Percent is the share of errors, 0 where there was no answer.
func (c Answered) Percent() float64 {
	if c.Answers == 0 {
		return 0
	}
	return 100 * float64(c.Errors) / float64(c.Answers)
}

const (
	// slot and slots are the window of the time before: five minutes.
	slot  = 10 * time.Second
	slots = 30
	// mostErring is how many names of servers with errors are told apart.
	mostErring = 1000
)

// tally counts what nginx answers, by version, where a policy asks for a
// bake: nginx sends a datagram for each answer. That costs a worker 1 to 2 µs;
// those that come faster than they are read are lost, good and bad alike. A
// buffered file costs nothing, but would grow without end beside a dead agent.
type tally struct {
	mu     sync.Mutex
	recent [slots]struct {
		at  int64 // number of the slot
		all map[string]*Answered
	}
	since  map[string]*Answered // by version, since the last begin
	erring map[string]uint64    // by server, of the version that begin named
	trial  string
}

// listen opens the socket to the workers' group alone.
func (a *tally) listen(path string, workers account) (*net.UnixConn, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		_ = os.Remove(path)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(1 << 20)
	err = os.Chmod(path, 0o660)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(path, -1, workers.gid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// run counts until ctx ends.
func (a *tally) run(ctx context.Context, conn *net.UnixConn) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			a.line(buffer[:n])
		}
	}
}

// line reads "<190>Nov 22 06:48:28 fairlead: 0123456789ab 200 web.example.org".
func (a *tally) line(line []byte) {
	_, text, found := bytes.Cut(line, []byte(" fairlead: "))
	fields := bytes.Fields(text)
	if !found || len(fields) < 2 {
		return
	}
	status, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return
	}
	server := ""
	if len(fields) > 2 {
		server = string(fields[2])
	}
	a.add(string(fields[0]), status, server, time.Now().Unix()/int64(slot/time.Second))
}

func (a *tally) add(version string, status int, server string, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.recent[now%slots]
	if s.at != now || s.all == nil {
		s.at, s.all = now, map[string]*Answered{}
	}
	for _, all := range []map[string]*Answered{s.all, a.since} {
		c := all[version]
		if c == nil {
			if all == nil || len(all) > 2*slots { // nothing bakes, or somebody makes versions up
				continue
			}
			c = new(Answered)
			all[version] = c
		}
		c.Answers++
		if status >= 500 {
			c.Errors++
		}
	}
	if status >= 500 && version == a.trial && (a.erring[server] > 0 || len(a.erring) < mostErring) {
		a.erring[server]++
	}
}

// begin counts a version anew.
func (a *tally) begin(version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trial, a.since, a.erring = version, map[string]*Answered{}, map[string]uint64{}
}

// before is what a version answered in the last minutes.
func (a *tally) before(version string) (sum Answered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().Unix() / int64(slot/time.Second)
	for _, s := range a.recent {
		if c := s.all[version]; c != nil && now-s.at < slots {
			sum.Answers += c.Answers
			sum.Errors += c.Errors
		}
	}
	return sum
}

// counted is what the version of begin answered since, and which server gave
// most of its errors.
func (a *tally) counted() (c Answered, worst string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := a.since[a.trial]; found != nil {
		c = *found
	}
	for name, n := range a.erring {
		if most := a.erring[worst]; n > most || n == most && name < worst {
			worst = name
		}
	}
	return c, worst
}
