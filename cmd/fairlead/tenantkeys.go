package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

func tenantKeys(a *app) *cobra.Command {
	var o authorityFlags
	var out string
	c := &cobra.Command{
		Use: "station-keys NAME --out DIR", Short: "write the secrets that a tenant's stations share, for a station to take", Args: cobra.ExactArgs(1),
		Long: `Writes station.keys and trust.json. Who has station.keys opens every sealed private key of the tenant and makes nodes: bring
it to the station's host by a way that you trust, and remove it where it was written.`,
		Example:           `  fairlead tenant station-keys shop --out handout`,
		ValidArgsFunction: a.completeTenants(&o),
		RunE: func(_ *cobra.Command, args []string) error {
			o.tenant = args[0]
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			to := filepath.Join(out, "station.keys")
			if err := au.ExportStationKeys(to); err != nil {
				return err
			}
			data, err := os.ReadFile(au.TrustFile())
			if err == nil {
				err = identity.WriteSecret(filepath.Join(out, "trust.json"), data)
			}
			if err != nil {
				return fleet.Errorf(fleet.Internal, "hand out trust.json: %w", err)
			}
			return a.done("wrote " + to)
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("tenant")
	c.Flags().StringVar(&out, "out", "", "`DIR` to write to")
	if err := c.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag was made above
	}
	return c
}

// stationKeysFrom says where stations get the tenant's new station.keys from.
func stationKeysFrom(au *identity.Authority) string {
	if identity.Encrypted(au.Dir()) {
		return "station.keys (`fairlead tenant station-keys " + au.Tenant() + " --out DIR` writes it)"
	}
	return filepath.Join(filepath.Dir(au.TrustFile()), "station.keys")
}
