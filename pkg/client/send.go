package client

import (
	"context"
	"errors"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Command is a command to send.
type Command struct {
	Subject subjects.Subject
	Body    []byte
	Expires time.Duration // message.DefaultExpiry when 0, at most subjects.MaxCommandAge
	Replays string        // id of the command that this one repeats
	ID      string        // a new one where it is empty
	Order   string        // id of the order that it is of
}

// Sent is a command that is stored.
type Sent struct {
	ID       string `json:"id"`
	Subject  string `json:"subject"`
	Node     string `json:"node"`
	Sequence uint64 `json:"sequence,omitempty"`
	Order    string `json:"order,omitempty"`
}

// Send stores commands, in order, and returns once all are stored. The error
// names the first that was not; those before it are under way. Nothing is sent
// when one of them is not valid.
func (c *Client) Send(ctx context.Context, commands ...Command) ([]Sent, error) {
	messages, err := c.messages(commands)
	if err != nil {
		return nil, err
	}
	// Signed one by one on their way: the first runs while the last is signed.
	sign := func(i int) (message.Message, error) {
		err := c.sign(&messages[i])
		return messages[i], err
	}
	sent := make([]Sent, 0, len(messages))
	var first error
	for i, err := range c.conn.PublishEach(ctx, len(messages), sign) {
		m := messages[i]
		switch {
		case err == nil:
			sent = append(sent, Sent{ID: m.ID, Subject: m.Subject.String(), Node: m.Subject.Node, Order: m.Order})
		case first == nil:
			first = fleet.Errorf(fleet.KindOf(err), "%s: %w", m.Subject, err)
		}
	}
	return sent, first
}

// messages makes the unsigned messages; the error is about all that are wrong.
func (c *Client) messages(commands []Command) ([]message.Message, error) {
	var faults []error
	messages := make([]message.Message, len(commands))
	for i, command := range commands {
		expires := command.Expires
		switch {
		case expires == 0:
			expires = message.DefaultExpiry
		case expires < time.Second || expires > subjects.MaxCommandAge:
			faults = append(faults, fleet.Errorf(fleet.Invalid, "%s: expires %s: use 1s to %s", command.Subject, expires, subjects.MaxCommandAge))
		}
		if len(command.Body) > message.MaxBody {
			faults = append(faults, fleet.Errorf(fleet.Invalid, "%s: the body has %d bytes: at most %d", command.Subject, len(command.Body), message.MaxBody))
		}
		messages[i] = message.Message{Subject: command.Subject, ID: command.ID, Body: command.Body,
			Expires: time.Now().Add(expires), Replays: command.Replays, Order: command.Order}
		if command.ID == "" {
			messages[i].ID = message.NewID()
		}
	}
	return messages, errors.Join(faults...)
}
