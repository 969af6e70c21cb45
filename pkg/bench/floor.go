package bench

import (
	"context"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// floor measures what the same commands cost without agents: bare connections
// that verify a command and answer it, signed, with no journal, no order, no
// handler and no memory of what ran before. Messages, streams, signatures and
// the station's work are those of the real run, so nothing that keeps
// Fairlead's guarantees can be faster than this on the same machine.
func (s *system) floor(ctx context.Context) (Figures, error) {
	conns, err := s.bare(ctx)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	if err != nil {
		return Figures{}, err
	}
	return s.floorOf(ctx, s.options.Commands)
}

// bare connects every node without an agent; the caller closes what it returns,
// also beside an error.
func (s *system) bare(ctx context.Context) (conns []*bus.Conn, err error) {
	for i := range s.nodes {
		conn, err := s.bareOne(ctx, i)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// barePing is how often a bare connection asks for a sign of life, as agents do.
const barePing = 2 * time.Minute

// bareOne connects one node, which answers what it hears and does nothing.
func (s *system) bareOne(ctx context.Context, i int) (*bus.Conn, error) {
	u := s.nodes[i]
	creds, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		return nil, err
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: s.url, TLS: s.secure, Credentials: creds, Ping: barePing, Dial: dialBroker})
	if err != nil {
		return nil, err
	}
	_, err = conn.Subscribe(subjects.CommandsTo(u.Name), func(d message.Delivery) {
		// What fails has no answer, and that ends the measurement.
		if err := echo(conn, creds, d); err != nil {
			s.options.Logger.Error("not answered", "node", u.Name, "error", err)
		}
	}, nil)
	if err == nil {
		err = conn.Flush(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// floorOf sends so many commands to bare connections.
func (s *system) floorOf(ctx context.Context, commands int) (Figures, error) {
	s.options.Progress("%d commands over bare connections", commands)
	outcomes, f, err := s.fan(ctx, nameFloor, commands, func(i int) client.Command { return command(i % s.options.Nodes) })
	if err != nil {
		return Figures{}, err
	}
	var counted Dispatched
	if err := counted.count(outcomes); err != nil {
		return Figures{}, err
	}
	return f, nil
}

func echo(conn *bus.Conn, creds *identity.Credentials, d message.Delivery) error {
	if err := d.Message.CheckSignature(); err != nil {
		return err
	}
	m := message.NewAnswer(d.Message, creds.UserName(), message.Succeeded, message.Answer{Message: "done"})
	if err := m.Sign(creds); err != nil {
		return err
	}
	_, err := conn.PublishAsync(m)
	return err
}
