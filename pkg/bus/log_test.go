package bus_test

import (
	"context"
	"log/slog"
)

// warned calls a function for each warning that is logged.
type warned func()

func onWarning(f func()) *slog.Logger { return slog.New(warned(f)) }

func (w warned) Enabled(context.Context, slog.Level) bool { return true }
func (w warned) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warned) WithGroup(string) slog.Handler            { return w }

func (w warned) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		w()
	}
	return nil
}
