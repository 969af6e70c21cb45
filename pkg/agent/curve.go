package agent

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
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
