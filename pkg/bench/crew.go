package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// memberNodes is how many simulated nodes one process holds at most. Each has two
// open files, its connection and its journal, and many systems let a process have
// 20,000 at most.
const memberNodes = 5000

// member is a process of simulated nodes, see Crew. It does what it is told over a
// connection, and ends with it.
type member struct {
	name    string // of its log
	process *host.Process
	conn    net.Conn
	in      *json.Decoder
	out     *json.Encoder
	plan    crewPlan
}

// crewPlan is what a member is told first.
type crewPlan struct {
	URL         string        `json:"url"`
	CA          string        `json:"ca,omitempty"`
	Trust       string        `json:"trust"`    // file of the trust set
	Journals    string        `json:"journals"` // directory
	NginxDelay  time.Duration `json:"nginxDelayNs"`
	HealthEvery time.Duration `json:"healthEveryNs"`
	Nodes       []crewNode    `json:"nodes"`
}

type crewNode struct {
	Name  string `json:"name"`
	Creds string `json:"creds"` // file of its credentials
}

// What a member does when it is told.
const (
	crewStart = "start" // run the agents; done when each is ready
	crewCut   = "cut"   // cut all links and shut the way
	crewOpen  = "open"  // open it
	crewFree  = "free"  // give back memory that is free
)

// crewReply is what a member says: how many agents run, and at the end of what it
// was told, done or why not.
type crewReply struct {
	Run   int    `json:"run,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// startCrew starts as many members as the nodes want, whose agents do not run yet.
func (s *system) startCrew(ctx context.Context, delay time.Duration) error {
	path := fmt.Sprintf("@fairlead-bench-%d", os.Getpid()) // abstract: a path of a directory can be too long for one
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for nodes := range slices.Chunk(s.nodes, memberNodes) {
		plan := crewPlan{URL: s.url, CA: s.secure.CA, Trust: s.authority.TrustFile(), Journals: s.options.Journals, NginxDelay: delay, HealthEvery: s.every}
		for _, n := range nodes {
			plan.Nodes = append(plan.Nodes, crewNode{n.Name, n.CredsFile})
		}
		name := fmt.Sprintf("agents%d", len(s.crew))
		p, err := s.daemon(name, "bench", "agents", path)
		if err != nil {
			return err
		}
		m := &member{name: name, process: p, plan: plan}
		s.crew = append(s.crew, m)
		if m.conn, err = listener.Accept(); err != nil {
			return s.explain(name, err)
		}
		m.in, m.out = json.NewDecoder(m.conn), json.NewEncoder(m.conn)
	}
	return nil
}

// order has all members do something, and waits until it is done.
func (s *system) order(ctx context.Context, what string) error {
	return s.orderOver(ctx, what, 0)
}

// orderOver is order with a time over which the nodes are to spread.
func (s *system) orderOver(ctx context.Context, what string, over time.Duration) error {
	failed := make([]error, len(s.crew))
	runs := make(chan crewRun, len(s.crew))
	var all sync.WaitGroup
	for i, m := range s.crew {
		all.Go(func() {
			failed[i] = s.explain(m.name, m.order(ctx, crewOrder{Do: what, Over: over}, func(run int) { runs <- crewRun{i, run} }))
		})
	}
	go func() { all.Wait(); close(runs) }()
	each := make([]int, len(s.crew))
	for r := range runs {
		each[r.member] = r.run
		total := 0
		for _, run := range each {
			total += run
		}
		s.options.Progress("%d of %d agents run", total, len(s.nodes))
	}
	return errors.Join(failed...)
}

// crewRun is how many agents of a member run.
type crewRun struct{ member, run int }

func (m *member) order(ctx context.Context, told crewOrder, run func(int)) error {
	// A member that says nothing any more is not waited for when ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Now()) })
	defer stop()
	if told.Do == crewStart {
		told.Plan = &m.plan
	}
	if err := m.out.Encode(told); err != nil {
		return errors.Join(err, ctx.Err())
	}
	for {
		var r crewReply
		switch err := m.in.Decode(&r); {
		case err != nil:
			return errors.Join(err, ctx.Err())
		case r.Error != "":
			return fleet.Errorf(fleet.Failed, "%s", r.Error)
		case r.Done:
			return nil
		}
		run(r.Run)
	}
}

// crewOrder is what a member is told.
type crewOrder struct {
	Do   string        `json:"do"`
	Plan *crewPlan     `json:"plan,omitempty"`   // of crewStart
	Over time.Duration `json:"overNs,omitempty"` // over how long agents come, when they start and when the way opens
}

// pids are the processes in which the simulated nodes live: the crew, or this one.
func (s *system) pids() (pids []int) {
	for _, m := range s.crew {
		pids = append(pids, m.process.PID)
	}
	if pids == nil {
		pids = []int{os.Getpid()}
	}
	return pids
}

// endCrew ends all members: each ends with its connection.
func (s *system) endCrew() {
	for _, m := range s.crew {
		if m.conn != nil {
			_ = m.conn.Close()
		}
	}
	var all sync.WaitGroup
	for _, m := range s.crew {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), endTime)
			defer cancel()
			_ = m.process.Wait(ctx)
			end(m.process)
		})
	}
	all.Wait()
}
