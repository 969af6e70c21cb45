package handlerstest

import (
	"context"
	"io"
	"log/slog"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// node has a part for every need and nothing behind any.
func node() *handlers.Node {
	var p poor
	return &handlers.Node{
		Name: "node1", Log: slog.New(slog.DiscardHandler), Nginx: p, State: p, Events: p, Queue: p, Spool: p, Blobs: p,
		Usage:       func(ctx context.Context) (host.HostUsage, error) { return host.HostUsage{}, ctx.Err() },
		HealthEvery: time.Second,
	}
}

// poor implements all that a handler may use, and has nothing to give.
type poor struct{}

var errPoor = fleet.Errorf(fleet.Unavailable, "the suite's node has nothing")

func (poor) Converge(context.Context, nginx.Desired) (nginx.Outcome, error) {
	return nginx.Outcome{}, errPoor
}

func (poor) DryRun(context.Context, nginx.Desired) (nginx.Checked, error) {
	return nginx.Checked{}, errPoor
}

func (poor) Pardon(string) {}

func (poor) Reload(context.Context, bool, time.Duration) (nginx.Verdict, error) {
	return nginx.Verdict{}, errPoor
}

func (poor) Pause(context.Context, nginx.Pause) (nginx.Pause, error) { return nginx.Pause{}, errPoor }
func (poor) Resume(context.Context, string) (bool, error)            { return false, errPoor }
func (poor) Changes(context.Context, bool) (nginx.Changes, error)    { return nginx.Changes{}, errPoor }

func (poor) Status(context.Context) (nginx.Status, error)               { return nginx.Status{}, errPoor }
func (poor) Desired(context.Context, string, string) ([]byte, error)    { return nil, errPoor }
func (poor) Coming(string, string) uint64                               { return 0 }
func (poor) Report(context.Context, string, string, any) error          { return errPoor }
func (poor) Emit(context.Context, string, string, string, []byte) error { return errPoor }
func (poor) Connected() <-chan struct{}                                 { return nil }
func (poor) Cancel(context.Context, string, string) error               { return errPoor }
func (poor) Push(string, int, []byte) error                             { return errPoor }
func (poor) Peek(int) ([]handlers.Spooled, error)                       { return nil, errPoor }
func (poor) Done(uint64) error                                          { return errPoor }
func (poor) Begun(string) (string, int64)                               { return "", 0 }
func (poor) Placing(string, string) (func(), error)                     { return nil, errPoor }
func (poor) Fetch(context.Context, string, time.Time) (io.ReadCloser, error) {
	return nil, errPoor
}
func (poor) Forget(string)      {}
func (poor) Empty() bool        { return true }
func (poor) TellDropped() error { return errPoor }
