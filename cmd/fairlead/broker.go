package main

import (
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/broker"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// brokerFlags are what `fairlead broker` is told beside a broker's configuration.
type brokerFlags struct {
	data, listen                     string
	hosts, nodes, operators, viewers []string
	printOnly                        bool
}

func (f brokerFlags) identity() string { return filepath.Join(f.data, "identity") }

func newBroker(a *app) *cobra.Command {
	var f brokerFlags
	var c broker.Config
	var cluster broker.ClusterConfig
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "run the embedded NATS broker alone",
		Long: `Runs nats-server with JetStream and the identities of one fleet. At the first start it makes the operator, the accounts
and users (admin, station, and those named by flags) below DATA/identity; give each its creds file with DATA/identity/ca/ca.pem
beside it, and agents and stations DATA/identity/tenants/main/trust.json; stations also station.keys beside it, which opens sealed keys.

Clients connect by TLS 1.3 with the handshake first. The certificate is of the identities' own authority and is renewed by
itself; it is for this host's name and addresses where the broker listens on all of them, and for each --host. --tls-cert and
--tls-key put another in its place, for clients alone.

A host that is to hold no keys needs DATA/identity/broker alone, copied there from where the identities were made.

Three brokers on three hosts with the same --cluster-name are a cluster, which goes on when one is gone. Copy DATA/identity/broker
of the first to the others before they start, give each a --name of its own and each --route to the others, and run stations
with --replicas 3. Brokers know each other by their certificates, which name every --host and --route of the first.`,
		Example: `  fairlead broker --data /var/lib/fairlead --listen 0.0.0.0:4222 --host broker.example.org --node ship1 --node ship2
  fairlead broker --data /var/lib/fairlead --node ship3 --print-users
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
			c.Logger = a.daemonLogger()
			users, err := f.server(&c)
			if err != nil {
				return err
			}
			if f.printOnly {
				return a.printUsers(users)
			}
			c.StoreDir, c.CertFile, c.KeyFile = filepath.Join(f.data, "broker"), a.tlsCert, a.tlsKey
			b, err := broker.New(c)
			if err != nil {
				return err
			}
			return b.Run(cmd.Context())
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
	flags.StringArrayVar(&f.nodes, "node", nil, "make credentials for a `NODE`; may be given several times")
	flags.StringArrayVar(&f.operators, "operator", nil, "make credentials for an operator called `NAME`; may be given several times")
	flags.StringArrayVar(&f.viewers, "viewer", nil, "make credentials for a viewer called `NAME`; may be given several times")
	flags.BoolVar(&f.printOnly, "print-users", false, "make and list the users, and do not run")
	cmd.AddCommand(newBrokerConfig(a), newBrokerClient(a))
	return cmd
}

// server fills in what the broker is to know: from an identity directory,
// which is made where there is none, or where only its directory broker was
// copied here, from that.
func (f brokerFlags) server(c *broker.Config) (users []identity.User, err error) {
	copied := filepath.Join(f.identity(), "broker")
	if !there(filepath.Join(f.identity(), "operator.jwt")) && there(filepath.Join(copied, "operator.jwt")) {
		if f.printOnly || len(f.nodes)+len(f.operators)+len(f.viewers) > 0 {
			return nil, usagef("the keys that make users are not on this host: make them where %s was copied from", copied)
		}
		c.Server, err = identity.LoadServer(copied)
		return nil, err
	}
	authority, err := identity.Open(f.identity(), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		return nil, err
	}
	if users, err = makeUsers(authority, f.nodes, f.operators, f.viewers); err != nil {
		return nil, err
	}
	if _, err := authority.StationKeys(); err != nil {
		return nil, err
	}
	switch _, err := authority.TrustSet(); fleet.KindOf(err) {
	case "":
	case fleet.Unknown, fleet.Refused: // the key that signs it is kept elsewhere, or encrypted
		c.Logger.Warn("the trust set is not what the users here are, and cannot be signed anew", "error", err)
	default:
		return nil, err
	}
	c.Server = authority.Server()
	return users, authority.IssueBroker(false, f.certified(c)...)
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

func makeUsers(authority *identity.Authority, nodes, operators, viewers []string) ([]identity.User, error) {
	type want struct {
		name string
		role subjects.Role
	}
	wanted := []want{{"admin", subjects.Admin}, {"station", subjects.Station}}
	for role, names := range map[subjects.Role][]string{subjects.Node: nodes, subjects.Operator: operators, subjects.Viewer: viewers} {
		for _, n := range names {
			wanted = append(wanted, want{n, role})
		}
	}
	for _, w := range wanted {
		if _, err := authority.User(w.name, w.role); err != nil {
			return nil, err
		}
	}
	return authority.Users()
}

func (a *app) printUsers(users []identity.User) error {
	return a.print(users, func(t *table) {
		t.row("USER", "ROLE", "KEY", "CREDENTIALS")
		for _, u := range users {
			t.row(u.Name, string(u.Role), u.Key, u.CredsFile)
		}
	}, func() []string {
		var names []string
		for _, u := range users {
			names = append(names, u.Name)
		}
		return names
	})
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
