package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Dispatched is the result of Dispatch.
type Dispatched struct {
	Machine  Machine   `json:"machine"`
	Nodes    int       `json:"nodes"`
	Sync     string    `json:"brokerSync"`
	Figures  []Figures `json:"figures"`
	Answered int       `json:"answered"` // of all commands sent
	Sent     int       `json:"sent"`
	// Peak memory of the processes, in bytes; the bench holds all agents.
	StationPeak uint64 `json:"stationPeakBytes"`
	BrokerPeak  uint64 `json:"brokerPeakBytes"`
	// SyncDisk is the time of one small synced write, where the broker keeps
	// its streams, where the agents keep their journals, and on a real disk.
	SyncBroker   time.Duration `json:"syncBrokerNs"`
	SyncJournals time.Duration `json:"syncJournalsNs"`
	SyncDisk     time.Duration `json:"syncDiskNs"`
}

// Machine is where it was measured.
type Machine struct {
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	At     time.Time `json:"at"`
}

// ThisMachine describes this host.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), At: time.Now().UTC()}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(data))
	}
	return m
}

// Dispatch measures commands: publish → final answer seen and proven.
func Dispatch(ctx context.Context, o Options) (Dispatched, error) {
	o = o.complete()
	s, err := start(ctx, o)
	defer s.close()
	if err != nil {
		return Dispatched{}, err
	}
	d := Dispatched{Machine: ThisMachine(), Nodes: o.Nodes, Sync: o.Sync}
	for _, sync := range []struct {
		dir  string
		into *time.Duration
	}{{s.options.Data, &d.SyncBroker}, {s.options.Journals, &d.SyncJournals}, {"/var/tmp", &d.SyncDisk}} {
		if *sync.into, err = syncTime(sync.dir); err != nil {
			return d, err
		}
	}
	floor, err := s.floor(ctx)
	if err != nil {
		return d, err
	}
	if err := s.startAgents(ctx); err != nil {
		return d, err
	}
	o.Progress("%d commands one after the other, and bare NATS in turns", o.Singles)
	one, err := s.singles(ctx, &d)
	if err != nil {
		return d, err
	}
	publish := one[1]
	d.Figures = append(one, floor)

	for _, run := range []struct {
		name  string
		count int
		node  func(i int) int
		base  Figures
	}{
		{"commands over all nodes", o.Commands, func(i int) int { return i % o.Nodes }, floor},
		{"commands at once to one agent", o.Burst, func(int) int { return 0 }, publish},
	} {
		o.Progress("%d %s", run.count, run.name)
		outcomes, f, err := s.fan(ctx, run.name, run.count, func(i int) client.Command { return command(run.node(i)) })
		if err != nil {
			return d, err
		}
		if err := d.count(outcomes); err != nil {
			return d, err
		}
		f.Against, f.Ratio = run.base.Name, f.Rate/run.base.Rate
		d.Figures = append(d.Figures, f)
	}
	if d.StationPeak, err = memory(s.station.PID, "VmHWM"); err != nil {
		return d, err
	}
	d.BrokerPeak, err = memory(s.broker.PID, "VmHWM")
	return d, err
}

// bodySize is that of a small command's body and answer.
const bodySize = 64

func command(i int) client.Command {
	return client.Command{Subject: subjects.Subject{Node: nodeName(i), Direction: subjects.Command, Method: method, Domain: "bench"}}
}

// fanTime bounds the wait for the answers of one measurement, and fanEach is what
// each command adds to it.
const (
	fanTime = 5 * time.Minute
	fanEach = 10 * time.Millisecond
)

// bareTime bounds one bare exchange.
const bareTime = 5 * time.Second

// singles are a bare request, a bare publish and a command, one after the other.
func (s *system) singles(ctx context.Context, d *Dispatched) ([]Figures, error) {
	w, err := s.client.Listen(ctx, nodeName(0))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	conn := s.client.Conn()
	other, err := client.Open(ctx, client.Options{URL: s.url, TLS: s.secure, Credentials: s.client.Credentials()})
	if err != nil {
		return nil, err
	}
	defer other.Close()
	echo, err := other.Conn().Echo(subjects.Bench)
	if err != nil {
		return nil, err
	}
	defer echo.Stop()
	if err := other.Conn().Flush(ctx); err != nil {
		return nil, err
	}
	send, remove, err := conn.Bare(ctx, subjects.BenchStream, subjects.BenchStored)
	if err != nil {
		return nil, err
	}
	body := make([]byte, bodySize)
	all := []*series{
		{name: "bare request and reply", do: func() error {
			ctx, cancel := context.WithTimeout(ctx, bareTime)
			defer cancel()
			_, err := conn.Request(ctx, subjects.Bench, body)
			return err
		}},
		{name: "bare JetStream publish", do: func() error {
			ctx, cancel := context.WithTimeout(ctx, bareTime)
			defer cancel()
			return send(ctx, body)
		}},
		{name: "one command, published to proven answer", do: func() error {
			ctx, cancel := context.WithTimeout(ctx, fanTime)
			defer cancel()
			sent, err := s.client.Send(ctx, command(0))
			if err != nil {
				return err
			}
			return d.count(w.Wait(ctx, sent, nil))
		}},
	}
	if err := errors.Join(interleaved(s.options.Singles, all...), remove()); err != nil {
		return nil, err
	}
	request, publish, single := all[0].figures(), all[1].figures(), all[2].figures()
	single.against(request)
	return []Figures{request, publish, single}, nil
}

// count adds outcomes; the error is about one that did not succeed.
func (d *Dispatched) count(outcomes []client.Outcome) error {
	d.Sent += len(outcomes)
	for _, o := range outcomes {
		if o.State != message.Succeeded {
			return fleet.Errorf(fleet.Failed, "command %s to %s is %s: %s", o.ID, o.Node, o.State, o.Answer.Message)
		}
		d.Answered++
	}
	return nil
}

// fan sends commands all at once and waits for their answers.
func (s *system) fan(ctx context.Context, name string, count int, of func(int) client.Command) ([]client.Outcome, Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, fanTime+time.Duration(count)*fanEach)
	defer cancel()
	w, err := s.client.Listen(ctx, "*")
	if err != nil {
		return nil, Figures{}, err
	}
	defer w.Close()
	commands := make([]client.Command, count)
	for i := range commands {
		commands[i] = of(i)
	}
	before, err := s.processors()
	if err != nil {
		return nil, Figures{}, err
	}
	events, err := s.client.Conn().State(ctx, subjects.Events)
	if err != nil {
		return nil, Figures{}, err
	}
	begun := time.Now()
	sent, err := s.client.Send(ctx, commands...)
	if err != nil {
		return nil, Figures{}, err
	}
	outcomes := w.Wait(ctx, sent, nil)
	took := time.Since(begun)
	f, err := s.since(before, name, count, took)
	if err != nil {
		return nil, f, err
	}
	after, err := s.client.Conn().State(ctx, subjects.Events)
	f.Stored = float64(after.Last-events.Last) / float64(count)
	return outcomes, f, err
}

// processors are the processor times of this process, the broker and the station;
// 0 for one that was not started here.
func (s *system) processors() (times [3]time.Duration, err error) {
	pids := s.pids()
	if len(s.crew) > 0 {
		pids = append(pids, os.Getpid()) // the client
	}
	for _, pid := range pids {
		took, err := processor(pid)
		if err != nil {
			return times, err
		}
		times[0] += took
	}
	for i, p := range []*host.Process{s.broker, s.station} {
		if p == nil { // not started here
			continue
		}
		if times[i+1], err = processor(p.PID); err != nil {
			return times, err
		}
	}
	return times, nil
}

// syncTime is the median time of a small synced write below a directory.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".sync-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(filepath.Join(dir, filepath.Base(f.Name())))
	defer f.Close()
	figures, err := timed("", 50, func() error {
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			return err
		}
		return f.Sync()
	})
	return figures.P50, err
}
