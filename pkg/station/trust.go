package station

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// A station believes the newest trust set that follows from the one that it was
// given. It has nothing on disk, so at each start it begins with that one and
// reads what is stored.

// Trust is whom the station believes.
func (s *Station) Trust() *message.TrustKeeper { return s.trust }

// trustTime bounds one exchange about the trust set.
const trustTime = 30 * time.Second

// followTrust follows the trust set that is stored, and stores the station's
// own where that is newer.
func (s *Station) followTrust(ctx context.Context, caughtUp func()) error {
	tctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	if err := s.conn.NewestTrust(tctx, s.trust); err != nil {
		return err
	}
	// Without them a node would be believed whose key was taken back.
	if err := s.conn.RevokedNodes(tctx, s.trust); err != nil {
		return err
	}
	if err := s.putTrust(ctx); err != nil {
		return err
	}
	return s.conn.WatchTrust(ctx, s.trust, caughtUp, func(stored message.Message) error {
		// One that is newer and cannot be accepted may be right, and this station
		// be the one that is behind. Then it is not to fight for its own.
		set, err := message.OpenTrust(stored)
		if err == nil && set.Version >= s.trust.Current().Version {
			return s.readRevoked(ctx)
		}
		s.log.Warn("what was stored as trust set is none, or an old one: storing the newest again", "version", s.trust.Current().Version)
		return s.putTrust(ctx)
	})
}

// readRevoked reads the lists of revoked nodes that came with a trust set. Nodes
// that were revoked by then are told of to nobody else than who compiles.
func (s *Station) readRevoked(ctx context.Context) error {
	if len(s.trust.Missing()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	if err := s.conn.RevokedNodes(ctx, s.trust); err != nil {
		return err
	}
	s.compiler.wake()
	return nil
}

func (s *Station) putTrust(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	err := s.conn.PutTrust(ctx, s.trust.Message(), s.trust.Revoked()...)
	if fleet.KindOf(err) == fleet.Conflict {
		s.log.Error("the trust set of this station is not what is stored", "error", err)
		return nil
	}
	return err
}

// untilTrust is a context that ends when another trust set is believed.
func (s *Station) untilTrust(ctx context.Context) (context.Context, context.CancelFunc) {
	changed := s.trust.Changed()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
