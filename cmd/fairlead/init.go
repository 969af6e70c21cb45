package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
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

// makeIdentity makes the directory; where it is to be encrypted no seed ever
// lies on the disk in the clear.
func (a *app) makeIdentity(o authorityFlags, dir string, encrypt bool) (*identity.Authority, error) {
	options := a.authorityOptions(o, dir)
	if !encrypt {
		a.progress("making the keys in %s", dir)
		return identity.Open(dir, options)
	}
	passphrase, err := a.newPassphrase(o.passphraseFD, "FAIRLEAD_PASSPHRASE")
	if err != nil {
		return nil, err
	}
	a.progress("making the keys in %s", dir)
	return identity.OpenEncrypted(dir, options, passphrase)
}

// firstUsers makes the administrator and a station.
func (a *app) firstUsers(au *identity.Authority, admin, out string) ([]identity.User, error) {
	if _, err := au.SystemUser(); err != nil {
		return nil, err
	}
	var users []identity.User
	for _, n := range []identity.New{{Name: admin, Role: subjects.Admin}, {Name: "station", Role: subjects.Station}} {
		if out != "" {
			n.Out = filepath.Join(out, n.Name+".creds")
		}
		u, err := au.Create(n)
		if err != nil {
			return nil, err
		}
		if err := a.handOut(au, u, out); err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// urlsOf are the addresses of brokers as clients write them.
func urlsOf(hosts []string, port int) string {
	var all []string
	for _, h := range hosts {
		all = append(all, "tls://"+net.JoinHostPort(h, strconv.Itoa(port)))
	}
	return strings.Join(all, ",")
}

// keep says what something of an identity directory is and where it belongs.
type keep struct {
	Path  string `json:"path"`
	Holds string `json:"holds"`
	Keep  string `json:"keep"`
}

func (a *app) tellInit(au *identity.Authority, users []identity.User, contextName, out string, encrypted bool) error {
	suffix := ""
	if encrypted {
		suffix = ".age"
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{au.Dir()}, parts...)...) }
	tenant := []string{"tenants", au.Tenant()}
	all := []keep{
		{in("operator.seed" + suffix), "the operator's root", "offline: take it away, it signs operator.jwt alone"},
		{in("operator-signing.next.seed" + suffix), "its spare signing key", "offline, in another place"},
		{in("operator-signing.seed" + suffix), "signs accounts", "here"},
		{in(append(tenant, "account.seed"+suffix)...), "the tenant's account", "offline: it signs vouchers and grants to other tenants"},
		{in(tenant...), "signs users and the trust set", "here, on a host that is no broker; back it up, nothing rebuilds it"},
		{in("ca", "ca.key"+suffix), "signs brokers' certificates", "here, or offline: it is missed when they are renewed, after 16 months"},
		{in("broker"), "what a broker needs, no seed", "copy it to each broker's host"},
	}
	if encrypted {
		all = append(all, keep{in("passphrase.age"), "opens the seeds, with your passphrase", "here; without passphrase and this file all seeds are lost"})
	}
	for _, u := range users {
		where := "with its owner"
		if u.Role == subjects.Station {
			where = "on the station's host, with station.keys and trust.json"
		}
		all = append(all, keep{u.CredsFile, string(u.Role) + " " + u.Name, where})
	}
	whole := struct {
		Dir     string          `json:"dir"`
		Tenant  string          `json:"tenant"`
		Account string          `json:"account"`
		Context string          `json:"context,omitempty"`
		Users   []identity.User `json:"users"`
		Keep    []keep          `json:"keep"`
	}{au.Dir(), au.Tenant(), au.TenantAccount(), contextName, users, all}
	err := a.print(whole, func(t *table) {
		t.row("FILE", "HOLDS", "KEEP IT")
		for _, k := range all {
			t.row(k.Path, k.Holds, k.Keep)
		}
	}, func() []string { return []string{au.Dir()} })
	if err != nil {
		return err
	}
	if contextName != "" {
		a.say("%s", selectFirst(contextName))
	}
	a.say("%s", next(au, out))
	return nil
}

// selectFirst selects a context where none is selected, and says so.
func selectFirst(name string) string {
	if now, err := bus.SelectedContext(); err == nil && now == "" && bus.SelectContext(name) == nil {
		return fmt.Sprintf("context %s is selected", name)
	}
	return fmt.Sprintf("context %s: `fairlead context select %s`", name, name)
}

// next says how to go on.
func next(au *identity.Authority, out string) string {
	if out == "" {
		out = filepath.Dir(au.TrustFile()) + "/users"
	}
	return fmt.Sprintf("next: `fairlead broker` with a copy of %s below its DATA/identity, then `%s`",
		filepath.Join(au.Dir(), "broker"), startStation(au, filepath.Join(out, "station.creds")))
}

// startStation is the command that starts a station; trust.json and station.keys
// are found beside its credentials.
func startStation(au *identity.Authority, creds string) string {
	command := "fairlead station --creds " + creds
	if c, err := identity.ReadConnection(au.Dir()); err == nil && c.URL != "" {
		command += " --url " + c.URL
	}
	return command
}
