package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newNodesRemove(a *app) *cobra.Command {
	var o authorityFlags
	var yes, revoke bool
	var why reason
	c := &cobra.Command{
		Use:   "rm NODE",
		Short: "take a node out of the fleet",
		Long: `Takes the node out of the register: stations believe nothing that it says from then on, compile nothing for it and do not
renew its JWT. Commands that wait for it end cancelled. Its nginx goes on with what it has. Another host may join under its
name.

What the node has still opens a connection to its own subjects, until its JWT ends. --revoke takes its keys back, too, so
that brokers cut it off at once; it needs the identity directory. It can be done later, when the node has gone from the
register already. The exit code is 3 where a broker or the nodes could not be told yet.`,
		Example: `  fairlead nodes rm ship1
  fairlead nodes rm ship1 --revoke -m 'stolen'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			var au *identity.Authority
			var err error
			if revoke {
				if au, err = a.authority(o); err != nil {
					return err
				}
			}
			if !yes {
				if ok, err := a.ask(fmt.Sprintf("take %s out of the fleet?", args[0])); err != nil || !ok {
					return cmp.Or(err, error(exitError(message.ExitRefused)))
				}
			}
			record, err := c.RemoveNode(ctx, args[0])
			gone := fleet.KindOf(err) == fleet.Unknown
			if gone && revoke {
				if record, err = c.LastNode(ctx, args[0]); err != nil {
					return err
				}
			}
			if err != nil {
				return err
			}
			if !gone {
				fmt.Fprintf(a.stdout, "removed %s\n", args[0])
			}
			if err := a.endWaiting(ctx, c, args[0]); err != nil {
				return err
			}
			if !revoke {
				a.say("what it has opens a connection to its own subjects until its JWT ends; --revoke cuts it off")
				return nil
			}
			return a.revokeNode(ctx, o, au, record, string(why))
		}),
	}
	f := c.Flags()
	f.BoolVar(&revoke, "revoke", false, "take its keys back, so that brokers cut it off at once")
	why.flagFor(c, "with --revoke; people can read it, and nodes cannot")
	f.BoolVar(&yes, "yes", false, "do not ask")
	o.flags(f)
	o.pushFlag(f)
	return c
}

// endWaiting ends what waits for a node that was removed.
func (a *app) endWaiting(ctx context.Context, c *client.Client, name string) error {
	n, err := c.EndWaiting(ctx, name)
	if fleet.KindOf(err) == fleet.Unavailable {
		a.say("no station answers: commands that wait for %s end once one runs, before another host can join as %s", name, name)
		return nil
	}
	if err == nil && n > 0 {
		fmt.Fprintf(a.stdout, "cancelled %s to %s\n", count(n, "waiting command"), name)
	}
	return err
}

// revokeNode takes back all keys that a node has or had. No JWT for them lasts
// longer than twice a node's life.
func (a *app) revokeNode(ctx context.Context, o authorityFlags, au *identity.Authority, record station.NodeRecord, reason string) error {
	keys := []string{record.Key}
	for _, f := range record.Former {
		keys = append(keys, f.Key)
	}
	var users []identity.User
	for _, key := range keys {
		users = append(users, identity.User{Name: record.Name, Role: subjects.Node, Key: key, Expires: time.Now().Add(2 * identity.NodeLife)})
	}
	if err := au.RevokeKeys(reason, users...); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "revoked %s of %s\n", count(len(keys), "key"), record.Name)
	return a.tellRevoked(ctx, o, au)
}

// tellRevoked tells that keys of nodes were taken back.
func (a *app) tellRevoked(ctx context.Context, o authorityFlags, au *identity.Authority) error {
	accounts, err := accountOf(au)
	if err != nil {
		return err
	}
	// The broker that was just asked is where it is to be told.
	if url, _, _, err := a.settings(); err == nil {
		or(&a.url, firstWord(a.url, url))
	}
	return a.change(ctx, o, au, news{accounts: accounts, trust: true})
}
