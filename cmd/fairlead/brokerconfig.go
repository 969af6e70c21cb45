//go:build !node

package main

import (
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/broker"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// externalFlags say which nats-servers are to run with the identities.
type externalFlags struct {
	out, at, store, sync, cluster         string
	brokers, gateways                     []string
	port, routes, leafnodes, gatewaysPort int
	verify                                bool
}

func newBrokerConfig(a *app) *cobra.Command {
	var dir string
	var f externalFlags
	c := &cobra.Command{
		Use:   "config --out DIR --broker NAME=HOST",
		Short: "write what a nats-server of one's own needs to be a broker",
		Long: `Writes a directory for each broker: the operator's and the accounts' JWTs, a certificate for its host with its key, the
authorities to believe, and nats-server.conf. Copy each to its host, to the place that --at names, and start nats-server 2.15 or
later with it. Several brokers are a cluster; run stations with --replicas 3 then. There is no seed in the directories.`,
		Example: `  fairlead broker config --dir /secure/fleet --out brokers --broker n1=10.0.0.1
  fairlead broker config --dir /secure/fleet --out brokers --broker n1=n1.example.org --broker n2=n2.example.org --broker n3=n3.example.org`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			au, err := identity.Load(dir, identity.Options{Methods: handlers.All().Sent()})
			if err != nil {
				return err
			}
			return a.writeExternal(au, f)
		},
	}
	c.Flags().StringVar(&dir, "dir", "/var/lib/fairlead/identity", "identity directory")
	f.flags(c)
	return c
}

func (f *externalFlags) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.out, "out", "", "`DIR` to write to, one directory for each broker")
	flags.StringArrayVar(&f.brokers, "broker", nil, "a broker's name and the host that it is reached by, `NAME=HOST`; may be given several times")
	flags.StringVar(&f.at, "at", "/etc/nats-server", "where the directory lies on its host")
	flags.StringVar(&f.store, "store", "/var/lib/nats-server", "directory for streams on its host")
	flags.StringVar(&f.sync, "sync", "always", "when stored messages reach the disk: always, before they are acknowledged, or an interval such as 2m")
	flags.BoolVar(&f.verify, "verify-clients", false, "take nobody, people included, who shows no certificate of ca/nodes.pem")
	flags.StringVar(&f.cluster, "cluster-name", "fairlead", "the cluster's name")
	flags.IntVar(&f.port, "port", 4222, "port for clients")
	flags.IntVar(&f.routes, "cluster-port", 6222, "port for the other brokers")
	flags.IntVar(&f.leafnodes, "leafnode-port", 0, "port for leafnodes, as \"fairlead broker leaf\" makes them; 0 for none")
	flags.IntVar(&f.gatewaysPort, "gateway-port", 0, "port for other clusters; 0 for none")
	flags.StringArrayVar(&f.gateways, "gateway", nil, "another cluster, `NAME=HOST:PORT`; may be given several times, also for one cluster")
}

// writeExternal writes the directories and says what to do with them.
func (a *app) writeExternal(au *identity.Authority, f externalFlags) error {
	if f.out == "" || len(f.brokers) == 0 {
		return usagef("give --out and --broker: fairlead broker config --out brokers --broker n1=10.0.0.1")
	}
	var names, hosts, routes []string
	for _, b := range f.brokers {
		name, host, found := strings.Cut(b, "=")
		if !found || fleet.CheckName("broker", name) != nil || identity.CheckHosts([]string{host}) != nil {
			return usagef("--broker %q: use NAME=HOST, such as n1=10.0.0.1", b)
		}
		names, hosts, routes = append(names, name), append(hosts, host), append(routes, net.JoinHostPort(host, strconv.Itoa(f.routes)))
	}
	every := func(port int) string {
		if port == 0 {
			return ""
		}
		return net.JoinHostPort("0.0.0.0", strconv.Itoa(port))
	}
	e := broker.External{Listen: every(f.port), Dir: f.at, Store: f.store, Sync: f.sync, VerifyClients: f.verify, Leafnodes: every(f.leafnodes),
		Gateway: every(f.gatewaysPort)}
	var err error
	if e.Gateways, err = clusters(f.gateways); err != nil {
		return err
	}
	if len(names) > 1 || f.gatewaysPort != 0 {
		e.Cluster = &broker.ClusterConfig{Name: f.cluster, Listen: every(f.routes), Routes: routes}
	}
	for i, name := range names {
		e.Name = name
		// Clients hear of all of a cluster's hosts from each broker.
		if err := writeBroker(au, e, filepath.Join(f.out, name), append([]string{hosts[i]}, hosts...)); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: copy %s to %s of %s, and start there: nats-server -c %s\n",
			name, filepath.Join(f.out, name), f.at, hosts[i], path.Join(f.at, "nats-server.conf"))
	}
	return nil
}

// clusters reads the addresses of other clusters, NAME=HOST:PORT.
func clusters(texts []string) (map[string][]string, error) {
	all := make(map[string][]string)
	for _, text := range texts {
		name, address, found := strings.Cut(text, "=")
		if !found {
			return nil, usagef("--gateway %q: use NAME=HOST:PORT", text)
		}
		all[name] = append(all[name], address)
	}
	return all, nil
}

func writeBroker(au *identity.Authority, e broker.External, dir string, hosts []string) error {
	if err := au.CopyBroker(dir, hosts...); err != nil {
		return err
	}
	s, err := identity.LoadServer(dir)
	if err != nil {
		return err
	}
	text, err := e.Configuration(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "nats-server.conf"), []byte(text), 0o600)
}
