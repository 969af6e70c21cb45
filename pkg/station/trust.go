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
	if err := s.putTrust(ctx); err != nil {
		return err
	}
	return s.conn.WatchTrust(ctx, s.trust, caughtUp, func(stored message.Message) error {
		// One that is newer and cannot be accepted may be right, and this station
		// be the one that is behind. Then it is not to fight for its own.
		set, err := message.OpenTrust(stored)
		if err == nil && set.Version >= s.trust.Current().Version {
			return nil
		}
		s.log.Warn("what was stored as trust set is none, or an old one: storing the newest again", "version", s.trust.Current().Version)
		return s.putTrust(ctx)
	})
}

func (s *Station) putTrust(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	err := s.conn.PutTrust(ctx, s.trust.Message())
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
