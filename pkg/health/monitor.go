package health

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// atOnce is how many checks run at the same time.
const atOnce = 64

// Target is a server to be checked.
type Target struct {
	Group   string // servers of one are never all down
	Address string // "192.0.2.1:80", "[2001:db8::1]:80" or "unix:/path"
	Check   Check
}

// Server is a server that fails its checks.
type Server struct {
	Group   string    `json:"group"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"` // of the last check that failed
	// Down says that it is marked; false while the whole group fails.
	Down bool `json:"down"`
}

// Monitor checks servers. Its methods may be called from any goroutine.
type Monitor struct {
	file    string
	log     *slog.Logger
	changed chan struct{}
	tokens  chan struct{}

	mu     sync.Mutex
	ctx    context.Context // of Run, nil before
	tasks  sync.WaitGroup
	states map[key]*state
	kept   map[key]kept // what was down before the last restart, and is not watched yet

	saving sync.Mutex
}

type key struct{ group, address string }

// state is what is known of a target.
type state struct {
	Target
	failing bool
	since   time.Time
	reason  string
	inARow  int // checks that speak against what it is judged to be
	cancel  context.CancelFunc
}

// New makes a monitor that keeps its judgements in a file. It does no I/O.
func New(file string, log *slog.Logger) *Monitor {
	return &Monitor{file: file, log: log, changed: make(chan struct{}, 1), tokens: make(chan struct{}, atOnce),
		states: map[key]*state{}, kept: map[key]kept{}}
}

// Changed receives after a judgement has changed; several may be one signal.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Run checks until ctx ends, and waits for the checks under way.
func (m *Monitor) Run(ctx context.Context) {
	m.mu.Lock()
	m.ctx = ctx
	for _, s := range m.states {
		m.begin(s)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.ctx = nil // none begins any more
	m.mu.Unlock()
	m.tasks.Wait()
}

// Watch replaces the servers that are checked. What is known of one that stays
// is kept, also where its check is another now.
func (m *Monitor) Watch(targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := map[key]bool{}
	for _, t := range targets {
		k := key{t.Group, t.Address}
		wanted[k] = true
		s, found := m.states[k]
		if found && s.Check.equal(t.Check) {
			continue
		}
		if found {
			s.stop()
			s = &state{Target: t, failing: s.failing, since: s.since, reason: s.reason}
		} else {
			s = &state{Target: t}
			if was, ok := m.kept[k]; ok {
				s.failing, s.since, s.reason = true, was.Since, was.Reason
			}
		}
		m.states[k] = s
		m.begin(s)
	}
	for k, s := range m.states {
		if !wanted[k] {
			s.stop()
			delete(m.states, k)
		}
	}
	m.kept = map[key]kept{}
}

// begin starts the checks of a target once Run is at work.
func (m *Monitor) begin(s *state) {
	if m.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	s.cancel = cancel
	m.tasks.Go(func() { m.check(ctx, s) })
}

func (s *state) stop() {
	if s.cancel != nil {
		s.cancel()
	}
}

// check asks a server at its interval, the first time after a part of it, so
// that servers which came together are not asked together.
func (m *Monitor) check(ctx context.Context, s *state) {
	wait := rand.N(s.Check.Interval)
	for pause(ctx, wait) {
		select {
		case m.tokens <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := s.Check.ask(ctx, s.Address)
		<-m.tokens
		if ctx.Err() != nil {
			return
		}
		m.judge(s, err)
		wait = s.Check.Interval*9/10 + rand.N(s.Check.Interval/5+1)
	}
}

// judge counts one answer.
func (m *Monitor) judge(s *state, err error) {
	m.mu.Lock()
	if err != nil {
		s.reason = err.Error()
	}
	need := s.Check.Fails
	if s.failing {
		need = s.Check.Passes
	}
	if (err != nil) == s.failing {
		s.inARow = 0
	} else {
		s.inARow++
	}
	turned := s.inARow >= need
	if turned {
		s.failing, s.since, s.inARow = !s.failing, time.Now().UTC(), 0
	}
	failing, reason := s.failing, s.reason
	m.mu.Unlock()
	if !turned {
		return
	}
	m.log.Info("a server changed its health", "upstream", s.Group, "server", s.Address, "failing", failing, "reason", reason)
	m.save()
	m.signal()
}

func (m *Monitor) signal() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Failing lists the servers that fail, sorted by group and address.
func (m *Monitor) Failing() []Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	well := map[string]bool{}
	for k, s := range m.states {
		well[k.group] = well[k.group] || !s.failing
	}
	var all []Server
	for k, s := range m.states {
		if s.failing {
			all = append(all, Server{Group: k.group, Address: k.address, Since: s.since, Reason: s.reason, Down: well[k.group]})
		}
	}
	slices.SortFunc(all, func(a, b Server) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Address, b.Address))
	})
	return all
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
