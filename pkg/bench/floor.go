package bench

import (
	"context"

	"fairlead/pkg/bus"
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
	s.options.Progress("%d commands over bare connections", s.options.Commands)
	conns := make([]*bus.Conn, 0, len(s.nodes))
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for _, u := range s.nodes {
		creds, err := identity.LoadCreds(u.CredsFile)
		if err != nil {
			return Figures{}, err
		}
		conn, err := bus.Connect(ctx, bus.Options{URL: s.url, TLS: s.secure, Credentials: creds})
		if err != nil {
			return Figures{}, err
		}
		conns = append(conns, conn)
		_, err = conn.Subscribe(subjects.CommandsTo(u.Name), func(d message.Delivery) {
			// What fails has no answer, and that ends the measurement.
			if err := echo(conn, creds, d); err != nil {
				s.options.Logger.Error("not answered", "node", u.Name, "error", err)
			}
		}, nil)
		if err != nil {
			return Figures{}, err
		}
		if err := conn.Flush(ctx); err != nil {
			return Figures{}, err
		}
	}
	outcomes, f, err := s.fan(ctx, "the same over bare connections", s.options.Commands, func(i int) int { return i % s.options.Nodes })
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
