package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fairlead/pkg/identity"
)

func newTenant(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "tenant", Short: "make, bound, connect and remove tenants",
		Long: `A tenant is a NATS account with its own nodes, stations, people, streams and quotas on the same brokers. Nothing of one is
seen by another, but what is exported and imported by explicit command. Works on an identity directory.`,
		Args: cobra.NoArgs,
		Example: `  fairlead tenant create shop --max-nodes 500 --max-storage 10G
  fairlead tenant ls
  fairlead tenant push`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(tenantCreate(a), tenantList(a), tenantSet(a), tenantRemove(a), tenantPush(a), tenantKeys(a), tenantExport(a), tenantImport(a))
	return c
}

// quotaFlags are the bounds of a tenant.
type quotaFlags struct {
	identity.Quota
}

func (q *quotaFlags) flags(f *pflag.FlagSet) {
	f.Int64Var(&q.Nodes, "max-nodes", 0, "nodes in its register; 0 is without bound, here and below")
	f.Int64Var(&q.Connections, "max-connections", 0, "connections at once: nodes, stations and people")
	f.Var((*byteSize)(&q.Storage), "max-storage", "bytes on the brokers' disks, each copy counted, such as 10G")
	f.Int64Var(&q.Streams, "max-streams", 0, "streams; buckets are streams too")
	f.Int64Var(&q.Consumers, "max-consumers", 0, "readers of streams that brokers keep")
}

// given are the bounds that were given, over those that there are.
func (q *quotaFlags) given(f *pflag.FlagSet, have identity.Quota) identity.Quota {
	for name, field := range map[string]struct{ to, from *int64 }{
		"max-nodes": {&have.Nodes, &q.Nodes}, "max-connections": {&have.Connections, &q.Connections}, "max-storage": {&have.Storage, &q.Storage},
		"max-streams": {&have.Streams, &q.Streams}, "max-consumers": {&have.Consumers, &q.Consumers},
	} {
		if f.Changed(name) {
			*field.to = *field.from
		}
	}
	return have
}

// tenantRow is a tenant as it is printed.
type tenantRow struct {
	Name    string           `json:"name"`
	Account string           `json:"account"`
	Users   int              `json:"users"`
	Quota   identity.Quota   `json:"quota"`
	Exports []identity.Share `json:"exports,omitempty"`
	Imports []identity.Share `json:"imports,omitempty"`
}

func rowOf(au *identity.Authority) (tenantRow, error) {
	users, err := au.Users()
	return tenantRow{au.Tenant(), au.TenantAccount(), len(users), au.Quota(), au.Exports(), au.Imports()}, err
}

func (a *app) printTenants(rows []tenantRow) error {
	return a.print(rows, func(t *table) {
		t.row("TENANT", "USERS", "NODES", "CONNECTIONS", "STORAGE", "STREAMS", "CONSUMERS", "EXPORTS", "IMPORTS").more("ACCOUNT")
		for _, r := range rows {
			t.row(r.Name, strconv.Itoa(r.Users), bound(r.Quota.Nodes), bound(r.Quota.Connections), boundSize(r.Quota.Storage), bound(r.Quota.Streams),
				bound(r.Quota.Consumers), shares(r.Exports), shares(r.Imports)).more(r.Account)
		}
	}, func() []string {
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		return names
	})
}

func bound(n int64) string {
	if n == 0 {
		return "-"
	}
	return "≤ " + strconv.FormatInt(n, 10)
}

func boundSize(n int64) string {
	if n == 0 {
		return "-"
	}
	return "≤ " + sizeText(n)
}

func shares(all []identity.Share) string {
	text := ""
	for i, s := range all {
		if i > 0 {
			text += ", "
		}
		if text += s.Subject; s.From != "" {
			text += " from " + s.From
		}
	}
	if text == "" {
		return "-"
	}
	return text
}

func tenantList(a *app) *cobra.Command {
	var o authorityFlags
	c := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "list the tenants with their quotas", Args: cobra.NoArgs,
		Example: `  fairlead tenant ls
  fairlead tenant ls --json`,
		RunE: func(*cobra.Command, []string) error {
			all, err := a.tenants(o)
			if err != nil {
				return err
			}
			var rows []tenantRow
			for _, au := range all {
				r, err := rowOf(au)
				if err != nil {
					return err
				}
				rows = append(rows, r)
			}
			return a.printTenants(rows)
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("tenant")
	return c
}

// tenants loads all tenants of a directory.
func (a *app) tenants(o authorityFlags) ([]*identity.Authority, error) {
	names, err := identity.Tenants(a.identityDir(o))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{""} // for the error that says what is missing
	}
	var all []*identity.Authority
	for _, name := range names {
		o.tenant = name
		au, err := a.authority(o)
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", name, err)
		}
		all = append(all, au)
	}
	return all, nil
}
