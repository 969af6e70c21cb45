package main

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/identity"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newStation(a *app) *cobra.Command {
	var d daemonFlags
	var httpAddress, keysFile, helper, gates string
	nodeLife := days(identity.NodeLife)
	var storage subjects.Settings
	auditAge, logsAge := days(subjects.DefaultSettings().AuditAge), days(subjects.DefaultSettings().LogsAge)
	c := &cobra.Command{
		Use:   "station",
		Short: "run a management station; any number may run",
		Long: `Keeps the register of nodes and the ledger of commands, compiles what every node should be, and answers questions.
It keeps nothing on disk: stop it, start it elsewhere, or run several. With station.keys, which ` + "`fairlead init`" + ` makes,
it serves certificates, lets nodes join and renews their JWTs; without it everything else.

A join helper is a program that is asked about each node that wants to join: it reads
{"name","key","labels","address","facts","token","tokenBy","now"} and answers {"allow":true,"labels":{…},"address":"…"} or
{"allow":false,"reason":"…"}. What it does not answer well lets nobody in.

A gate program is a file of the directory --gates that a rollout asks by its name before the next wave. It reads
{"rollout","by","message","wave","waves","nodes","changes"} and ends with 0 to let the wave pass or 1 to refuse it, with the reason
on a line; anything else is no answer, and the rollout waits.`,
		Example: `  fairlead station --url tls://broker.example.org:4222 --creds station.creds`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, secure, creds, trust, err := a.connection(d)
			if err != nil {
				return err
			}
			if creds.Role != "" && creds.Role != subjects.Station {
				return fleet.Errorf(fleet.Invalid, "%s are credentials of %q, who is %s: a station needs a station's, give them with --creds", creds.File, creds.Name, creds.Role)
			}
			keys, err := stationKeys(keysFile, creds.File)
			if err != nil {
				return err
			}
			cfg := station.Config{URL: url, TLS: secure, Credentials: creds, Trust: trust, Version: version, Curve: keys.Curve,
				NodeLife: time.Duration(nodeLife), Logger: a.daemonLogger()}
			if cfg.Revoked, err = identity.LoadRevoked(cmp.Or(d.trust, trustFile(creds))); err != nil {
				return err
			}
			if keys.Issuer != nil {
				cfg.Issuer = keys.Issuer
			}
			if helper != "" {
				if cfg.JoinHelper, err = joinHelper(helper, helperTime); err != nil {
					return err
				}
			}
			if gates != "" {
				if cfg.GateProgram, err = gateProgram(gates); err != nil {
					return err
				}
			}
			storage.AuditAge, storage.LogsAge = time.Duration(auditAge), time.Duration(logsAge)
			cfg.Storage = storage
			s, err := station.New(cfg)
			if err != nil {
				return err
			}
			server, err := serveHTTP(httpAddress, s.Metrics)
			if err != nil {
				return err
			}
			defer server.Close()
			go host.TrimWhileCalm(cmd.Context(), trimEvery)
			return s.Run(cmd.Context())
		},
	}
	d.flags(c.Flags())
	f := c.Flags()
	f.StringVar(&keysFile, "keys", "", "file with the secrets that stations share (default station.keys beside the credentials, or in the tenant's directory that they lie in)")
	f.StringVar(&helper, "join-helper", "", "`PROGRAM` that is asked about each node that wants to join")
	f.StringVar(&gates, "gates", "", "`DIR` with the programs that gates of rollouts may ask")
	f.Var(&nodeLife, "node-life", "how long a node's JWT holds, up to 90d; nodes renew theirs at two thirds")
	f.StringVar(&httpAddress, "http", "", "loopback address that serves /healthz and /metrics")
	f.IntVar(&storage.Replicas, "replicas", 1, "replicas of streams and buckets: 1 on a lone broker, 3 on a cluster")
	f.Var(&auditAge, "audit-age", "how long the audit is kept")
	f.Var(&logsAge, "logs-age", "how long forwarded logs are kept")
	f.Var((*byteSize)(&storage.LogsBytes), "logs-bytes", "bytes of forwarded logs that are kept at most (default 10G, or a quarter of the tenant's quota)")
	f.Var((*byteSize)(&storage.BlobsBytes), "files-bytes", "bytes of pushed files that the broker keeps at most (default 4G, or an eighth of the tenant's quota)")
	return c
}

// trimEvery is how often broker and station give back what they do not use.
const trimEvery = 30 * time.Second

// stationKeys are those of a file, or of the first place where one is usual. A
// station without one serves no certificates.
func stationKeys(file, creds string) (identity.StationKeys, error) {
	if file != "" {
		return identity.LoadStationKeys(file)
	}
	beside := filepath.Dir(creds)
	for _, dir := range []string{beside, filepath.Dir(beside)} {
		if k, err := identity.LoadStationKeys(filepath.Join(dir, "station.keys")); !errors.Is(err, fs.ErrNotExist) {
			return k, err
		}
	}
	return identity.StationKeys{}, nil
}
