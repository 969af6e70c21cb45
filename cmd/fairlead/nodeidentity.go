package main

import (
	"errors"
	"io/fs"
	"path/filepath"

	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// nodeSettings fills in where an agent's broker is, who it is and whom it
// believes: what `fairlead join` left in its state directory, or, where
// credentials were given by a flag, FAIRLEAD_CREDS or a context, those.
func (a *app) nodeSettings(d daemonFlags, state string, c *agent.Config) error {
	if a.creds == "" && a.context == "" {
		n, err := identity.OpenNode(identityOf(state))
		if err == nil {
			return a.joinedSettings(n, d, identityOf(state), c)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := a.givenSettings(d, c)
	if a.creds == "" && a.context == "" && fleet.KindOf(err) == fleet.Invalid {
		return fleet.Errorf(fleet.Invalid, "this host is no node yet: `fairlead join TOKEN` makes it one (or: %w)", err)
	}
	return err
}

func (a *app) givenSettings(d daemonFlags, c *agent.Config) error {
	url, secure, creds, err := a.settings()
	if err != nil && fleet.KindOf(err) != fleet.Expired {
		return err
	}
	n, failed := identity.NodeOf(creds.File)
	if failed != nil {
		return failed
	}
	if token, _ := n.RenewJWT(); err != nil && token == "" {
		return err
	}
	c.Name, c.URL, c.TLS, c.Credentials, c.Renewal, c.Succession = n.UserName(), url, secure, n, n, n
	c.Trust, err = d.begin(creds)
	return err
}

func (a *app) joinedSettings(n *identity.Node, d daemonFlags, dir string, c *agent.Config) error {
	where, err := identity.ReadConnection(dir)
	if err != nil {
		return err
	}
	or(&where.URL, a.url)
	c.Name, c.URL, c.Credentials, c.Renewal, c.Succession = n.UserName(), where.URL, n, n, n
	c.TLS = bus.TLS{Cert: a.tlsCert, Key: a.tlsKey, GreetsFirst: where.GreetsFirst}
	if ca := filepath.Join(dir, identity.NodeCA); there(ca) {
		c.TLS.CA = ca
	}
	or(&c.TLS.CA, a.ca)
	trust := filepath.Join(dir, identity.NodeTrust)
	or(&trust, d.trust)
	c.Trust, err = trustOf(n.Credentials(), trust)
	return err
}
