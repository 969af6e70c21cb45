package main

import (
	"log/slog"

	"github.com/spf13/pflag"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

// daemonFlags are shared by station and agent.
type daemonFlags struct {
	trust string
	http  string
}

func (d *daemonFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&d.trust, "trust", "", "file with the signed trust set to begin with (default trust.json beside the credentials, or in the tenant's directory that they lie in)")
}

// connection reads the settings of a daemon: where the broker is, who it is,
// whom it trusts.
func (a *app) connection(d daemonFlags) (url string, secure bus.TLS, creds *identity.Credentials, trust message.Message, err error) {
	url, secure, creds, err = a.settings()
	if err != nil {
		return "", secure, nil, trust, err
	}
	trust, err = d.begin(creds)
	return url, secure, creds, trust, err
}

// begin is the trust set to begin with: of --trust, else of the first usual
// place. The error is Invalid without any.
func (d *daemonFlags) begin(creds *identity.Credentials) (message.Message, error) {
	if d.trust != "" {
		return trustOf(creds, d.trust)
	}
	m, err := pinnedTrust(creds)
	if err == nil && len(m.Body) == 0 {
		err = fleet.Errorf(fleet.Invalid, "--trust is missing, and no trust.json lies beside %s: without the keys to trust nothing could be believed", creds.File)
	}
	return m, err
}

func (a *app) daemonLogger() *slog.Logger { return a.logger(slog.LevelInfo) }
