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
	var data, listen, sync string
	var nodes, operators, viewers []string
	var printOnly bool
	c := &cobra.Command{
		Use:   "broker",
		Short: "run the embedded NATS broker alone",
		Long: `Runs nats-server with JetStream and the identities of one fleet. At the first start it makes the operator, the accounts
and users (admin, station, and those named by flags) below DATA/identity; give each its creds file, and agents and
stations DATA/identity/trust.json.`,
		Example: `  fairlead broker --data /var/lib/fairlead --listen 0.0.0.0:4222 --node ship1 --node ship2
  fairlead broker --data /var/lib/fairlead --node ship3 --print-users`,
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
			if err := identity.WriteTrust(filepath.Join(data, "identity", "trust.json"), authority.Trust()); err != nil {
				return err
			}
			if printOnly {
				return a.printUsers(users)
			}
			host, port, err := hostPort(listen)
			if err != nil {
				return err
			}
			b, err := broker.New(broker.Config{Name: "fairlead", Host: host, Port: port, StoreDir: filepath.Join(data, "broker"),
				Sync: sync, Authority: authority, Logger: a.daemonLogger()})
			if err != nil {
				return err
			}
			go func() {
				select {
				case <-b.Ready():
					a.daemonLogger().Info("broker runs", slog.String("url", b.URL()), slog.String("data", data), slog.String("sync", sync))
				case <-cmd.Context().Done():
				}
			}()
			return b.Run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "/var/lib/fairlead", "directory for identities and streams")
	f.StringVar(&listen, "listen", "127.0.0.1:4222", "address to listen on")
	f.StringVar(&sync, "sync", "always", "when stored messages reach the disk: always, before they are acknowledged, or an interval such as 2m")
	f.StringArrayVar(&nodes, "node", nil, "make credentials for a node; may be given several times")
	f.StringArrayVar(&operators, "operator", nil, "make credentials for an operator")
	f.StringArrayVar(&viewers, "viewer", nil, "make credentials for a viewer")
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
