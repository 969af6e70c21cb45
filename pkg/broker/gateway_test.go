package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// startSuper runs two clusters of one broker each, joined by gateways.
func startSuper(t *testing.T, a, b *identity.Authority, change func(*broker.Config)) (home, away *site) {
	t.Helper()
	routes := []string{freeAddress(t).String(), freeAddress(t).String()}
	gates := []string{freeAddress(t).String(), freeAddress(t).String()}
	names := []string{"home", "away"}
	var sites []*site
	for i, of := range []*identity.Authority{a, b} {
		sites = append(sites, startOf(t, of, func(c *broker.Config) {
			c.Name, c.Port = names[i]+"1", freeAddress(t).Port
			c.Cluster = &broker.ClusterConfig{Name: names[i], Listen: routes[i], Routes: routes[i : i+1]}
			c.Gateway = &broker.GatewayConfig{Listen: gates[i], Peers: map[string][]string{names[1-i]: {gates[1-i]}}}
			change(c)
		}))
	}
	return sites[0], sites[1]
}

func TestClustersThatGatewaysJoinAreOne(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{Methods: nothing(nil).Sent()})
	user(t, a, "admin", subjects.Admin)
	home, away := startSuper(t, a, a, func(*broker.Config) {})
	elected(t, []*site{home})
	// A station and people here, nodes there.
	f := fleetThrough(t, []*site{home}, 1, away.URL())
	sent := f.send(t, 20, nil)
	f.succeed(t, sent)
	f.endedOnce(t, sent)
}

func TestAGatewayOfAnotherAuthorityIsRefused(t *testing.T) {
	a, other := authority(t, t.TempDir(), identity.Options{}), authority(t, t.TempDir(), identity.Options{})
	var log safeBuffer
	startSuper(t, a, other, func(c *broker.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	eventually(t, func(context.Context) error {
		if !strings.Contains(log.String(), "TLS gateway handshake error") {
			return errors.New("it was not refused: " + log.String())
		}
		return nil
	})
}

func TestAWrongPeerNamesAllFaults(t *testing.T) {
	_, err := broker.New(broker.Config{StoreDir: t.TempDir(), Leafnodes: "here", Leaf: &broker.LeafConfig{Hub: []string{"there"}},
		Gateway: &broker.GatewayConfig{Listen: "0.0.0.0", Peers: map[string][]string{"two words": {"away"}}}})
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatal(err)
	}
	says(t, err, "leafnodes: ", "leaf: ", "leaf.hub: ", "leaf.dir: ", "gateway: ", "gateway.listen: ", "gateway.peers: ")
}
