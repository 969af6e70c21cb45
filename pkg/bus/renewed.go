package bus

import (
	"bytes"
	"context"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// PutRenewed stores a user's renewed JWT, where another one or none is stored.
func (c *Conn) PutRenewed(ctx context.Context, user string, m message.Message) error {
	key := subjects.JWTKey(user)
	switch e, err := c.Get(ctx, subjects.Trust, key); {
	case err == nil && bytes.Equal(e.Body, m.Body):
		return nil
	case err != nil && fleet.KindOf(err) != fleet.Unknown:
		return err
	}
	_, err := c.Put(ctx, subjects.Trust, Change{Key: key, Document: m, Expect: Any})
	return err
}

// Renewed is the renewed JWT that is stored for a user; the error is Unknown
// where there is none. Who signed it is for the caller to judge.
func (c *Conn) Renewed(ctx context.Context, user string) (message.Message, error) {
	e, err := c.Get(ctx, subjects.Trust, subjects.JWTKey(user))
	if err != nil {
		return message.Message{}, err
	}
	return e.Message(message.RenewedSubject(user))
}

// FollowRenewed calls heard after each time that a renewed JWT for a user was
// stored: Renewed has it.
func (c *Conn) FollowRenewed(user string, heard func()) (*Subscription, error) {
	return c.listen(subjects.JWTShown(user), func(*nats.Msg) { heard() })
}
