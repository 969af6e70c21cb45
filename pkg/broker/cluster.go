package broker

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
)

// ClusterConfig joins a broker to others of the same authority, so that what
// is stored lies on several hosts and outlives any one of them. Three brokers
// go on when one is gone; two do not when the other is.
//
// Each broker has a Name and a StoreDir of its own, and a certificate of the
// same authority. Routes are mutual TLS with it: nobody else can join or listen.
type ClusterConfig struct {
	Name   string   // the cluster's, the same everywhere; "fairlead" when empty
	Listen string   // host:port for the other brokers
	Routes []string // host:port of the others; its own may be among them, so all can share one list
}

func (c ClusterConfig) withDefaults() ClusterConfig {
	if c.Name == "" {
		c.Name = "fairlead"
	}
	return c
}

// validate collects the cluster's faults, and those that a cluster makes of
// other settings.
func (c ClusterConfig) validate(whole Config, faults *fleet.Faults) {
	if whole.Name == "" {
		faults.Addf("name", "missing: in a cluster each broker needs a name of its own")
	}
	if whole.Port == -1 {
		faults.Addf("port", "-1: the brokers of a cluster have to listen")
	}
	if err := fleet.CheckName("cluster", c.withDefaults().Name); err != nil {
		faults.Addf("cluster.name", "%v", err)
	}
	if _, _, err := route(c.Listen); err != nil {
		faults.Addf("cluster.listen", "%v", err)
	}
	if len(c.Routes) == 0 {
		faults.Addf("cluster.routes", "missing: name the other brokers' addresses for routes, each with --route HOST:PORT; a cluster has two brokers or more")
	}
	for _, address := range c.Routes {
		if _, _, err := route(address); err != nil {
			faults.Addf("cluster.routes", "%v", err)
		}
	}
}

// route splits an address that other brokers have to know, so its port is
// never chosen by the system.
func route(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fleet.Errorf(fleet.Invalid, "%q: use host:port with a port from 1 to 65535", address)
	}
	return host, port, nil
}

// compression of what brokers tell each other: S2 where the way there and back
// takes 10 ms or more. Leafnodes have it without being told, gateways not at all.
const compression = server.CompressionS2Auto

// join adds the cluster to nats-server's options. c is valid.
func (c Config) join(o *server.Options) error {
	secure, err := c.Server.TLS.ForBrokers()
	if err != nil {
		return err
	}
	cluster := c.Cluster.withDefaults()
	o.Cluster.Name = cluster.Name
	o.Cluster.Host, o.Cluster.Port, _ = route(cluster.Listen)
	o.Cluster.TLSConfig, o.Cluster.TLSTimeout = secure, brokerHandshakeSeconds
	o.Cluster.Compression.Mode = compression
	for _, address := range cluster.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: address})
	}
	return nil
}

// checkKind refuses a store of the other kind. A lone broker's streams are
// orphans to a cluster, which removes them; a cluster's are not read by a lone
// broker, which would be ready and empty.
func (c Config) checkKind() error {
	root := filepath.Join(c.StoreDir, server.JetStreamStoreDir)
	_, err := os.Stat(filepath.Join(root, c.Server.SystemAccount, "_js_", "_meta_"))
	wasClustered := err == nil
	streams, err := filepath.Glob(filepath.Join(root, "*", "streams", "*"))
	switch {
	case err != nil:
		return err
	case c.Cluster != nil && !wasClustered && len(streams) > 0:
		return fleet.Errorf(fleet.Conflict, "store directory %s holds the streams of a lone broker, which a cluster would remove: "+
			"start the broker without a cluster, or with an empty directory", c.StoreDir)
	case c.Leaf != nil && len(streams) > 0:
		return fleet.Errorf(fleet.Conflict, "store directory %s holds the streams of a broker, which a leafnode would not show: start it with an empty directory", c.StoreDir)
	case c.Cluster == nil && wasClustered:
		return fleet.Errorf(fleet.Conflict, "store directory %s is that of a broker in a cluster, which cannot be read alone: "+
			"start the broker with its cluster", c.StoreDir)
	}
	return nil
}

// routesTime is what listening for the other brokers may take.
const routesTime = 10 * time.Second

// awaitRoutes waits until the other brokers can reach this one: nats-server
// opens that port last and does not wait for it. Where it cannot, log knows.
func awaitRoutes(s *server.Server, log *logger) {
	for end := time.Now().Add(routesTime); s.ClusterAddr() == nil && log.failure() == nil && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}
