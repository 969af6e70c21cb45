package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

func rotateTrust(a *app) *cobra.Command {
	var r rotation
	c := &cobra.Command{
		Use: "trust", Short: "replace the key that signs whom to believe", Args: cobra.NoArgs,
		Long: `Both keys sign until --finish, which drops the old one. Nodes that were away follow from any older set, since the set that
drops the old key is the last one that it signs.`,
		Example: `  fairlead rotate trust
  fairlead rotate trust --finish`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			if !r.finish {
				// The set that the old key signed last has to be stored before the one
				// that follows it.
				if _, err := au.TrustSet(); err != nil {
					return err
				}
			}
			if _, err := au.RotateTrust(r.finish); err != nil {
				return err
			}
			what := "a new key signs whom to believe beside the old one; once it was told, `fairlead rotate trust --finish`"
			if r.finish {
				what = "dropped the old key that signed whom to believe"
			}
			if err := a.done(what); err != nil {
				return err
			}
			return a.change(cmd.Context(), r.authorityFlags, au, news{trust: true})
		},
	}
	r.bind(c)
	return c
}

func rotateCurve(a *app) *cobra.Command {
	var r rotation
	var yes bool
	c := &cobra.Command{
		Use: "curve", Short: "replace the key that private keys and passwords are sealed to", Args: cobra.NoArgs,
		Long: `Give the stations the new station.keys and restart them: they open what is sealed to either key. Then apply every
certificate with its keyFile again, and every host with the hashes of its passwords, which seals them to the new one.
--finish forgets the old key, and is refused while something is sealed to it.`,
		Example: `  fairlead rotate curve
  fairlead rotate curve --finish`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			if r.finish {
				if !yes {
					if err := a.sealedToOld(cmd.Context(), au); err != nil {
						return err
					}
				}
				if err := au.FinishCurve(); err != nil {
					return err
				}
				if err := a.done("forgot the stations' old curve key"); err != nil {
					return err
				}
				a.say("give stations the new %s", stationKeysFrom(au))
				return nil
			}
			if err := au.RotateCurve(); err != nil {
				return err
			}
			if err := a.done("the stations have a new curve key beside the old one"); err != nil {
				return err
			}
			a.say("give stations the new %s, restart them, and apply all certificates with their keys, and hosts with their hashes, again", stationKeysFrom(au))
			return a.change(cmd.Context(), r.authorityFlags, au, news{trust: true})
		},
	}
	r.bind(c)
	c.Flags().BoolVar(&yes, "yes", false, "with --finish: without asking a broker what is sealed to the old key")
	return c
}

// sealedToOld refuses where something stored is sealed to another key than that
// of now.
func (a *app) sealedToOld(ctx context.Context, au *identity.Authority) error {
	now, err := au.Curve()
	if err != nil {
		return err
	}
	c, err := a.open(ctx)
	if err != nil {
		return fmt.Errorf("what is sealed to the old key is not known: %w: or give --yes", err)
	}
	defer c.Close()
	stored, err := c.Resources(ctx, "", "")
	if err != nil {
		return err
	}
	var old []string
	for _, r := range stored {
		if slices.ContainsFunc(fleet.SealedTo(r.Spec), func(to string) bool { return to != now }) {
			old = append(old, r.ID())
		}
	}
	if len(old) > 0 {
		return fleet.Errorf(fleet.Conflict, "%s sealed to the old key: apply %s with keyFile and hashes first", count(len(old), "resource")+note(len(old) == 1, " is", " are"), strings.Join(old, ", "))
	}
	return nil
}

func rotateBroker(a *app) *cobra.Command {
	var o authorityFlags
	var hosts []string
	c := &cobra.Command{
		Use: "broker-tls", Short: "replace the brokers' certificate", Args: cobra.NoArgs,
		Long: `Makes a new key and a certificate by the same authority, for the names and addresses that the old one was for and each
--host. Brokers take it up at their next start; clients notice nothing. It is renewed by itself at two thirds of its
life where the identity directory lies beside the broker. ` + "`fairlead rotate ca`" + ` replaces the authority.`,
		Example: `  fairlead rotate broker-tls
  fairlead rotate broker-tls --host broker2.example.org`,
		RunE: func(*cobra.Command, []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			if err := au.IssueBroker(true, hosts...); err != nil {
				return err
			}
			a.copyBroker(au)
			names, until, err := identity.BrokerCertificate(au.BrokerDir())
			if err != nil {
				return err
			}
			return a.done(fmt.Sprintf("a new certificate for %s until %s", strings.Join(names, ", "), until.Format("2006-01-02")))
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("tenant")
	c.Flags().StringArrayVar(&hosts, "host", nil, "DNS `NAME` or IP address by which clients reach a broker too; may be given several times")
	return c
}

func (a *app) copyBroker(au *identity.Authority) {
	a.say("copy %s to each broker's host and restart the brokers one after the other", au.BrokerDir())
}
