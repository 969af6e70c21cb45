package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/announce"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

// pushTime bounds what telling the brokers may take.
const pushTime = 20 * time.Second

// news is what brokers and nodes have to hear of a change in an identity
// directory.
type news struct {
	accounts []string // JWTs
	deletion string   // has brokers forget accounts
	trust    bool     // the tenant's trust set
	renewed  []identity.User
}

// change tells brokers and nodes what a command changed in the directory, and
// where it cannot, how to do it later: the exit code is then 3. What is done is
// done.
func (a *app) change(ctx context.Context, o authorityFlags, au *identity.Authority, n news) error {
	if o.offline {
		a.say("%s nobody was told; `fairlead tenant push %s` does it", a.paint(dim, "·"), au.Tenant())
		return nil
	}
	if err := a.push(ctx, au, n); err != nil {
		a.say("%s %v", a.paint(red, "not told:"), err)
		a.say("it is changed in %s and not everywhere yet: `fairlead tenant push %s --dir %s` tells the rest", au.Dir(), au.Tenant(), au.Dir())
		return exitError(message.ExitPending)
	}
	return nil
}

func (a *app) push(ctx context.Context, au *identity.Authority, n news) error {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	url, secure, err := a.brokerURL(au.Dir())
	if err != nil {
		return err
	}
	to := bus.Options{URL: url, TLS: secure}
	if len(n.accounts) > 0 || n.deletion != "" {
		if err := a.pushAccounts(ctx, au, to, n); err != nil {
			return err
		}
	}
	if !n.trust && len(n.renewed) == 0 {
		return nil
	}
	writer := to
	if writer.Credentials, err = a.writer(au); err != nil {
		return err
	}
	a.progress("telling the nodes of %s", au.Tenant())
	learned, err := announce.Trust(ctx, au, writer, n.renewed...)
	if err != nil || !learned {
		return err
	}
	a.say("%s the directory is older than what the brokers have, as from a backup: it took over who was revoked since", a.paint(dim, "·"))
	accounts, err := accountOf(au)
	if err != nil {
		return err
	}
	return a.pushAccounts(ctx, au, to, news{accounts: accounts})
}

func (a *app) pushAccounts(ctx context.Context, au *identity.Authority, to bus.Options, n news) error {
	a.progress("telling the brokers at %s", to.URL)
	took, err := announce.Accounts(ctx, au, to, n.accounts...)
	if err == nil && n.deletion != "" {
		took, err = announce.Deletion(ctx, au, to, n.deletion)
	}
	if err == nil {
		a.say("%s told %s", a.paint(dim, "·"), strings.Join(took, ", "))
	}
	return err
}

// writer is who tells the tenant's nodes: whose --creds are given, the user of
// the context where he may, else one in the directory.
func (a *app) writer(au *identity.Authority) (bus.Credentials, error) {
	if a.creds != "" {
		c, err := loadCreds(a.creds)
		if err == nil && !announce.May(au, c) {
			err = fleet.Errorf(fleet.Refused, "%q of %s is no administrator of tenant %q", c.Name, a.creds, au.Tenant())
		}
		return c, err
	}
	if _, _, c, err := a.settings(); err == nil && announce.May(au, c) {
		return c, nil
	}
	c, err := announce.Writer(au)
	if err != nil {
		return nil, fmt.Errorf("%w: give them with --creds or --context", err)
	}
	return c, nil
}

// pushTenant tells everybody what the directory says of a tenant.
func (a *app) pushTenant(ctx context.Context, o authorityFlags, au *identity.Authority) error {
	accounts, err := accountOf(au)
	if err != nil {
		return err
	}
	system, err := au.SystemAccountJWT()
	if err != nil {
		return err
	}
	users, err := au.Users()
	if err != nil {
		return err
	}
	if err := a.change(ctx, o, au, news{accounts: append([]string{system}, accounts...), trust: true, renewed: users}); err != nil {
		return err
	}
	return a.done("told what the directory says of tenant " + au.Tenant())
}

// accountOf is what brokers have to hear of the tenant.
func accountOf(au *identity.Authority) ([]string, error) {
	text, err := au.Account()
	if err != nil {
		return nil, fmt.Errorf("the account of %s: %w", au.Tenant(), err)
	}
	return []string{text}, nil
}
