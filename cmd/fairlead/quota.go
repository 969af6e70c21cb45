package main

import (
	"context"
	"fmt"
	"strings"

	"fairlead/pkg/client"
)

// sayQuota tells what the tenant uses of what it may, where it has bounds.
func (a *app) sayQuota(ctx context.Context, c *client.Client) {
	q, err := c.Quota(ctx)
	if err != nil {
		a.say("the tenant's quota is not known: %v", err)
		return
	}
	if q.Bounded() {
		a.say("quota: %s", quotaText(q))
	}
}

func quotaText(q client.Quota) string {
	var parts []string
	for _, p := range []struct {
		what      string
		used, may int64
		size      bool
	}{
		{"nodes", q.Nodes, q.MaxNodes, false}, {"storage", max(q.Storage, q.Reserved), q.MaxStorage, true},
		{"streams", q.Streams, q.MaxStreams, false}, {"consumers", q.Consumers, q.MaxConsumers, false},
	} {
		switch {
		case p.may == 0:
		case p.size:
			parts = append(parts, fmt.Sprintf("%s %s of %s", p.what, sizeText(p.used), sizeText(p.may)))
		default:
			parts = append(parts, fmt.Sprintf("%s %d of %d", p.what, p.used, p.may))
		}
	}
	return strings.Join(parts, ", ")
}
