//go:build !node

package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"fairlead/pkg/announce"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// brokerFlags are what `fairlead broker` is told beside a broker's configuration.
type brokerFlags struct {
	data, listen       string
	hosts, hubs, peers []string
	gateway            broker.GatewayConfig
	authorityFlags
}

func (f brokerFlags) identity() string { return filepath.Join(f.data, "identity") }

func newBroker(a *app) *cobra.Command {
	var f brokerFlags
	var c broker.Config
	var cluster broker.ClusterConfig
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "run the embedded NATS broker alone",
		Long: `Runs nats-server with JetStream and the identities of one fleet. They are those of DATA/identity; where there are none it makes
them, with the users admin and station, as ` + "`fairlead init`" + ` does. ` + "`fairlead user create`" + ` makes others, while it runs.

Clients connect by TLS 1.3 with the handshake first. The certificate is of the identities' own authority and is renewed by
itself; it is for this host's name and addresses where the broker listens on all of them, and for each --host. --tls-cert and
--tls-key put another in its place, for clients alone.

A host that is to hold no keys needs DATA/identity/broker alone, copied there from where the identities were made. Where the
keys are here, the JWTs of people and stations are renewed in time.

Three brokers on three hosts with the same --cluster-name are a cluster, which goes on when one is gone. Copy DATA/identity/broker
of the first to the others before they start, give each a --name of its own and each --route to the others, and run stations
with --replicas 3. Brokers know each other by their certificates, which name every --host and --route of the first.

With --gateway-listen such a cluster is one system with others, each of another --cluster-name, that --gateway names.
--leafnode-listen lets leafnodes connect: brokers that "fairlead broker leaf" makes, which run with --leafnode-remote, keep
nothing, and pass on what the nodes of one place say and hear.`,
		Example: `  fairlead broker --data /var/lib/fairlead --listen 0.0.0.0:4222 --host broker.example.org
  fairlead broker --listen 0.0.0.0:4222 --leafnode-listen 0.0.0.0:7422
  fairlead broker --name b1 --listen 0.0.0.0:4222 --cluster-listen 10.0.0.1:6222 --route 10.0.0.2:6222 --route 10.0.0.3:6222`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.Host, c.Port, err = hostPort(f.listen); err != nil {
				return err
			}
			switch {
			case cluster.Listen != "":
				c.Cluster = &cluster
			case len(cluster.Routes) > 0:
				return usagef("--route goes with --cluster-listen, where the other brokers reach this one")
			}
			if err := f.others(&c); err != nil {
				return err
			}
			c.Logger = a.daemonLogger()
			if err := a.server(f, &c); err != nil {
				return err
			}
			c.StoreDir, c.CertFile, c.KeyFile = filepath.Join(f.data, "broker"), a.tlsCert, a.tlsKey
			b, err := broker.New(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go a.lookAfter(ctx, f, b)
			go host.TrimWhileCalm(ctx, trimEvery)
			return b.Run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "/var/lib/fairlead", "directory for identities and streams")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:4222", "address to listen on")
	flags.StringArrayVar(&f.hosts, "host", nil, "DNS `NAME` or IP address by which clients reach the broker, for its certificate; may be given several times")
	flags.BoolVar(&c.VerifyClients, "verify-clients", false, "take nobody, people included, who shows no certificate of ca/nodes.pem")
	flags.BoolVar(&c.Plain, "plain", false, "no TLS for clients: on a loopback address, for measurements")
	flags.StringVar(&c.Sync, "sync", "always", "when stored messages reach the disk: always, before they are acknowledged, or an interval such as 2m")
	flags.StringVar(&c.Name, "name", "", "this broker's name in logs and monitoring; needed in a cluster (default \"fairlead\")")
	flags.StringVar(&cluster.Listen, "cluster-listen", "", "address to listen on for the other brokers of a cluster, which they can reach")
	flags.StringVar(&cluster.Name, "cluster-name", "fairlead", "the cluster's name, the same for all of its brokers")
	flags.StringArrayVar(&cluster.Routes, "route", nil, "another broker's --cluster-listen address; may be given several times")
	flags.StringVar(&c.Leafnodes, "leafnode-listen", "", "address to listen on for leafnodes, such as 0.0.0.0:7422")
	flags.StringArrayVar(&f.hubs, "leafnode-remote", nil, "be a leafnode of the broker with this --leafnode-listen address; may be given several times, for the brokers of one cluster")
	flags.StringVar(&f.gateway.Listen, "gateway-listen", "", "address to listen on for the brokers of other clusters, such as 10.0.0.1:7222")
	flags.StringArrayVar(&f.peers, "gateway", nil, "another cluster and a --gateway-listen address of it, `NAME=HOST:PORT`; may be given several times, also for one cluster")
	cmd.AddCommand(newBrokerConfig(a), newBrokerClient(a), newBrokerLeaf(a))
	f.passphraseFD = -1
	for name, instead := range map[string]string{
		"node": "create NAME --role node", "operator": "create NAME --role operator", "viewer": "create NAME --role viewer", "print-users": "ls",
	} {
		flags.Var(moved("`fairlead user "+instead+" --dir DATA/identity` does that"), name, "")
		flags.Lookup(name).NoOptDefVal = "true"
		_ = flags.MarkHidden(name) // it was made above
	}
	return cmd
}

// moved is a flag that is no more, and says what takes its place.
type moved string

func (m moved) String() string   { return "" }
func (m moved) Type() string     { return "moved" }
func (m moved) Set(string) error { return errors.New("this is a verb of its own: " + string(m)) }

// others are whom the broker meets beside clients and its cluster.
func (f *brokerFlags) others(c *broker.Config) (err error) {
	if len(f.hubs) > 0 {
		c.Leaf = &broker.LeafConfig{Hub: f.hubs, Dir: filepath.Join(f.identity(), "broker")}
		if !there(filepath.Join(c.Leaf.Dir, identity.LeafCreds)) {
			return fleet.Errorf(fleet.Invalid, "%s is not a leafnode's directory: `fairlead broker leaf` where the identities lie makes one", c.Leaf.Dir)
		}
	}
	if f.gateway.Listen != "" || len(f.peers) > 0 {
		c.Gateway = &f.gateway
		f.gateway.Peers, err = clusters(f.peers)
	}
	return err
}

// server fills in what the broker is to know: from an identity directory, which
// is made where there is none, or where only its directory broker was copied
// here, from that.
func (a *app) server(f brokerFlags, c *broker.Config) error {
	copied := filepath.Join(f.identity(), "broker")
	if !there(filepath.Join(f.identity(), "operator.jwt")) && there(filepath.Join(copied, "operator.jwt")) {
		server, err := identity.LoadServer(copied)
		c.Server = server
		f.tellUncertified(c, copied)
		return err
	}
	authority, err := a.openIdentity(f)
	switch fleet.KindOf(err) {
	case "":
		c.Server = authority.Server()
		if err = authority.IssueBroker(false, f.certified(c)...); fleet.KindOf(err) == fleet.Unknown || fleet.KindOf(err) == fleet.Refused {
			err = nil // the key that signs is kept elsewhere, or encrypted
			f.tellUncertified(c, copied)
		}
	case fleet.Unknown, fleet.Refused: // what would be signed anew needs keys that are kept elsewhere, or encrypted
		c.Logger.Warn("the broker runs with the accounts that were issued last", "error", err)
		c.Server, err = identity.LoadServer(copied)
	}
	return err
}

// openIdentity brings an identity directory up to date, with an administrator
// and a station in a new one.
func (a *app) openIdentity(f brokerFlags) (*identity.Authority, error) {
	tenants, err := identity.Tenants(f.identity())
	if err != nil {
		return nil, err
	}
	if len(tenants) == 0 {
		tenants = []string{"main"}
	}
	var authority *identity.Authority
	for _, tenant := range tenants { // each has grants that an upgrade may change
		f.tenant = tenant
		o := a.authorityOptions(f.authorityFlags, f.identity())
		if authority, err = identity.Open(f.identity(), o); err != nil {
			return nil, err
		}
		if !there(authority.TrustFile()) { // nobody is in it yet
			if err := makeUsers(authority); err != nil {
				return nil, err
			}
		}
		if _, err := authority.TrustSet(); err != nil {
			return nil, err
		}
	}
	return authority, nil
}

// lookAfter remembers where the broker is, and renews what is due, where the
// keys are here.
func (a *app) lookAfter(ctx context.Context, f brokerFlags, b *broker.Broker) {
	select {
	case <-b.Ready():
	case <-ctx.Done():
		return
	}
	dir := f.identity()
	if !there(filepath.Join(dir, "operator.jwt")) {
		return
	}
	log := a.daemonLogger()
	if _, err := identity.ReadConnection(dir); err != nil {
		if err := identity.WriteConnection(dir, identity.Connection{URL: b.URL()}); err != nil {
			log.Warn("the verbs of the identity directory will not know where this broker is", "error", err)
		}
	}
	o := a.authorityOptions(f.authorityFlags, dir)
	o.Passphrase = nil // nobody is there
	announce.Renewals(ctx, dir, o, bus.Options{URL: b.URL(), TLS: a.secureBy(bus.Context{}, b.URL(), filepath.Join(dir, "system", "system.creds"))}, log)
}

// tellUncertified warns of what a person said that clients reach the broker by
// and its certificate is not for.
func (f brokerFlags) tellUncertified(c *broker.Config, dir string) {
	said := slices.Clone(f.hosts)
	if ip := net.ParseIP(c.Host); c.Host != "" && (ip == nil || !ip.IsUnspecified()) {
		said = append(said, c.Host)
	}
	has, _, err := identity.BrokerCertificate(dir)
	missing := slices.DeleteFunc(said, func(h string) bool { return slices.Contains(has, h) })
	if err == nil && len(missing) > 0 {
		c.Logger.Warn("clients that know the broker by these names will refuse its certificate: `fairlead rotate broker-tls --host NAME` where the identities lie adds them", "names", missing)
	}
}

// certified are the names and addresses that the certificate is to be for:
// those of the other brokers too, which a cluster tells its clients.
func (f brokerFlags) certified(c *broker.Config) []string {
	hosts := append(broker.Hosts(c.Host), f.hosts...)
	if c.Cluster == nil {
		return hosts
	}
	for _, address := range append([]string{c.Cluster.Listen}, c.Cluster.Routes...) {
		if host, _, err := net.SplitHostPort(address); err == nil {
			hosts = append(hosts, broker.Hosts(host)...)
		}
	}
	return hosts
}

func makeUsers(authority *identity.Authority) error {
	for name, role := range map[string]subjects.Role{"admin": subjects.Admin, "station": subjects.Station} {
		if _, err := authority.User(name, role); err != nil {
			return err
		}
	}
	_, err := authority.SystemUser()
	return err
}

func hostPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fleet.Errorf(fleet.Invalid, "address %q: use HOST:PORT", address)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fleet.Errorf(fleet.Invalid, "address %q: the port is not a number from 0 to 65535", address)
	}
	return host, port, nil
}
