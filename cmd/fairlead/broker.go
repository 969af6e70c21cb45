package main

import (
	"log/slog"
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

func newBroker(a *app) *cobra.Command {
	var name, data, listen, sync string
	var cluster broker.ClusterConfig
	var nodes, operators, viewers []string
	var printOnly bool
	c := &cobra.Command{
		Use:   "broker",
		Short: "run the embedded NATS broker alone",
		Long: `Runs nats-server with JetStream and the identities of one fleet. At the first start it makes the operator, the accounts
and users (admin, station, and those named by flags) below DATA/identity; give each its creds file, and agents and
stations DATA/identity/tenants/main/trust.json; stations also station.keys beside it, which opens sealed keys.

Three brokers on three hosts with the same --cluster-name are a cluster, which goes on when one is gone. Copy DATA/identity of
the first to the others before they start, give each a --name of its own and each --route to the others, and run stations
with --replicas 3. What the brokers say to each other is encrypted by a key that follows from the operator's seed.`,
		Example: `  fairlead broker --data /var/lib/fairlead --listen 0.0.0.0:4222 --node ship1 --node ship2
  fairlead broker --data /var/lib/fairlead --node ship3 --print-users
  fairlead broker --name b1 --listen 0.0.0.0:4222 --cluster-listen 10.0.0.1:6222 --route 10.0.0.2:6222 --route 10.0.0.3:6222`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			authority, err := identity.Open(filepath.Join(data, "identity"), identity.Options{Methods: handlers.All().Sent()})
			if err != nil {
				return err
			}
			users, err := makeUsers(authority, nodes, operators, viewers)
			if err != nil {
				return err
			}
			if _, err := authority.StationKeys(); err != nil {
				return err
			}
			switch _, err := authority.TrustSet(); fleet.KindOf(err) {
			case "":
			case fleet.Unknown, fleet.Refused: // the key that signs it is kept elsewhere, or encrypted
				a.logger(slog.LevelWarn).Warn("the trust set is not what the users here are, and cannot be signed anew", "error", err)
			default:
				return err
			}
			if printOnly {
				return a.printUsers(users)
			}
			host, port, err := hostPort(listen)
			if err != nil {
				return err
			}
			c := broker.Config{Name: name, Host: host, Port: port, StoreDir: filepath.Join(data, "broker"),
				Sync: sync, Server: authority.Server(), Logger: a.daemonLogger()}
			switch {
			case cluster.Listen != "":
				c.Cluster = &cluster
			case len(cluster.Routes) > 0:
				return usagef("--route goes with --cluster-listen, where the other brokers reach this one")
			}
			b, err := broker.New(c)
			if err != nil {
				return err
			}
			return b.Run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "/var/lib/fairlead", "directory for identities and streams")
	f.StringVar(&listen, "listen", "127.0.0.1:4222", "address to listen on")
	f.StringVar(&sync, "sync", "always", "when stored messages reach the disk: always, before they are acknowledged, or an interval such as 2m")
	f.StringVar(&name, "name", "", "this broker's name in logs and monitoring; needed in a cluster (default \"fairlead\")")
	f.StringVar(&cluster.Listen, "cluster-listen", "", "address to listen on for the other brokers of a cluster, which they can reach")
	f.StringVar(&cluster.Name, "cluster-name", "fairlead", "the cluster's name, the same for all of its brokers")
	f.StringArrayVar(&cluster.Routes, "route", nil, "another broker's --cluster-listen address; may be given several times")
	f.StringArrayVar(&nodes, "node", nil, "make credentials for a `NODE`; may be given several times")
	f.StringArrayVar(&operators, "operator", nil, "make credentials for an operator called `NAME`; may be given several times")
	f.StringArrayVar(&viewers, "viewer", nil, "make credentials for a viewer called `NAME`; may be given several times")
	f.BoolVar(&printOnly, "print-users", false, "make and list the users, and do not run")
	return c
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
