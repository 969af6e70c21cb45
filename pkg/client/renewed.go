package client

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// renewTime is how long Close waits for what a renewed JWT of the user needs.
const renewTime = time.Second

// takeRenewed exchanges the user's JWT for a younger one, where one is stored
// that a signer of the pinned trust set signed, and where the user has a file of
// authorities brings that up to date. It is closed when that is over.
func (c *Client) takeRenewed(authorities bool) (over chan struct{}) {
	over = make(chan struct{})
	creds, ok := c.creds.(interface {
		Renew(token string) (bool, error)
	})
	if !ok || c.trust == nil {
		close(over)
		return over
	}
	go func() {
		defer close(over)
		if authorities {
			c.newestTrust(context.Background())
		}
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		user := c.creds.PublicKey()
		m, err := c.conn.Renewed(ctx, user)
		if fleet.KindOf(err) == fleet.Unknown {
			return
		}
		token := ""
		if err == nil {
			token, err = message.OpenRenewed(m, user, c.trust.Current().Signers)
		}
		if err == nil {
			_, err = creds.Renew(token)
		}
		if err != nil {
			c.log.Warn("your renewed JWT is not taken up", "error", err)
		}
	}()
	return over
}

// Close ends the connection.
func (c *Client) Close() {
	select {
	case <-c.renewed:
	case <-time.After(renewTime):
	}
	c.conn.Close()
}
