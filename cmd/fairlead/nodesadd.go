package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

func newNodesAdd(a *app) *cobra.Command {
	var key, address string
	var labels map[string]string
	c := &cobra.Command{
		Use:   "add NODE --key KEY",
		Short: "put a node into the register, or change its labels",
		Long: `Registers a node by its public key, which proves everything that the node says; ` + "`fairlead user create NODE --role node`" + `
shows it. Where the node is registered with that key already, what is not given stays as it is; labels that are given
replace all that it has.`,
		Example: `  fairlead nodes add ship1 --key UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 --label role=edge --label region=eu
  fairlead nodes add ship1 --key UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 --address 10.0.0.7`,
		Args: cobra.ExactArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if err := fleet.CheckNode(args[0]); err != nil {
				return err
			}
			if len(key) != 56 || !strings.HasPrefix(key, "U") {
				return usagef("--key %q is not the public key of a user: it has 56 characters and begins with U", key)
			}
			if faults := fleet.CheckLabels(labels); len(faults) > 0 {
				return faults.Err()
			}
			record := station.NodeRecord{Name: args[0], Key: key, Labels: labels, Address: address, Since: time.Now().UTC()}
			have, err := c.Registered(ctx, args[0])
			if err != nil && fleet.KindOf(err) != fleet.Unknown {
				return err
			}
			if have.Key == key && !cmd.Flags().Changed("label") {
				record.Labels = have.Labels
			}
			if have.Key == key {
				record.Drained = have.Drained
			}
			if have.Key == key && !cmd.Flags().Changed("address") {
				record.Address = have.Address
			}
			if err = c.Register(ctx, record); err == nil {
				fmt.Fprintf(a.stdout, "registered %s\n", args[0])
			}
			return err
		})(cmd, args)
	}
	f := c.Flags()
	f.StringVar(&key, "key", "", "the node's public key")
	f.StringVar(&address, "address", "", "where its virtual hosts listen when they do not say (default every address)")
	f.StringToStringVar(&labels, "label", nil, "`NAME=VALUE`; may be given several times")
	if err := c.MarkFlagRequired("key"); err != nil {
		panic(err) // the flag was made above
	}
	return c
}
