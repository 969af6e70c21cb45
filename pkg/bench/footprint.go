package bench

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"fairlead/pkg/host"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Footprint is what the processes take when nothing happens.
type Footprint struct {
	Machine Machine       `json:"machine"`
	After   time.Duration `json:"afterNs"`
	Agent   uint64        `json:"agentBytes"` // resident, with its own nginx not counted
	Station uint64        `json:"stationBytes"`
	Broker  uint64        `json:"brokerBytes"`
}

// Idle starts a broker, a station and one agent with a real nginx, each a
// process of its own, and reads their memory after a while.
func Idle(ctx context.Context, o Options, after time.Duration) (Footprint, error) {
	o = o.complete()
	o.Nodes = 0
	f := Footprint{Machine: ThisMachine(), After: after}
	s, err := start(ctx, o)
	defer s.close()
	if err != nil {
		return f, err
	}
	user, err := s.authority.User("idle", subjects.Node)
	if err != nil {
		return f, err
	}
	if err := s.client.Register(ctx, station.NodeRecord{Name: user.Name, Key: user.Key, Since: time.Now().UTC()}); err != nil {
		return f, err
	}
	dir := filepath.Join(s.options.Journals, "idle")
	o.Progress("starting an agent")
	agent, err := s.daemonOf(cmp.Or(o.Agent, o.Binary), "agent", "agent", "--url", s.url, "--creds", user.CredsFile,
		"--trust", s.authority.TrustFile(), "--state", filepath.Join(dir, "state"),
		"--run", filepath.Join(dir, "run"), "--logs", filepath.Join(dir, "logs"), "--nginx-conf", filepath.Join(dir, "conf"))
	if err != nil {
		return f, err
	}
	defer stopWithNginx(agent, filepath.Join(dir, "run", "nginx.pid"))
	err = eventually(ctx, agent, func() error {
		n, err := s.client.Node(ctx, user.Name)
		if err == nil && n.Presence != station.Online {
			err = errNotThere
		}
		return err
	})
	if err != nil {
		return f, s.explain("agent", err)
	}
	o.Progress("waiting %s", after)
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return f, ctx.Err()
	}
	for _, p := range []struct {
		process *host.Process
		into    *uint64
	}{{agent, &f.Agent}, {s.station, &f.Station}, {s.broker, &f.Broker}} {
		if *p.into, err = memory(p.process.PID, "VmRSS"); err != nil {
			return f, err
		}
	}
	return f, nil
}
