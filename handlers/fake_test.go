package handlers_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// run gives a command to the product's handler of a method.
func run(t *testing.T, n *handlers.Node, method, body string) (handlers.Result, error) {
	t.Helper()
	return command(t, t.Context(), n, method, handlers.Command[json.RawMessage]{Body: json.RawMessage(body)})
}

func command(t *testing.T, ctx context.Context, n *handlers.Node, method string, c handlers.Command[json.RawMessage]) (handlers.Result, error) {
	t.Helper()
	h, err := handlers.All().Find(method)
	if err != nil {
		t.Fatal(err)
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	c.Subject = subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: method, Domain: h.Domain}
	if c.ID == "" {
		c.ID = "01KAM3S2Y1C6Q8Z5V7W9X0ABCD"
	}
	return h.Handle(ctx, n, c)
}

// next is what comes next.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func kind(t *testing.T, err error, want fleet.Kind) {
	t.Helper()
	if fleet.KindOf(err) != want {
		t.Errorf("the kind is %q, want %q: %v", fleet.KindOf(err), want, err)
	}
}

// fakeNginx answers as it is told and keeps what it was asked.
type fakeNginx struct {
	verdict   nginx.Verdict
	err       error
	status    nginx.Status
	statusErr error
	resources []nginx.ResourceState
	desired   nginx.Desired
	since     time.Duration
	applied   int
	paused    nginx.Pause
	changes   nginx.Changes
	checked   nginx.Checked
	pardoned  []string
}

func (f *fakeNginx) Converge(_ context.Context, d nginx.Desired) (nginx.Outcome, error) {
	f.applied++
	f.desired = d
	return nginx.Outcome{Verdict: f.verdict, Resources: f.resources}, f.err
}

func (f *fakeNginx) DryRun(_ context.Context, d nginx.Desired) (nginx.Checked, error) {
	f.desired = d
	return f.checked, f.err
}

func (f *fakeNginx) Pardon(digest string) { f.pardoned = append(f.pardoned, digest) }

func (f *fakeNginx) Reload(_ context.Context, _ bool, since time.Duration) (nginx.Verdict, error) {
	f.since = since
	return f.verdict, f.err
}

func (f *fakeNginx) Pause(_ context.Context, p nginx.Pause) (nginx.Pause, error) {
	f.paused = p
	return p, f.err
}

func (f *fakeNginx) Resume(_ context.Context, by string) (bool, error) {
	was := f.paused.For > 0
	f.paused = nginx.Pause{}
	return was, f.err
}

func (f *fakeNginx) Changes(context.Context, bool) (nginx.Changes, error) { return f.changes, f.err }

func (f *fakeNginx) Status(context.Context) (nginx.Status, error) { return f.status, f.statusErr }

// fakeState has one desired document and keeps the reports.
type fakeState struct {
	coming  uint64
	desired []byte
	err     error
	reports []handlers.Reported
}

func (f *fakeState) Desired(context.Context, string, string) ([]byte, error) { return f.desired, f.err }

func (f *fakeState) Coming(string, string) uint64 { return f.coming }

func (f *fakeState) Report(_ context.Context, _, _ string, document any) error {
	f.reports = append(f.reports, document.(handlers.Reported))
	return nil
}

// emitted is an event as fakeEvents took it.
type emitted struct {
	method, domain, id string
	body               []byte
}

// fakeEvents takes events while there is a link. lose makes it take the next
// one and say that it did not, as when an acknowledgement is lost.
type fakeEvents struct {
	took chan emitted

	mu   sync.Mutex
	up   chan struct{} // closed while the link stands
	lose bool
	err  error
}

func newEvents(connected bool) *fakeEvents {
	f := &fakeEvents{took: make(chan emitted, 1000), up: make(chan struct{})}
	if connected {
		close(f.up)
	}
	return f
}

func (f *fakeEvents) set(change func(f *fakeEvents)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeEvents) Connected() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}

func (f *fakeEvents) Emit(_ context.Context, method, domain, id string, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.up:
	default:
		return fleet.Errorf(fleet.Unavailable, "there is no link")
	}
	if f.err != nil {
		return f.err
	}
	f.took <- emitted{method, domain, id, body}
	if f.lose {
		f.lose = false
		return fleet.Errorf(fleet.Timeout, "the acknowledgement was lost")
	}
	return nil
}

// fakeQueue cancels nothing but what it is told.
type fakeQueue struct {
	err    error
	id, by string
}

func (f *fakeQueue) Cancel(_ context.Context, id, by string) error {
	f.id, f.by = id, by
	return f.err
}

// fakeSpool keeps batches in memory; pushed and done tell what comes and goes.
type fakeSpool struct {
	pushed chan handlers.Spooled
	done   chan uint64

	mu   sync.Mutex
	all  []handlers.Spooled
	last uint64
	told int
}

func newSpool() *fakeSpool {
	return &fakeSpool{pushed: make(chan handlers.Spooled, 1000), done: make(chan uint64, 1000)}
}

func (f *fakeSpool) Push(domain string, _ int, batch []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	s := handlers.Spooled{Position: f.last, Domain: domain, Batch: batch}
	f.all = append(f.all, s)
	f.pushed <- s
	return nil
}

func (f *fakeSpool) Peek(n int) ([]handlers.Spooled, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]handlers.Spooled(nil), f.all[:min(n, len(f.all))]...), nil
}

func (f *fakeSpool) Done(upTo uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.all) > 0 && f.all[0].Position <= upTo {
		f.all = f.all[1:]
	}
	f.done <- upTo
	return nil
}

func (f *fakeSpool) Empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all) == 0
}

func (f *fakeSpool) TellDropped() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told++
	return nil
}

func noUsage(context.Context) (host.HostUsage, error) { return host.HostUsage{}, nil }
