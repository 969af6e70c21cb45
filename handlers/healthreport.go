package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// HealthBody is empty: healthreport takes no parameters.
type HealthBody struct{}

// HealthReport is how a node is, measured when it was asked.
type HealthReport struct {
	At time.Time `json:"at"` // the node's own clock
	// EverySeconds is the time to the next report; a node that is silent for
	// three times as long is not there.
	EverySeconds float64        `json:"everySeconds"`
	Nginx        nginx.Status   `json:"nginx"` // what nginx and its processes say
	Host         host.HostUsage `json:"host"`  // processor, memory, disk, load
	// Faults say what could not be measured.
	Faults []string `json:"faults,omitempty"`
}

var _ = define(Definition[HealthBody]{
	Method:  subjects.MethodHealth,
	Summary: "say how nginx and the host are",
	Details: "nginx: up, version, counters of stub_status, number of workers, running revision and digest. " +
		"Host: processor, memory, disk, load. Sent by itself every 15 seconds, and on command.",
	Timeout: 15 * time.Second,
	Latest:  true,
	Role:    subjects.Viewer,
	Domain:  "nginx",
	Returns: HealthReport{},
	Handle: func(ctx context.Context, n *Node, _ Command[HealthBody]) (Result, error) {
		r := health(ctx, n)
		state := "nginx is down"
		if r.Nginx.Up {
			state = fmt.Sprintf("nginx %s is up with %d workers", r.Nginx.Version, r.Nginx.Workers)
		}
		return Result{Message: state, Data: r}, nil
	},
	Serve: func(ctx context.Context, n *Node) error {
		if n.HealthEvery <= 0 {
			return nil
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-n.Events.Connected():
			}
			body, err := json.Marshal(health(ctx, n))
			if err != nil {
				return fmt.Errorf("health report: %w", err)
			}
			if err := n.Events.Emit(ctx, subjects.MethodHealth, "nginx", "", body); err != nil {
				n.Log.Debug("health report not sent", "error", err)
			}
			// A tenth of jitter keeps a fleet from speaking in one moment.
			timer := time.NewTimer(n.HealthEvery - n.HealthEvery/20 + rand.N(n.HealthEvery/10+1))
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
		}
	},
})

func health(ctx context.Context, n *Node) HealthReport {
	r := HealthReport{At: time.Now().UTC(), EverySeconds: n.HealthEvery.Seconds()}
	var err error
	if r.Nginx, err = n.Nginx.Status(ctx); err != nil {
		r.Faults = append(r.Faults, "nginx: "+err.Error())
	}
	r.Nginx.Certificates = nil // reported when they change, not every few seconds
	if r.Host, err = n.Usage(ctx); err != nil {
		r.Faults = append(r.Faults, "host: "+err.Error())
	}
	return r
}
