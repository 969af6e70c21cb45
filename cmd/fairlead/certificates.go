package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

// expiry is when a certificate ends, for people: the day, and how far off it is
// once that is worth a thought.
func expiry(at, now time.Time) string {
	day := at.UTC().Format(time.DateOnly)
	switch left := at.Sub(now); {
	case left <= 0:
		return day + ", EXPIRED"
	case left < client.ExpiresSoon:
		return fmt.Sprintf("%s, in %s", day, count(int(left.Hours()/24), "day"))
	}
	return day
}

// expiringOf is the node's certificate that ends first.
func expiringOf(n station.NodeStatus, now time.Time) string {
	if n.Expiring == nil {
		return "-"
	}
	return n.Expiring.Name + " " + expiry(n.Expiring.NotAfter, now)
}

// expiries counts the nodes that serve a certificate which has ended or is
// about to, "" where there is none.
func expiries(s station.Summary) string {
	var parts []string
	if s.Expired > 0 {
		parts = append(parts, count(s.Expired, "node")+" with an expired certificate")
	}
	if s.Expiring > 0 {
		parts = append(parts, count(s.Expiring, "node")+" with one that expires within 30 days")
	}
	if parts == nil {
		return ""
	}
	return strings.Join(parts, ", ") + "; `fairlead get Certificate` lists them, renew " + s.Ends + " first"
}

// printCertificates lists certificates with what matters of one: names, end,
// key, and the nodes that have it.
func (a *app) printCertificates(ctx context.Context, c *client.Client, found []client.Resource) error {
	nodes, err := c.NodesWith(ctx, "Certificate")
	if err != nil {
		return err
	}
	return a.print(nil, func(t *table) {
		t.cut = true
		t.row("NAME", "EXPIRES", "NAMES", "KEY", "NODES", "BY")
		for _, r := range found {
			chain, err := r.Spec.(*fleet.Certificate).Chain()
			if err != nil {
				continue // what is stored was checked
			}
			on := "-"
			if some := nodes[r.Metadata.Name]; len(some) > 0 {
				on = client.NameNodes(some)
			}
			t.row(r.Metadata.Name, expiry(chain[0].NotAfter, time.Now()), strings.Join(fleet.Names(chain[0]), " "),
				short(fleet.Fingerprint(chain[0])), on, r.By)
		}
	}, nil)
}
