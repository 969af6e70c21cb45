// Package announce tells brokers, stations and nodes what an identity directory
// says: accounts to the brokers, as the user of the system account; the trust
// set and renewed JWTs to everybody of a tenant, as an administrator or station
// of it. Whatever is told twice, or by two at once, is told once. Who could not
// be told hears it the next time: nothing of it is lost, since the directory has
// it all.
package announce

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Accounts hands account JWTs to all brokers and returns the names of those
// that took them. The options need no credentials. The error is as of
// bus.PushAccount.
func Accounts(ctx context.Context, au *identity.Authority, to bus.Options, accounts ...string) (took []string, err error) {
	return toBrokers(ctx, au, to, (*bus.Conn).PushAccount, accounts)
}

// Deletion has all brokers forget a tenant, as RemoveTenant signed it.
func Deletion(ctx context.Context, au *identity.Authority, to bus.Options, deletion string) (told []string, err error) {
	return toBrokers(ctx, au, to, (*bus.Conn).DeleteAccounts, []string{deletion})
}

func toBrokers(ctx context.Context, au *identity.Authority, to bus.Options, tell func(*bus.Conn, context.Context, string) ([]string, error), texts []string) (took []string, err error) {
	if to.Credentials, err = au.SystemUser(); err != nil {
		return nil, err
	}
	conn, err := bus.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var faults []error
	for _, text := range texts {
		some, err := tell(conn, ctx, text)
		took, faults = append(took, some...), append(faults, err)
	}
	slices.Sort(took)
	return slices.Compact(took), errors.Join(faults...)
}

// Trust stores the tenant's newest trust set, and the JWTs of users that were
// renewed, as the user that the options name. Nodes are left out: they ask for
// theirs. It reports whether the directory learned from what was stored: then
// the account is another, and the brokers have to hear of it.
func Trust(ctx context.Context, au *identity.Authority, to bus.Options, renewed ...identity.User) (learned bool, err error) {
	conn, err := bus.Connect(ctx, to)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if learned, err = putTrust(ctx, conn, au); err != nil {
		return learned, err
	}
	for _, u := range renewed {
		if u.Role == subjects.Node {
			continue
		}
		m, err := au.RenewedJWT(u)
		if err != nil {
			return learned, err
		}
		if err := conn.PutRenewed(ctx, u.Key, m); err != nil {
			return learned, fmt.Errorf("hand %s the renewed JWT: %w", u.Name, err)
		}
	}
	return learned, nil
}

// putTrust stores the trust set. Where the brokers have one that this directory
// signed and does not know, since it was restored from a backup, it takes over
// what that says first. It reports whether it did.
func putTrust(ctx context.Context, conn *bus.Conn, au *identity.Authority) (adopted bool, err error) {
	for {
		stored, err := conn.StoredTrust(ctx)
		if err == nil {
			some, err := adopt(ctx, conn, au, stored)
			if err != nil && fleet.KindOf(err) != fleet.Refused { // a stranger's is nothing to follow
				return adopted, err
			}
			adopted = adopted || some
		}
		m, err := au.TrustSet()
		if err != nil {
			return adopted, err
		}
		lists, err := au.RevokedNodes()
		if err != nil {
			return adopted, err
		}
		if err = conn.PutTrust(ctx, m, lists...); fleet.KindOf(err) != fleet.Conflict || stored.Signature == m.Signature {
			return adopted, err
		}
		if newer, serr := conn.StoredTrust(ctx); serr != nil || newer.Signature == stored.Signature {
			return adopted, err // not somebody who was faster
		}
	}
}

// adopt takes over a stored trust set, with its lists of revoked nodes where the
// directory needs them.
func adopt(ctx context.Context, conn *bus.Conn, au *identity.Authority, stored message.Message) (bool, error) {
	some, err := au.AdoptTrust(stored)
	if fleet.KindOf(err) != fleet.Unknown {
		return some, err
	}
	set, err := message.OpenTrust(stored)
	if err != nil {
		return false, err
	}
	lists, err := conn.RevokedLists(ctx, set.RevokedNodes)
	if err != nil {
		return false, err
	}
	return au.AdoptTrust(stored, lists...)
}

// Writer is a user in the directory who may tell the tenant's nodes, as far as
// its private key lies there. The error is Invalid where there is none.
func Writer(au *identity.Authority) (*identity.Credentials, error) {
	users, _ := au.Users() // of those that can be read
	for _, u := range users {
		if u.CredsFile == "" {
			continue
		}
		if c, err := identity.LoadCreds(u.CredsFile); err == nil && May(au, c) {
			return c, nil
		}
	}
	return nil, fleet.Errorf(fleet.Invalid, "no credentials of an administrator of tenant %q lie in %s", au.Tenant(), au.Dir())
}

// May reports whether credentials are those of somebody who may tell the
// tenant's nodes.
func May(au *identity.Authority, c *identity.Credentials) bool {
	return c.Account == au.TenantAccount() && (c.Role == subjects.Admin || c.Role == subjects.Station)
}
