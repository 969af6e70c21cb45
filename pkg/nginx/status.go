package nginx

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Status is what nginx and its tree look like now. When Up is false the
// fields from PID to Counters are zero.
type Status struct {
	Up       bool          `json:"up"` // the master runs and its status socket answers
	PID      int           `json:"pid,omitempty"`
	Workers  int           `json:"workers"`  // taking connections
	Draining int           `json:"draining"` // finishing the connections of an older generation
	Uptime   time.Duration `json:"uptime"`   // of the master
	Running  string        `json:"running,omitempty"`
	Counters Counters      `json:"counters"`

	Version  string `json:"version,omitempty"`  // of the binary
	Disk     string `json:"disk,omitempty"`     // digest of the version that the link names
	Revision uint64 `json:"revision,omitempty"` // of the version that serves and was proven
	Whole    uint64 `json:"whole,omitempty"`    // the newest revision of which everything was proven to serve
	// Hermetic says that nginx -t ran in a world of its own the last time;
	// where it did not, HermeticWhy says why. Both are empty before the first time.
	Hermetic    bool   `json:"hermetic"`
	HermeticWhy string `json:"hermeticWhy,omitempty"`
	// Certificates are those of the last good version, by name.
	Certificates []ServedCertificate `json:"certificates,omitempty"`
	// Answered is what the version that serves answered in the last five minutes, nil
	// where no policy has nginx count.
	Answered *Answered `json:"answered,omitempty"`
	// Bake is the trial of the version that serves, nil when it has passed.
	Bake *Bake `json:"bake,omitempty"`
	// Quarantine is the bundles that failed here, the newest few, the last one
	// last, with the beginning of the reason.
	Quarantine []Quarantined  `json:"quarantine,omitempty"`
	Servers    []ServerStatus `json:"servers,omitempty"` // of upstreams, that are not used as written

	// Trouble is what is wrong with nginx now; empty when nothing is known to be.
	Trouble string `json:"trouble,omitempty"`
	// Outdated says that nginx's executable was replaced on disk: the old one
	// runs until nginx is started anew.
	Outdated bool `json:"outdated,omitempty"`
	// Recovery is when nginx had to be helped last.
	Recovery Recovery `json:"recovery,omitzero"`
	Drift    *Drift   `json:"drift,omitempty"`  // what was changed beside Fairlead
	Paused   *Pause   `json:"paused,omitempty"` // the pause that goes on
}

// Counters are those of stub_status, since the master started.
type Counters struct {
	Active   uint64 `json:"active"`
	Accepted uint64 `json:"accepted"`
	Handled  uint64 `json:"handled"`
	Requests uint64 `json:"requests"`
	Reading  uint64 `json:"reading"`
	Writing  uint64 `json:"writing"`
	Waiting  uint64 `json:"waiting"`
}

// Status looks without waiting for an apply that is under way. The error is
// Unavailable before Run has looked at what is there; nginx being down is no
// error.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	if !e.open.Load() {
		return Status{}, fleet.Errorf(fleet.Unavailable, "the engine of nginx in %s does not run", e.cfg.State)
	}
	s := Status{Version: e.can().Version, Drift: e.Drift(), Paused: e.Paused(), Quarantine: e.quarantine.newest()}
	s.Hermetic, s.HermeticWhy = e.hermetic.now()
	if v, err := e.store.linked(); err == nil {
		s.Disk = v.Manifest.Digest
	}
	if v, err := e.store.good(); err == nil {
		s.Revision, s.Whole, s.Certificates = v.Manifest.Revision, v.Manifest.Whole, e.served.of(v)
		s.Answered = e.answered(v)
	}
	s.Servers = e.servers()
	s.Trouble, s.Recovery = e.trouble.now()
	if t := e.trial.Load(); t != nil {
		s.Revision, s.Whole = t.Revision, t.version.Manifest.Whole
		s.Certificates, s.Bake = e.served.of(t.version), e.bakeStatus()
		s.Answered = e.answered(t.version)
	}
	master := e.master.Load()
	if master == nil {
		return s, nil
	}
	s.Outdated = host.Replaced(master.PID)
	all, err := workersOf(master.PID)
	if err != nil {
		return s, nil // it has just ended
	}
	running, err1 := e.running(ctx)
	counters, err2 := e.counters(ctx)
	if err1 != nil || err2 != nil {
		return s, nil
	}
	s.Up, s.PID, s.Running, s.Counters = true, master.PID, running, counters
	s.Uptime = host.BootClock() - master.Started
	for _, w := range all {
		if w.draining {
			s.Draining++
		} else {
			s.Workers++
		}
	}
	return s, nil
}

// answered counts the last minutes of a version that has nginx count.
func (e *Engine) answered(v version) *Answered {
	if v.policy().Bake == nil {
		return nil
	}
	a := e.tally.before(Short(v.Manifest.Digest))
	return &a
}

// running is the digest of the generation that answers.
func (e *Engine) running(ctx context.Context) (string, error) { return e.get(ctx, "/digest") }

// generation is that digest and the hash of what was filled in for this node,
// from the same worker.
func (e *Engine) generation(ctx context.Context) (string, error) {
	said, err := e.get(ctx, "/generation")
	if fleet.KindOf(err) == fleet.Unknown {
		return e.running(ctx)
	}
	return said, err
}

func (e *Engine) counters(ctx context.Context) (Counters, error) {
	text, err := e.get(ctx, "/status")
	if err != nil {
		return Counters{}, err
	}
	var c Counters
	// Active connections: 2 \nserver accepts handled requests\n 16 16 31 \nReading: 0 Writing: 1 Waiting: 1
	text = strings.Join(strings.Fields(text), " ")
	_, err = fmt.Sscanf(text, "Active connections: %d server accepts handled requests %d %d %d Reading: %d Writing: %d Waiting: %d",
		&c.Active, &c.Accepted, &c.Handled, &c.Requests, &c.Reading, &c.Writing, &c.Waiting)
	return c, err
}

// askTimeout is how long one answer of the status socket may take: longer, and
// the worker that accepted the connection is not serving anybody else either.
const askTimeout = 2 * time.Second

func (e *Engine) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nginx"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode == http.StatusNotFound {
		return "", fleet.Errorf(fleet.Unknown, "status socket knows no %s", path)
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status socket answered %s", resp.Status)
	}
	return string(body), err
}

// statusClient makes a connection for each request, so that no answer comes
// from a worker of an older generation over an older connection.
func statusClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}
