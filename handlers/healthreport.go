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
	// Link is what the link to the broker carried; nil where nothing was counted.
	Link *LinkUse `json:"link,omitempty"`
	// Faults say what could not be measured.
	Faults []string `json:"faults,omitempty"`
}

// LinkUse is what the link to the broker carried: every byte that the agent read from
// its connections and wrote to them, TLS with them. What TCP and IP add, and send
// again, is not in it.
type LinkUse struct {
	Day            string `json:"day"` // UTC, by the broker's clock, such as 2026-11-26
	InBytes        uint64 `json:"inBytes"`
	OutBytes       uint64 `json:"outBytes"`
	YesterdayBytes uint64 `json:"yesterdayBytes,omitempty"` // in and out, of the day before
	// Days are the last seven that had any, the newest first; on command alone.
	Days []LinkDay `json:"days,omitempty"`
}

// LinkDay is what the link carried on one day.
type LinkDay struct {
	Day      string `json:"day"`
	InBytes  uint64 `json:"inBytes"`
	OutBytes uint64 `json:"outBytes"`
}

// Bytes is what the link carried both ways.
func (d LinkDay) Bytes() uint64 { return d.InBytes + d.OutBytes }

// UseOf is what days, the newest first, were as of the first of them.
func UseOf(days []LinkDay) *LinkUse {
	if len(days) == 0 {
		return nil
	}
	use := &LinkUse{Day: days[0].Day, InBytes: days[0].InBytes, OutBytes: days[0].OutBytes, Days: days}
	today, err := time.Parse(time.DateOnly, use.Day)
	if err == nil && len(days) > 1 && days[1].Day == today.AddDate(0, 0, -1).Format(time.DateOnly) {
		use.YesterdayBytes = days[1].Bytes()
	}
	return use
}

var _ = define(Definition[HealthBody]{
	Method:  subjects.MethodHealth,
	Summary: "say how nginx and the host are",
	Details: "nginx: up, version, counters of stub_status, number of workers, running revision and digest. " +
		"Host: processor, memory, disk, load. Link: bytes to and from the broker, today and yesterday, " +
		"and on command of the last seven days. Sent by itself every 15 seconds, and on command.",
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
			r := health(ctx, n)
			if r.Link != nil {
				r.Link.Days = nil // sent every few seconds they would be a good part of what they tell
			}
			body, err := json.Marshal(r)
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
	if n.Link != nil {
		r.Link = UseOf(n.Link())
	}
	return r
}
