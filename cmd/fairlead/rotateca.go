package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
)

func rotateCA(a *app) *cobra.Command {
	var r rotation
	var clients, yes bool
	c := &cobra.Command{
		Use: "ca", Short: "replace the authority that signs brokers' certificates", Args: cobra.NoArgs,
		Long: `Makes another authority, which signs the brokers' certificate from then on, and tells all tenants' nodes, stations and
people to believe both: each keeps its own ca.pem by that. Copy the directory broker to each broker's host and restart
the brokers, when you like. Who was away comes back until --finish, which has everybody drop the old authority: a broker
with a certificate by it is refused, and who has not been there since the first step needs ca.pem by hand.

--clients replaces the authority for the certificates that brokers may ask clients for: hand those out anew before --finish.`,
		Example: `  fairlead rotate ca
  fairlead rotate ca --finish
  fairlead rotate ca --clients`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			change, done := au.RotateCA, "another authority signs brokers' certificates; the old one is believed beside it until `fairlead rotate ca --finish`"
			question := "every broker has to have its new certificate, and who has not been connected since it was made needs ca.pem by hand. Go on?"
			switch {
			case clients && r.finish:
				change, done = au.FinishClientsCA, "dropped the old authority for clients' certificates"
				question = "clients whose certificate is by the old authority are locked out. Go on?"
			case clients:
				change, done = au.RotateClientsCA, "another authority signs clients' certificates; the old one is believed beside it until `fairlead rotate ca --clients --finish`"
			case r.finish:
				change, done = au.FinishCA, "dropped the old authority of brokers' certificates"
			}
			if r.finish && !yes {
				if ok, err := a.ask(question); err != nil || !ok {
					return firstOf(err, exitError(2))
				}
			}
			if err := change(); err != nil {
				return err
			}
			if err := a.done(done); err != nil {
				return err
			}
			a.copyBroker(au)
			if clients {
				return nil
			}
			return a.tellTenants(cmd.Context(), r.authorityFlags, au)
		},
	}
	r.bind(c)
	_ = c.Flags().MarkHidden("tenant")
	c.Flags().BoolVar(&clients, "clients", false, "replace the authority for clients' certificates")
	c.Flags().BoolVar(&yes, "yes", false, "with --finish: do not ask")
	return c
}

// tellTenants tells the nodes of all tenants what a directory says. Who cannot be
// told does not keep the others from it.
func (a *app) tellTenants(ctx context.Context, o authorityFlags, au *identity.Authority) error {
	tenants, err := identity.Tenants(au.Dir())
	if err != nil {
		return err
	}
	options := a.authorityOptions(o, au.Dir())
	for _, tenant := range tenants {
		one := au
		if tenant != au.Tenant() {
			options.Tenant = tenant
			var lerr error
			if one, lerr = identity.Load(au.Dir(), options); lerr != nil {
				err = firstOf(err, fmt.Errorf("tenant %s: %w", tenant, lerr))
				continue
			}
		}
		err = firstOf(err, a.change(ctx, o, one, news{trust: true}))
	}
	return err
}
