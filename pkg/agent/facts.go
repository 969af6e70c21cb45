package agent

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// factsEvery is the pause between looks at what this host and its nginx can
// do: a package that is installed brings what was left out before.
const factsEvery = time.Minute

// tellFacts reports what the node is, now and when it changes. Facts are a
// document and no event: events are kept for days, and a node may run for
// months without a word of its start.
func (a *Agent) tellFacts(ctx context.Context) error {
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	select {
	case <-a.link.connected(): // a station may wait for what this node says
	case <-ctx.Done():
		return nil
	}
	for {
		if facts, err := a.facts(ctx); err != nil {
			a.log.Warn("cannot say what this node can do", "error", err)
		} else if err := a.state.Report(ctx, subjects.MethodLifecycle, message.LifecycleDomain, facts); err != nil {
			a.log.Info("the facts of the node wait", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Facts is what a host can say of itself before it is a node: its curve key is
// made below the agent's state directory where there is none.
func Facts(state string) (f fleet.Facts, err error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return f, fleet.Errorf(fleet.Invalid, "state directory: %w", err)
	}
	curve, err := ownCurve(state, slog.New(slog.DiscardHandler))
	f.Curve = curve.Public()
	tellHost(&f)
	return f, err
}

func tellHost(f *fleet.Facts) {
	f.Hostname, _ = os.Hostname() // none is a fact too
	f.OS, f.Arch, f.CPUs = host.OS(), runtime.GOARCH, runtime.NumCPU()
	f.Hostname = strings.TrimSpace(f.Hostname)
}

func (a *Agent) facts(ctx context.Context) (f fleet.Facts, err error) {
	if a.engine != nil {
		if f, err = a.engine.Facts(ctx); err != nil {
			return f, err
		}
		f.Curve = a.curve.Public()
	}
	tellHost(&f)
	f.Link, f.HeartbeatSeconds = a.cfg.Link, a.cfg.Heartbeat.Seconds()
	if creds, ok := a.cfg.Credentials.(interface {
		Life() (from, until time.Time)
	}); ok {
		_, f.JWTUntil = creds.Life()
		f.JWTUntil = f.JWTUntil.UTC()
	}
	return f, nil
}
