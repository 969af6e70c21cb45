package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// A broker sets aside what a stream may hold at most, out of what its disk has
// and the tenant's quota allows, and refuses a stream for which there is too
// little. One that is there already it counts twice when somebody asks to create
// it. None of it may keep a station from starting: a bounded stream is made with
// what there is room for, and one that is there stays as it is.

// leastBytes is the least that a bounded stream is made with.
const leastBytes = 1 << 20

const (
	holdsLess   = "a stream may hold less than it should: the broker's disk, or the tenant's quota, has no room for more"
	staysAsItIs = "the settings of a stream stay as they are: the broker's disk is full, or promised to streams"
)

// noRoom tells a refusal for want of storage. A cluster answers that no broker
// is fit to hold the stream, for whatever reason.
func noRoom(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10047 || api.ErrorCode == 10005)
}

// fit makes a stream, or brings it up to date, where there is no room for it as
// it should be. refused is the broker's answer to that.
func (c *Conn) fit(ctx context.Context, cfg jetstream.StreamConfig, refused error) error {
	there, err := c.js.Stream(ctx, cfg.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return c.makeSmaller(ctx, cfg, refused)
	case err != nil:
		return err
	}
	// An update reserves the difference alone.
	if _, err = c.js.UpdateStream(ctx, cfg); !noRoom(err) {
		return err
	}
	wanted, has := cfg.MaxBytes, there.CachedInfo().Config.MaxBytes
	if wanted > 0 && wanted != has {
		c.log.Warn(holdsLess, "stream", cfg.Name, "bytes", has, "wanted", wanted)
	}
	cfg.MaxBytes = has
	if _, err = c.js.UpdateStream(ctx, cfg); err != nil {
		c.log.Warn(staysAsItIs, "stream", cfg.Name, "error", err)
	}
	return nil
}

// makeSmaller makes a bounded stream with an eighth to a half of the room that
// there is, so that the others have as much. A fleet can do without it, not
// without the others: where there is no room at all it is left out.
func (c *Conn) makeSmaller(ctx context.Context, cfg jetstream.StreamConfig, refused error) error {
	wanted := cfg.MaxBytes
	if wanted <= 0 {
		return refused
	}
	for cfg.MaxBytes >= leastBytes {
		cfg.MaxBytes /= 4
		if _, err := c.js.CreateStream(ctx, cfg); noRoom(err) {
			continue
		} else if err != nil {
			return err
		}
		cfg.MaxBytes /= 2
		_, err := c.js.UpdateStream(ctx, cfg)
		c.log.Warn(holdsLess, "stream", cfg.Name, "bytes", cfg.MaxBytes, "wanted", wanted)
		return err
	}
	c.log.Warn("a stream is left out until there is room for it: the broker's disk, or the tenant's quota, has none", "stream", cfg.Name, "error", refused)
	return nil
}
