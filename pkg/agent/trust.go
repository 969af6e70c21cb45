package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

// ownTrust is whom the node believes: the set that it was given, or the one
// that it kept where that is newer. What it accepts later it keeps beside its
// journal, so that a restart without a link does not go back behind it.
func (a *Agent) ownTrust() (*message.TrustKeeper, error) {
	path := filepath.Join(a.cfg.State, "trust.json")
	begin := a.cfg.Trust
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fleet.Errorf(fleet.Internal, "read the trust set that was kept: %w", err)
	default:
		kept, err := message.DecodeTrust(data)
		if err != nil {
			a.log.Error("the trust set that was kept is damaged: the one that the agent was given counts", "file", path, "error", err)
		}
		begin = message.NewestPinned(a.cfg.Trust, kept)
	}
	k, err := message.NewTrustKeeper(begin, a.clock.Now)
	if err != nil {
		return nil, err
	}
	a.cfg.TLS.FollowTrust(k.Current(), a.log)
	k.Keep = func(m message.Message) error {
		a.cfg.TLS.FollowTrust(k.Current(), a.log) // first: what is kept is not accepted again
		data, err := message.EncodeTrust(m)
		if err != nil {
			return err
		}
		return host.WriteFile(path, data, 0o600)
	}
	return k, nil
}

// Trust is whom the node believes, once the agent is ready.
func (a *Agent) Trust() *message.TrustKeeper { return a.trust }
