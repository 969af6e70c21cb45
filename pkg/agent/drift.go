package agent

import (
	"context"
	"encoding/json"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// driftChanged brings the report up to date with what happened beside any
// command, and has the node converge when a pause is over.
func (a *Agent) driftChanged(event string) {
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	if err := a.tellDrift(ctx); err != nil {
		a.log.Info("a report waits", "error", err)
	}
	if event == nginx.EventResumed {
		a.state.changed()
	}
}

// tellDrift reports drift, pause, bake and quarantine as they are now, where the node has
// reported anything since the agent began; the first report has them anyway.
func (a *Agent) tellDrift(ctx context.Context) error {
	status, err := a.engine.Status(ctx)
	if err != nil {
		return nil // not open yet, or not any more
	}
	return a.state.amend(ctx, func(r *handlers.Reported) {
		r.Drift, r.Paused, r.Bake, r.Quarantine = status.Drift, status.Paused, status.Bake, status.Quarantine
		if status.Running != "" {
			r.RunningDigest = status.Running
		}
	})
}

// amend changes the last report about nginx.
func (s *state) amend(ctx context.Context, change func(*handlers.Reported)) error {
	key := subjects.StateKey(s.agent.cfg.Name, handlers.MethodNginxConfig, desiredDomain)
	s.mu.Lock()
	r := s.reported[key]
	var last handlers.Reported
	if r.document == nil || json.Unmarshal(r.document, &last) != nil {
		s.mu.Unlock()
		return nil
	}
	change(&last)
	last.At = time.Now().UTC()
	document, err := json.Marshal(last)
	if err != nil {
		s.mu.Unlock()
		return fleet.Errorf(fleet.Internal, "report %s: %w", r.method, err)
	}
	if body := untimed(document); string(body) != string(r.body) {
		r.body, r.document, r.stored = body, document, false
		s.reported[key] = r
	}
	due := !r.stored
	s.mu.Unlock()
	if !due || !s.agent.link.stands() {
		return nil
	}
	return s.store(ctx, key, r)
}
