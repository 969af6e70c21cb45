package main

import (
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newStation(a *app) *cobra.Command {
	var d daemonFlags
	var httpAddress string
	var storage subjects.Settings
	auditAge, logsAge := days(subjects.DefaultSettings().AuditAge), days(subjects.DefaultSettings().LogsAge)
	c := &cobra.Command{
		Use:   "station",
		Short: "run a management station; any number may run",
		Long: `Keeps the register of nodes and the ledger of commands, compiles what every node should be, and answers questions.
It keeps nothing on disk: stop it, start it elsewhere, or run several.`,
		Example: `  fairlead station --url nats://broker.example.org:4222 --creds station.creds --trust trust.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, ca, creds, trust, err := a.connection(d)
			if err != nil {
				return err
			}
			storage.AuditAge, storage.LogsAge = time.Duration(auditAge), time.Duration(logsAge)
			s, err := station.New(station.Config{URL: url, CA: ca, Credentials: creds, Trust: trust.Lookup(), Version: version,
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
	f.StringVar(&httpAddress, "http", "", "loopback address that serves /healthz and /metrics")
	f.IntVar(&storage.Replicas, "replicas", 1, "replicas of streams and buckets: 1 on a lone broker, 3 on a cluster")
	f.Var(&auditAge, "audit-age", "how long the audit is kept")
	f.Var(&logsAge, "logs-age", "how long forwarded logs are kept")
	f.Int64Var(&storage.LogsBytes, "logs-bytes", subjects.DefaultSettings().LogsBytes, "bytes of forwarded logs that are kept at most")
	return c
}
