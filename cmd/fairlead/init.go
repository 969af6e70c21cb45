package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

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
