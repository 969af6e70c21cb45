package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// ownCurve is the node's curve key, made at the first start. It never leaves
// the state directory. One that is damaged gives way to a new one: stations seal
// again to whatever the node says last.
func ownCurve(state string, log *slog.Logger) (message.Curve, error) {
	path := filepath.Join(state, "curve.seed")
	seed, err := os.ReadFile(path)
	if err == nil {
		c, err := message.CurveOf(seed)
		if err == nil {
			return c, os.Chmod(path, 0o600)
		}
		log.Error("the node's curve key is damaged and made anew", "file", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return message.Curve{}, fleet.Errorf(fleet.Internal, "read the node's curve key: %w", err)
	}
	c, seed, err := message.NewCurve()
	if err == nil {
		err = host.WriteFile(path, append(seed, '\n'), 0o600)
	}
	if err != nil {
		return c, fleet.Errorf(fleet.Internal, "make the node's curve key: %w", err)
	}
	return c, nil
}

// tellPause is the time between attempts to tell.
const tellPause = 2 * time.Second

// tellCurve reports the public half, until that is stored.
func (a *Agent) tellCurve(ctx context.Context) error {
	if a.engine == nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.link.connected():
		}
		err := a.state.Report(ctx, message.MethodSealing, message.SealingDomain, message.Sealing{Curve: a.curve.Public()})
		if err == nil && a.state.told(subjects.StateKey(a.cfg.Name, message.MethodSealing, message.SealingDomain)) {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			a.log.Info("the node's curve key could not be told yet", "error", err)
		}
		timer := time.NewTimer(tellPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// told reports whether the newest report under a key is stored.
func (s *state) told(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reported[key].stored
}
