package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

func newBrokerClient(a *app) *cobra.Command {
	var dir, out string
	c := &cobra.Command{
		Use:   "client NAME --out DIR",
		Short: "make a certificate for a client, where brokers run with --verify-clients",
		Long: `Writes NAME.pem and NAME.key: a certificate for a year, of the authority for clients, and its key. A person, a station or a
node gives them as --tls-cert and --tls-key beside its credentials, which say who it is and what it may.`,
		Example: `  fairlead broker client ship1 --dir /secure/fleet --out handout`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usagef("give --out: fairlead broker client %s --out handout", args[0])
			}
			au, err := identity.Load(dir, identity.Options{Methods: handlers.All().Sent()})
			if err != nil {
				return err
			}
			cert, key, until, err := au.IssueClient(args[0])
			if err != nil {
				return err
			}
			if err := os.MkdirAll(out, 0o700); err != nil {
				return fleet.Errorf(fleet.Invalid, "--out: %w", err)
			}
			files := filepath.Join(out, args[0])
			for path, data := range map[string][]byte{files + ".pem": cert, files + ".key": key} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					return fleet.Errorf(fleet.Invalid, "--out: %w", err)
				}
			}
			fmt.Fprintf(a.stdout, "%s.pem and %s.key are good until %s\n", files, files, until.Format(time.DateOnly))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "/var/lib/fairlead/identity", "identity directory")
	c.Flags().StringVar(&out, "out", "", "`DIR` to write to")
	return c
}
