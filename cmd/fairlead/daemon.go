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
	f.StringVar(&d.trust, "trust", "", "file with the signed trust set to begin with: trust.json of the tenant in the identity directory")
}

// connection reads the settings of a daemon: where the broker is, who it is,
// whom it trusts.
func (a *app) connection(d daemonFlags) (url string, secure bus.TLS, creds *identity.Credentials, trust message.Message, err error) {
	url, secure, creds, err = a.settings()
	if err != nil {
		return "", secure, nil, trust, err
	}
	if d.trust == "" {
		return "", secure, nil, trust, errNoTrust
	}
	trust, err = trustOf(creds, d.trust)
	return url, secure, creds, trust, err
}

var errNoTrust = fleet.Errorf(fleet.Invalid, "--trust is missing: without the keys to trust nothing could be believed")

func (a *app) daemonLogger() *slog.Logger { return a.logger(slog.LevelInfo) }
