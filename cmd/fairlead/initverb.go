//go:build !node

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

func newInit(a *app) *cobra.Command {
	var o authorityFlags
	var hosts []string
	var admin, out, external string
	var brokers []string
	var port int
	var encrypt bool
	c := &cobra.Command{
		Use: "init", Short: "make the keys of a fleet: operator, tenant, administrator", Args: cobra.NoArgs,
		Long: `Makes an identity directory: the operator with a signing key and a spare, the system account, the first tenant with a
signing key per role, its administrator and its station. Say which hosts and ports people and nodes reach the broker by.

With --encrypt all seeds on the disk are encrypted with a passphrase (age), and the administrator's and the station's
private keys are written to --out and nowhere else. Automation gives the passphrase in FAIRLEAD_PASSPHRASE or by
--passphrase-fd. What the command prints says what to keep where.`,
		Example: `  fairlead init --host broker.example.org
  fairlead init --dir /secure/fleet --encrypt --out handout --host broker.example.org
  fairlead init --dir /secure/fleet --external brokers --broker n1=10.0.0.1 --broker n2=10.0.0.2 --broker n3=10.0.0.3
  fairlead init --dir /secure/fleet --tenant shop --host 10.0.0.1 --host 10.0.0.2 --host 10.0.0.3`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := o.dir
			if dir == "" {
				dir = usualIdentity
			}
			if tenants, err := identity.Tenants(dir); err != nil || len(tenants) > 0 || there(filepath.Join(dir, "operator.jwt")) {
				return firstOf(err, fleet.Errorf(fleet.Conflict, "%s is an identity directory already: `fairlead tenant create` adds a tenant, `fairlead user create` a user", dir))
			}
			if (external == "") != (len(brokers) == 0) {
				return usagef("--external DIR goes with --broker NAME=HOST, once for each nats-server")
			}
			for _, b := range brokers {
				_, host, _ := strings.Cut(b, "=")
				hosts = append(hosts, host)
			}
			if len(hosts) == 0 {
				hosts = []string{"127.0.0.1"}
			}
			if err := identity.CheckHosts(hosts); err != nil {
				return err // before there is half a directory
			}
			if encrypt && out == "" {
				return usagef("--encrypt goes with --out DIR: where the administrator's and the station's private keys go")
			}
			au, err := a.makeIdentity(o, dir, encrypt)
			if err != nil {
				return err
			}
			users, err := a.firstUsers(au, admin, out)
			if err != nil {
				return err
			}
			if err := au.IssueBroker(false, hosts...); err != nil {
				return err
			}
			if err := identity.WriteConnection(dir, identity.Connection{URL: urlsOf(hosts, port)}); err != nil {
				return err
			}
			contextName, err := a.userContext(au, users[0], out, au.Tenant())
			if err != nil {
				a.say("the NATS context was not written: %v", err)
			}
			if external != "" {
				if err := a.initExternal(au, external, brokers, port); err != nil {
					return err
				}
			}
			return a.tellInit(au, users, contextName, out, encrypt)
		},
	}
	f := c.Flags()
	f.StringVar(&o.dir, "dir", os.Getenv("FAIRLEAD_IDENTITY"), "directory to make (FAIRLEAD_IDENTITY; default "+usualIdentity+")")
	f.StringVar(&o.tenant, "tenant", "main", "the first tenant")
	o.passphraseFlag(f)
	f.StringArrayVar(&hosts, "host", nil, "`HOST` that the broker is reached by, a name or an address; may be given several times (default 127.0.0.1)")
	f.IntVar(&port, "port", 4222, "the broker's port")
	f.StringVar(&admin, "admin", "admin", "`NAME` of the administrator")
	f.BoolVar(&encrypt, "encrypt", false, "encrypt the seeds with a passphrase")
	f.StringVar(&external, "external", "", "`DIR` to write configurations to for nats-servers of one's own, as `fairlead broker config` does")
	f.StringArrayVar(&brokers, "broker", nil, "with --external: a nats-server's name and the host that it is reached by, `NAME=HOST`; several are a cluster")
	f.StringVar(&out, "out", "", "`DIR` to write the administrator's and the station's credentials to, keeping no private key of theirs here")
	return c
}

// initExternal writes what nats-servers of one's own need, by the usual ports
// and places; `fairlead broker config` knows others.
func (a *app) initExternal(au *identity.Authority, dir string, brokers []string, port int) error {
	stdout := a.stdout
	a.stdout = a.stderr // there is one result, and this is not it
	defer func() { a.stdout = stdout }()
	return a.writeExternal(au, externalFlags{out: dir, brokers: brokers, at: "/etc/nats-server", store: "/var/lib/nats-server", sync: "always",
		cluster: "fairlead", port: port, routes: 6222})
}
