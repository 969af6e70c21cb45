package client

import (
	"context"
	"encoding/json"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Trust is whose signatures the user believes; nil where the user has no trust
// set and asks the stations.
func (c *Client) Trust() *message.TrustKeeper { return c.trust }

// newestTrust reads the newest trust set when something is proven for the first
// time, and follows it from then on. While it cannot be read the one that the
// user has counts.
func (c *Client) newestTrust(ctx context.Context) {
	c.trustMu.Lock()
	defer c.trustMu.Unlock()
	if c.trustRead {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if c.following == nil {
		var err error
		if c.following, err = c.conn.FollowTrust(c.trust, nil); err != nil {
			c.log.Warn("changes of the trust set are not heard", "error", err)
		}
	}
	if err := c.conn.NewestTrust(ctx, c.trust); err != nil {
		c.log.Warn("the newest trust set cannot be read", "error", err)
		return
	}
	c.trustRead = true
}

// endedBy reports whether a key was trusted no more at a moment of the broker's
// clock.
func endedBy(owner station.KeyAnswer, at time.Time) bool {
	return !owner.Ended.IsZero() && !at.Before(owner.Ended)
}

// takenBack reports whether a node's key was, at a moment of the broker's clock,
// by the user's trust set.
func (c *Client) takenBack(ctx context.Context, key string, at time.Time) bool {
	if c.trust == nil {
		return false
	}
	c.newestTrust(ctx)
	if len(c.trust.Missing()) > 0 {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if err := c.conn.RevokedNodes(ctx, c.trust); err != nil {
			c.log.Warn("which nodes were revoked cannot be read", "error", err)
		}
	}
	return endedBy(c.owner(ctx, key), at)
}

// keyIn is the public key in an entry of the register, "" where the user has a
// trust set and by that nobody wrote the entry who may.
func (c *Client) keyIn(ctx context.Context, e bus.Entry) string {
	var r station.NodeRecord
	if json.Unmarshal(e.Body, &r) != nil {
		return ""
	}
	if c.trust == nil {
		return r.Key
	}
	c.newestTrust(ctx)
	m, err := e.Message(message.RegisterSubject(e.Key))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, c.trust.Find, subjects.Admin, subjects.Station)
	}
	if err != nil || r.Name != e.Key {
		c.log.Warn("ignored an entry of the register", "node", e.Key, "error", err)
		return ""
	}
	return r.Key
}

// pinnedCurve is the stations' curve key by the user's trust set, "" where that
// has none.
func (c *Client) pinnedCurve(ctx context.Context) string {
	if c.trust == nil {
		return ""
	}
	c.newestTrust(ctx)
	return c.trust.Current().Curve
}

// removes reports whether an entry of the register removes its node: always for
// a user without a trust set, else where somebody signed it who may.
func (c *Client) removes(ctx context.Context, e bus.Entry) bool {
	if c.trust == nil {
		return true
	}
	c.newestTrust(ctx)
	m, err := e.Message(message.RegisterSubject(e.Key))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, c.trust.Find, subjects.Admin, subjects.Station)
	}
	return err == nil && m.Operation == bus.Delete
}
