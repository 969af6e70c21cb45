package bench

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// simulated is an nginx that takes what it is given after a while. It stands
// behind the product's own handlers, so that a simulated node says, reports and
// journals what a real one does.
type simulated struct {
	delay time.Duration // of a change and of a reload

	mu     sync.Mutex
	serves nginx.Desired
}

// simulatedRegistry is that of a node with a simulated nginx, and the method that
// does nothing.
func simulatedRegistry(delay time.Duration) handlers.Registry {
	web := &simulated{delay: delay}
	nothing, _ := registry().Find(method)
	all := []handlers.Handler{nothing}
	for _, name := range []string{handlers.MethodNginxConfig, handlers.MethodReload, subjects.MethodHealth} {
		h, err := handlers.All().Find(name)
		if err != nil {
			panic("bench: " + err.Error()) // they are the product's
		}
		handle, serve := h.Handle, h.Serve
		h.Handle = func(ctx context.Context, n *handlers.Node, c handlers.Command[json.RawMessage]) (handlers.Result, error) {
			return handle(ctx, web.on(n), c)
		}
		if serve != nil {
			h.Serve = func(ctx context.Context, n *handlers.Node) error { return serve(ctx, web.on(n)) }
		}
		all = append(all, h)
	}
	return handlers.New(all...)
}

// on is the node with this nginx in the place of its own.
func (s *simulated) on(n *handlers.Node) *handlers.Node {
	with := *n
	with.Nginx = s
	return &with
}

func (s *simulated) wait(ctx context.Context) error {
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// simulatedWorkers is how many workers it says that it has.
const simulatedWorkers = 2

// Converge serves a desired state after the delay.
func (s *simulated) Converge(ctx context.Context, d nginx.Desired) (nginx.Outcome, error) {
	s.mu.Lock()
	changed := s.serves.Digest != d.Digest
	s.mu.Unlock()
	if changed {
		if err := s.wait(ctx); err != nil {
			return nginx.Outcome{}, err
		}
	}
	d.Resources = nil // a fleet's worth of them in one process
	s.mu.Lock()
	s.serves = d
	s.mu.Unlock()
	return nginx.Outcome{Verdict: nginx.Verdict{Changed: changed, Revision: d.Revision, Digest: d.Digest, Workers: simulatedWorkers, Took: s.delay}}, nil
}

// Reload takes the delay.
func (s *simulated) Reload(ctx context.Context, _ bool, _ time.Duration) (nginx.Verdict, error) {
	if err := s.wait(ctx); err != nil {
		return nginx.Verdict{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nginx.Verdict{Changed: true, Revision: s.serves.Revision, Digest: s.serves.Digest, Workers: simulatedWorkers, Took: s.delay}, nil
}

// Status is always well.
func (s *simulated) Status(context.Context) (nginx.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return nginx.Status{Up: true, Workers: simulatedWorkers, Version: "1.28.0", Running: s.serves.Digest, Disk: s.serves.Digest,
		Revision: s.serves.Revision, Whole: s.serves.Revision}, nil
}

// Pause, Resume, Changes, DryRun and Pardon are of no consequence here.
func (s *simulated) Pause(_ context.Context, p nginx.Pause) (nginx.Pause, error) { return p, nil }

func (s *simulated) Resume(context.Context, string) (bool, error) { return false, nil }

func (s *simulated) Changes(context.Context, bool) (nginx.Changes, error) {
	return nginx.Changes{}, nil
}

func (s *simulated) DryRun(_ context.Context, d nginx.Desired) (nginx.Checked, error) {
	return nginx.Checked{Digest: d.Digest}, nil
}

func (s *simulated) Pardon(string) {}
