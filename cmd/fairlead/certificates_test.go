package main

import (
	"strings"
	"testing"
	"time"

	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
)

func TestTheEndOfACertificateIsTold(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for in, want := range map[time.Duration]string{
		90 * day:           "2027-02-20",
		30 * day:           "2026-12-22",
		30*day - 1:         "2026-12-22, in 29 days",
		day:                "2026-11-23, in 1 day",
		time.Hour:          "2026-11-22, in 0 days",
		0:                  "2026-11-22, EXPIRED",
		-400 * day:         "2025-10-18, EXPIRED",
		12*day + time.Hour: "2026-12-04, in 12 days",
	} {
		if got := expiry(now.Add(in), now); got != want {
			t.Errorf("in %v: %q, want %q", in, got, want)
		}
	}
	node := func(in time.Duration) station.NodeStatus {
		return station.NodeStatus{Expiring: &nginx.ServedCertificate{Name: "shop", NotAfter: now.Add(in)}}
	}
	if got := expiries([]station.NodeStatus{{}, node(90 * day)}, now); got != "" {
		t.Errorf("warned of nothing: %q", got)
	}
	got := expiries([]station.NodeStatus{node(-day), node(day), node(2 * day), node(60 * day)}, now)
	if !strings.HasPrefix(got, "1 node with an expired certificate, 2 nodes with one that expires within 30 days; ") {
		t.Errorf("warned of %q", got)
	}
	if got := expiringOf(node(day), now); got != "shop 2026-11-23, in 1 day" {
		t.Errorf("the first is %q", got)
	}
}
