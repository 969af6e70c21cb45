package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
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
	if got := expiries(summed(now, station.NodeStatus{}, node(90*day))); got != "" {
		t.Errorf("warned of nothing: %q", got)
	}
	got := expiries(summed(now, node(-day), node(day), node(2*day), node(60*day)))
	if !strings.HasPrefix(got, "1 node with an expired certificate, 2 nodes with one that expires within 30 days; ") {
		t.Errorf("warned of %q", got)
	}
	if got := expiringOf(node(day), now); got != "shop 2026-11-23, in 1 day" {
		t.Errorf("the first is %q", got)
	}
}

func TestStationAndPeopleFindTheSealingKeyWhereTheBrokerPutIt(t *testing.T) {
	data := t.TempDir()
	a, err := identity.Open(filepath.Join(data, "identity"), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := a.StationKeys()
	if err != nil {
		t.Fatal(err)
	}
	user, err := a.User("station", subjects.Station)
	if err != nil {
		t.Fatal(err)
	}
	want, err := identity.LoadStationKeys(made)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	for from, to := range map[string]string{made: "station.keys", user.CredsFile: "station.creds"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(elsewhere, to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, creds := range []string{user.CredsFile, filepath.Join(elsewhere, "station.creds")} {
		if c, err := stationKeys("", creds); err != nil || c.Curve.Public() != want.Curve.Public() {
			t.Errorf("beside %s: %q, %v", creds, c.Curve.Public(), err)
		}
	}
	if c, err := stationKeys("", filepath.Join(t.TempDir(), "station.creds")); err != nil || c.Curve.Public() != "" {
		t.Errorf("a station without one: %q, %v", c.Curve.Public(), err)
	}
	if _, err := stationKeys(filepath.Join(elsewhere, "none"), user.CredsFile); err == nil {
		t.Error("a file that is named and not there is passed over")
	}
	trust, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	pinned := func(creds string) (message.Message, error) {
		c, err := identity.LoadCreds(creds)
		if err != nil {
			t.Fatal(err)
		}
		return pinnedTrust(c)
	}
	if got, err := pinned(filepath.Join(elsewhere, "station.creds")); err != nil || got.Signature != "" {
		t.Errorf("pinned by nothing is %s, %v", got.Body, err)
	}
	put := func(trust message.Message) {
		text, err := message.EncodeTrust(trust)
		if err == nil {
			err = os.WriteFile(filepath.Join(elsewhere, "trust.json"), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(trust)
	for _, creds := range []string{user.CredsFile, filepath.Join(elsewhere, "station.creds")} {
		if got, err := pinned(creds); err != nil || got.Signature != trust.Signature {
			t.Errorf("pinned beside %s is %s, %v", creds, got.Body, err)
		}
	}
	other, err := identity.Open(filepath.Join(t.TempDir(), "identity"), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if trust, err = other.TrustSet(); err != nil {
		t.Fatal(err)
	}
	put(trust)
	if _, err := pinned(filepath.Join(elsewhere, "station.creds")); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "another account") {
		t.Errorf("another fleet's trust set: %v", err)
	}
}

func summed(now time.Time, nodes ...station.NodeStatus) station.Summary {
	s := station.Summary{Now: now}
	for _, n := range nodes {
		s.Add(n)
	}
	return s
}
