package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"fairlead/pkg/fleet"
)

func newBrokerLeaf(a *app) *cobra.Command {
	var o authorityFlags
	var out string
	var hosts []string
	c := &cobra.Command{
		Use:   "leaf NAME --out DIR",
		Short: "make what a broker needs to be a leafnode",
		Long: `Writes the directory of a leafnode: a broker for the nodes of one place, which keeps nothing and passes on what they say and
hear over one connection to its hub. Copy it to DATA/identity/broker of its host, and start "fairlead broker --leafnode-remote"
there. With it somebody can pass on what nodes say and hear, and make nothing that anybody believes: no node, station or
person, and no broker of a cluster. "fairlead user revoke NAME" cuts it off.`,
		Example: `  fairlead broker leaf harbour --host 192.168.7.2 --out harbour/identity/broker`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("give --out: fairlead broker leaf %s --out %s/identity/broker", args[0], args[0])
			}
			if there(filepath.Join(out, "operator.jwt")) {
				return fleet.Errorf(fleet.Conflict, "%s is a broker's directory already: give another one", out)
			}
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			u, err := au.CreateLeaf(args[0], out, hosts...)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s: copy %s to DATA/identity/broker of its host, and start there: fairlead broker --data DATA --leafnode-remote HUB:7422\n", u.Name, out)
			told := news{}
			if told.accounts, err = accountOf(au); err != nil {
				return err
			}
			return a.change(cmd.Context(), o, au, told)
		},
	}
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	c.Flags().StringVar(&out, "out", "", "`DIR` to write to")
	c.Flags().StringArrayVar(&hosts, "host", nil, "DNS `NAME` or IP address by which the nodes reach it, for its certificate; may be given several times")
	return c
}
