package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newStation(a *app) *cobra.Command {
	var d daemonFlags
	var httpAddress, curveFile string
	var storage subjects.Settings
	auditAge, logsAge := days(subjects.DefaultSettings().AuditAge), days(subjects.DefaultSettings().LogsAge)
	c := &cobra.Command{
		Use:   "station",
		Short: "run a management station; any number may run",
		Long: `Keeps the register of nodes and the ledger of commands, compiles what every node should be, and answers questions.
It keeps nothing on disk: stop it, start it elsewhere, or run several. With station.curve, which the broker makes,
it serves certificates; without it everything else.`,
		Example: `  fairlead station --url nats://broker.example.org:4222 --creds station.creds --trust trust.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, ca, creds, trust, err := a.connection(d)
			if err != nil {
				return err
			}
			curve, err := stationCurve(curveFile, creds.File)
			if err != nil {
				return err
			}
			storage.AuditAge, storage.LogsAge = time.Duration(auditAge), time.Duration(logsAge)
			s, err := station.New(station.Config{URL: url, CA: ca, Credentials: creds, Trust: trust.Lookup(), Version: version, Curve: curve,
				Storage: storage, Logger: a.daemonLogger()})
			if err != nil {
				return err
			}
			server, err := serveHTTP(httpAddress, s.Metrics)
			if err != nil {
				return err
			}
			defer server.Close()
			return s.Run(cmd.Context())
		},
	}
	d.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&curveFile, "curve", "", "file with the key that opens sealed keys of certificates (default station.curve beside the credentials, or in the identity directory that they lie in)")
	f.StringVar(&httpAddress, "http", "", "loopback address that serves /healthz and /metrics")
	f.IntVar(&storage.Replicas, "replicas", 1, "replicas of streams and buckets: 1 on a lone broker, 3 on a cluster")
	f.Var(&auditAge, "audit-age", "how long the audit is kept")
	f.Var(&logsAge, "logs-age", "how long forwarded logs are kept")
	f.Int64Var(&storage.LogsBytes, "logs-bytes", subjects.DefaultSettings().LogsBytes, "bytes of forwarded logs that are kept at most")
	return c
}

// stationCurve is the key of a file, or of the first place where one is
// usual. A station without one serves no certificates.
func stationCurve(file, creds string) (message.StationCurve, error) {
	if file != "" {
		return identity.LoadStationCurve(file)
	}
	beside := filepath.Dir(creds)
	for _, usual := range []string{filepath.Join(beside, "station.curve"), filepath.Join(beside, "..", "tenants", "main", "station.curve")} {
		if c, err := identity.LoadStationCurve(usual); !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return message.StationCurve{}, nil
}
