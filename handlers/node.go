package handlers

import (
	"context"
	"log/slog"
	"time"

	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// Node is what a handler may use of the node that it runs on. The agent fills
// it; a test fills what its handler needs.
type Node struct {
	Name   string
	Log    *slog.Logger
	Nginx  Nginx
	State  State
	Events Events
	Queue  Queue
	Spool  Spool
	Blobs  Blobs
	// Takeover is nil on a node without nginx.
	Takeover Takeover
	// Identity is nil on a node whose credentials are not renewed.
	Identity Identity

	Usage func(ctx context.Context) (host.HostUsage, error)
	// Link is what the link to the broker carried on the last days, the newest
	// first, as UTC days; nil where that is not counted.
	Link        func() []LinkDay
	HealthEvery time.Duration     // 0 sends no health report by itself
	Programs    []string          // absolute paths that shellcommand may run
	PushDirs    []string          // directories that filepush may put files into, absolute and clean
	Syslog      map[string]string // domain to listen address, see package syslog
}

// Nginx is the node's nginx; *nginx.Engine is one.
type Nginx interface {
	Converge(ctx context.Context, d nginx.Desired) (nginx.Outcome, error)
	Reload(ctx context.Context, resumed bool, since time.Duration) (nginx.Verdict, error)
	Status(ctx context.Context) (nginx.Status, error)
	// Pause leaves nginx as it is for a while; Resume ends that, and is false
	// where there was no pause.
	Pause(ctx context.Context, p nginx.Pause) (nginx.Pause, error)
	Resume(ctx context.Context, by string) (bool, error)
	// Changes is what was changed by hand, now or before it was healed last.
	Changes(ctx context.Context, healed bool) (nginx.Changes, error)
	// DryRun checks a desired state as Converge would before nginx is told of it.
	DryRun(ctx context.Context, d nginx.Desired) (nginx.Checked, error)
	// Pardon has the next Converge try a bundle although it failed before; "" is
	// every bundle.
	Pardon(digest string)
}

// State is what the node should be and says it is.
type State interface {
	// Desired is the newest desired document that can be read and proven,
	// from the broker or, without a link, from the node's own disk. The error
	// is Unknown where there is none.
	Desired(ctx context.Context, method, domain string) ([]byte, error)
	// Coming is the revision of a newer desired state that is on its way to the node
	// in parts, 0 for none: Desired is the one before it as long.
	Coming(method, domain string) uint64
	// Report stores what the node is. Without a link it is stored later; only
	// the newest report of a method and domain counts.
	Report(ctx context.Context, method, domain string, document any) error
}

// Later says that a command waits for something that is on its way to the node. It does
// not end the command: the agent runs it again when that is there.
type Later struct{ For string }

func (l Later) Error() string { return "it waits for " + l.For }

// Events carries a node's events.
type Events interface {
	// Emit stores an event now; the error is Unavailable without a link. Of a
	// health report nil says that it was sent.
	// id is empty for a new one, or that of an earlier attempt.
	Emit(ctx context.Context, method, domain, id string, body []byte) error
	// Connected is closed when the link stands next, at once if it does now; after a
	// return only once what can wait may go, so that a fleet does not send it in one moment.
	Connected() <-chan struct{}
}

// Queue is the agent's queue of waiting commands.
type Queue interface {
	// Cancel ends a waiting command cancelled, by the command that asked for
	// it. The error is Unknown where nothing of that id waits, Conflict where
	// it has begun.
	Cancel(ctx context.Context, id, by string) error
}

// Spool keeps log batches on disk while there is no link; it drops the oldest
// when it is full and counts them.
type Spool interface {
	Push(domain string, records int, batch []byte) error
	Peek(max int) ([]Spooled, error)
	Done(upTo uint64) error
	Empty() bool
	// TellDropped sends an event that says how much was dropped since the last
	// one, if anything was.
	TellDropped() error
}

// Spooled is one batch in a Spool.
type Spooled struct {
	Position uint64
	Domain   string
	Batch    []byte
}
