package station

import (
	"context"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// renewable are credentials whose JWT can be exchanged for a younger one.
type renewable interface {
	Renew(token string) (bool, error)
}

// lookRenewed says that there may be a renewed JWT for this station.
func (s *Station) lookRenewed() {
	select {
	case s.renewed <- struct{}{}:
	default:
	}
}

// followRenewed takes up the station's own JWT when it is renewed: the one that
// is stored, looked for at each connection, and those that come. The connection
// uses it when the broker ends the one that the old JWT made.
func (s *Station) followRenewed(ctx context.Context) {
	creds, ok := s.cfg.Credentials.(renewable)
	if !ok {
		return
	}
	sub, err := s.conn.FollowRenewed(s.cfg.Credentials.PublicKey(), s.lookRenewed)
	if err != nil {
		s.log.Warn("a renewed JWT of this station will not be heard", "error", err)
		return
	}
	defer sub.Stop()
	s.lookRenewed() // what is stored already
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.renewed:
			s.takeRenewed(ctx, creds)
		}
	}
}

func (s *Station) takeRenewed(ctx context.Context, creds renewable) {
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	user := s.cfg.Credentials.PublicKey()
	m, err := s.conn.Renewed(ctx, user)
	if fleet.KindOf(err) == fleet.Unknown || ctx.Err() != nil {
		return
	}
	token := ""
	if err == nil {
		token, err = message.OpenRenewed(m, user, s.trust.Current().Signers)
	}
	renewed := false
	if err == nil {
		renewed, err = creds.Renew(token)
	}
	if renewed {
		s.log.Info("took up the renewed JWT of this station")
	}
	if err != nil {
		s.log.Warn("the renewed JWT of this station", "error", err)
	}
}
