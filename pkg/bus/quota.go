package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
)

// quotas are JetStream's error codes by which it says that an account, or the
// broker itself, has no room left, and of what.
var quotas = map[jetstream.ErrorCode]string{
	10002: "storage", 10026: "consumers", 10027: "streams", 10028: "memory", 10047: "storage",
}

// overQuota is an error that says what is used up, nil where nothing is.
func overQuota(err error) error {
	var api *jetstream.APIError
	what := ""
	switch {
	case errors.As(err, &api):
		what = quotas[api.ErrorCode]
	case errors.Is(err, nats.ErrMaxAccountConnectionsExceeded):
		what = "connections"
	}
	if what == "" {
		return nil
	}
	return fleet.Errorf(fleet.Busy, "the tenant's quota of %s is used up, or the broker's: `fairlead status` shows it, `fairlead tenant set` raises it: %w", what, err)
}

// Usage is what an account uses of its quota; a bound of 0 is none.
type Usage struct {
	Storage, Reserved, MaxStorage int64 // bytes; reserved ones count against the bound too
	Streams, MaxStreams           int64
	Consumers, MaxConsumers       int64
}

// Usage asks the broker for it.
func (c *Conn) Usage(ctx context.Context) (Usage, error) {
	info, err := c.js.AccountInfo(ctx)
	if err != nil {
		return Usage{}, kinded(err, "ask for the account's use")
	}
	return Usage{
		Storage: int64(info.Store), Reserved: int64(info.ReservedStore), MaxStorage: max(info.Limits.MaxStore, 0),
		Streams: int64(info.Streams), MaxStreams: int64(max(info.Limits.MaxStreams, 0)),
		Consumers: int64(info.Consumers), MaxConsumers: int64(max(info.Limits.MaxConsumers, 0)),
	}, nil
}
