package identity

import (
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
)

// Quota bounds what a tenant may use; a zero is without bound. Brokers hold it,
// but for the nodes, which stations do.
type Quota struct {
	Nodes       int64 `json:"nodes,omitempty"`       // in the register
	Connections int64 `json:"connections,omitempty"` // at once: nodes, stations and people
	Storage     int64 `json:"storage,omitempty"`     // bytes on disk, each copy of a cluster counted
	Streams     int64 `json:"streams,omitempty"`     // buckets are streams too
	Consumers   int64 `json:"consumers,omitempty"`   // readers of streams that brokers keep
}

// Least that a tenant needs to work at all: its own streams with what they
// reserve, and somebody who connects.
const (
	leastStorage     = 64 << 20
	leastStreams     = 24
	leastConnections = 4
	leastConsumers   = 64
)

// maxNodesTag marks an account's JWT with its quota of nodes, of which brokers
// know nothing.
const maxNodesTag = "max-nodes:"

func (q Quota) validate() error {
	var faults fleet.Faults
	for _, f := range []struct {
		name        string
		have, least int64
	}{
		{"max-nodes", q.Nodes, 1}, {"max-connections", q.Connections, leastConnections}, {"max-storage", q.Storage, leastStorage},
		{"max-streams", q.Streams, leastStreams}, {"max-consumers", q.Consumers, leastConsumers},
	} {
		if f.have != 0 && f.have < f.least {
			faults.Addf(f.name, "%d: a tenant needs at least %d; 0 is without bound", f.have, f.least)
		}
	}
	return faults.Err()
}

// Quota is the tenant's.
func (a *Authority) Quota() Quota { return quotaOf(a.tenant) }

// QuotaOf is the quota in an account's JWT.
func QuotaOf(account string) (Quota, error) {
	c, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		return Quota{}, fleet.Errorf(fleet.Invalid, "read an account's JWT: %w", err)
	}
	return quotaOf(c), nil
}

func quotaOf(c *jwt.AccountClaims) (q Quota) {
	bound := func(limit int64) int64 { return max(limit, 0) }
	q = Quota{Connections: bound(c.Limits.Conn), Storage: bound(c.Limits.DiskStorage), Streams: bound(c.Limits.Streams), Consumers: bound(c.Limits.Consumer)}
	for _, tag := range c.Tags {
		if text, ok := strings.CutPrefix(tag, maxNodesTag); ok {
			q.Nodes, _ = strconv.ParseInt(text, 10, 64) // 0 for what nobody here wrote
		}
	}
	return q
}

// SetQuota gives the tenant another quota. What is beyond it already stays, and
// nothing comes to it.
func (a *Authority) SetQuota(q Quota) error {
	if err := q.validate(); err != nil {
		return err
	}
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.updateLocked(func(c *jwt.AccountClaims) error { q.apply(c); return nil }); err != nil {
		return err
	}
	return a.updateTrust()
}

func (q Quota) apply(c *jwt.AccountClaims) {
	limit := func(bound int64) int64 {
		if bound == 0 {
			return jwt.NoLimit
		}
		return bound
	}
	c.Limits.Conn, c.Limits.DiskStorage, c.Limits.Streams, c.Limits.Consumer = limit(q.Connections), limit(q.Storage), limit(q.Streams), limit(q.Consumers)
	// Nothing of a tenant's is kept in memory; without a bound somebody could
	// fill the broker's past its quota of the disk.
	c.Limits.MemoryStorage = jwt.NoLimit
	if q.Storage > 0 {
		c.Limits.MemoryStorage = q.Storage / 16
	}
	for _, tag := range c.Tags {
		if strings.HasPrefix(tag, maxNodesTag) {
			c.Tags.Remove(tag)
			break
		}
	}
	if q.Nodes > 0 {
		c.Tags.Add(maxNodesTag + strconv.FormatInt(q.Nodes, 10))
	}
}

// MaxNodes is how many nodes the tenant may register, 0 for any number.
func (a *Authority) MaxNodes() int { return int(a.Quota().Nodes) }
