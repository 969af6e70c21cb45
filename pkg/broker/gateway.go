package broker

import (
	"maps"
	"net/url"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
)

// GatewayConfig joins a broker's cluster to others of the same authority, such
// as one in each region, over fewer and longer lines than those within a
// cluster. All of them are one system: who is connected anywhere hears what is
// said anywhere, and a stream lies in one of the clusters.
type GatewayConfig struct {
	Listen string // host:port for the brokers of other clusters
	// Peers are the Listen addresses of other clusters' brokers, by the
	// cluster's name. Those who are not named are refused.
	Peers map[string][]string
}

func (g GatewayConfig) validate(whole Config, faults *fleet.Faults) {
	if whole.Cluster == nil {
		faults.Addf("gateway", "a gateway is of a cluster: give the cluster too, if it has one broker alone")
	}
	if _, _, err := route(g.Listen); err != nil {
		faults.Addf("gateway.listen", "%v", err)
	}
	if len(g.Peers) == 0 {
		faults.Addf("gateway.peers", "missing: name the other clusters and their addresses")
	}
	for name, addresses := range g.Peers {
		if err := fleet.CheckName("cluster", name); err != nil {
			faults.Addf("gateway.peers", "%v", err)
		}
		for _, address := range addresses {
			if _, _, err := route(address); err != nil {
				faults.Addf("gateway.peers", "%v", err)
			}
		}
	}
}

// gateway adds the gateway to nats-server's options. c is valid.
func (c Config) gateway(o *server.Options) (err error) {
	if c.Gateway == nil {
		return nil
	}
	g := &o.Gateway
	g.Name, g.RejectUnknown = o.Cluster.Name, true
	g.Host, g.Port, _ = route(c.Gateway.Listen)
	if g.TLSConfig, err = c.Server.TLS.ForBrokers(); err != nil {
		return err
	}
	g.TLSTimeout, g.AuthTimeout = brokerHandshakeSeconds, brokerHandshakeSeconds
	for _, name := range slices.Sorted(maps.Keys(c.Gateway.Peers)) {
		peer := &server.RemoteGatewayOpts{Name: name, TLSConfig: g.TLSConfig.Clone(), TLSTimeout: brokerHandshakeSeconds}
		for _, address := range c.Gateway.Peers[name] {
			peer.URLs = append(peer.URLs, &url.URL{Scheme: "nats", Host: address})
		}
		g.Gateways = append(g.Gateways, peer)
	}
	return nil
}
