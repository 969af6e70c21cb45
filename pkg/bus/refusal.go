package bus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/nats-io/nats.go"
)

// refusal is one time that the broker did not let this user publish. It says so
// beside the answers and not in one, so whoever waits for an answer has to be
// told. Refusals are a list; the last one is yet to come.
type refusal struct {
	told    chan struct{} // closed once the rest is set
	subject string
	err     error
	next    *refusal
}

func newRefusal() *refusal { return &refusal{told: make(chan struct{})} }

// publishRefused finds the subject in what nats-server says.
var publishRefused = regexp.MustCompile(`(?i)permissions violation for publish to "([^"]+)"`)

// refuse tells who waits that the broker refused a publish; other errors are
// none of its.
func (c *Conn) refuse(err error) {
	m := publishRefused.FindStringSubmatch(err.Error())
	if !errors.Is(err, nats.ErrPermissionViolation) || m == nil {
		return
	}
	// nats.go calls its handlers one after the other.
	r := c.refused.Load()
	r.subject, r.next = m[1], newRefusal()
	r.err = fmt.Errorf("the broker does not let %s publish there, `fairlead user show %s` tells what it may: %w", c.name, c.name, nats.ErrPermissionViolation)
	c.refused.Store(r.next)
	close(r.told)
}

// unlessRefused is a context that ends when the broker refuses to publish on
// one of some subjects. settle ends it and puts that refusal in the place of an
// error that came of it.
func (c *Conn) unlessRefused(ctx context.Context, subjects ...string) (_ context.Context, settle func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	from := c.refused.Load()
	go func() {
		for r := from; ; r = r.next {
			select {
			case <-r.told:
			case <-ctx.Done():
				return
			}
			if slices.Contains(subjects, r.subject) {
				cancel(r.err)
				return
			}
		}
	}()
	return ctx, func(err error) error {
		cause := context.Cause(ctx)
		cancel(nil)
		if err != nil && errors.Is(cause, nats.ErrPermissionViolation) {
			return cause
		}
		return err
	}
}
