package agent

import (
	"context"
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

func (a *Agent) facts(ctx context.Context) (f fleet.Facts, err error) {
	if a.engine != nil {
		if f, err = a.engine.Facts(ctx); err != nil {
			return f, err
		}
		f.Curve = a.curve.Public()
	}
	f.Hostname, _ = os.Hostname() // none is a fact too
	f.OS, f.Arch, f.CPUs = host.OS(), runtime.GOARCH, runtime.NumCPU()
	f.Hostname = strings.TrimSpace(f.Hostname)
	return f, nil
}
