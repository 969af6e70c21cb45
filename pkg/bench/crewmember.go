package bench

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"runtime/debug"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// Crew runs simulated nodes for a bench of another process, which it hears over a
// Unix socket, until that ends the connection.
func Crew(ctx context.Context, socket string) error {
	debug.SetGCPercent(100) // as an agent of its own has it; memory counts here
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	out := json.NewEncoder(conn)
	c := &crewWork{system: &system{options: Options{}.complete(), stop: func() {}, gate: newGate()},
		said: func(r crewReply) { _ = out.Encode(r) }} // who hears nothing any more has ended the connection
	defer c.close()
	orders := make(chan crewOrder)
	go func() {
		defer cancel() // whoever asked is gone
		in := json.NewDecoder(conn)
		for {
			var o crewOrder
			if in.Decode(&o) != nil {
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-orders:
			if err := c.do(ctx, o); err != nil {
				c.said(crewReply{Error: err.Error()})
				return errors.Join(err, ctx.Err())
			}
			c.said(crewReply{Done: true})
		}
	}
}

// crewWork is what a member has under way.
type crewWork struct {
	*system
	said func(crewReply)
}

func (c *crewWork) do(ctx context.Context, o crewOrder) error {
	switch o.Do {
	case crewStart:
		if o.Plan == nil {
			return fleet.Errorf(fleet.Invalid, "told to start agents without a plan")
		}
		c.gate.openOver(o.Over)
		return c.start(ctx, *o.Plan)
	case crewCut:
		c.gate.cut()
	case crewOpen:
		c.gate.openOver(o.Over)
	case crewFree:
		debug.FreeOSMemory()
	default:
		return fleet.Errorf(fleet.Invalid, "told to %q", o.Do)
	}
	return nil
}

// start runs the agents of a plan.
func (c *crewWork) start(ctx context.Context, p crewPlan) error {
	s := c.system
	s.url, s.secure, s.every, s.options.Journals = p.URL, bus.TLS{CA: p.CA}, p.HealthEvery, p.Journals
	s.handlers = func() handlers.Registry { return simulatedRegistry(p.NginxDelay) }
	for _, n := range p.Nodes {
		s.nodes = append(s.nodes, identity.User{Name: n.Name, CredsFile: n.Creds})
	}
	trust, err := identity.LoadTrust(p.Trust)
	if err != nil {
		return err
	}
	agents, err := s.makeAgents(trust)
	if err != nil {
		return err
	}
	return s.run(ctx, agents, func(run int) { c.said(crewReply{Run: run}) })
}
