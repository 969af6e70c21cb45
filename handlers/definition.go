package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Definition is everything that there is to know about a method.
type Definition[Body any] struct {
	// Method is the subject token.
	Method string
	// Summary is one line for help, console and documentation.
	Summary string
	// Details are paragraphs for the documentation.
	Details string
	// Lane: commands that share a lane on a node run one at a time, in the
	// order in which they were stored. Empty gives each domain its own.
	Lane string
	// Latest: only the newest waiting command of a subject runs; the older
	// ones end superseded.
	Latest bool
	// Once: a command that was running when the agent was killed is not run
	// again but answered failed, kind interrupted. For work whose effect
	// cannot be seen afterwards.
	Once bool
	// Durable: the start of a run is journalled before it begins, so that a
	// run after a crash is told that and when an earlier one began. Implied
	// by Once. It costs one disk sync.
	Durable bool
	// Stoppable: a run can be called off like a command that waits. For work that
	// may take hours and leaves nothing half done.
	Stoppable bool
	// Timeout bounds one run; 0 is a minute.
	Timeout time.Duration
	// Role is the least role that may send it.
	Role subjects.Role
	// Domain is the domain that it takes: what the node has one of.
	Domain string
	// AnyDomain: the domain is a parameter, as the method that cancel calls off; Domain is one, for help.
	AnyDomain bool
	// Example is a body for help and documentation.
	Example Body
	// Returns is a zero value of what Result.Data holds, for documentation;
	// nil for nothing.
	Returns any
	// Handle runs a command.
	Handle func(ctx context.Context, n *Node, c Command[Body]) (Result, error)
	// Serve is work beside commands, such as a timer or a listener; nil for
	// none. It ends with ctx.
	Serve func(ctx context.Context, n *Node) error
}

// Command is one command as a handler sees it.
type Command[Body any] struct {
	ID      string
	Subject subjects.Subject
	From    string
	Role    subjects.Role // of who sent it
	Body    Body
	Expires time.Time // when it is over, by the broker's clock
	// Received is when the agent took the command, by the host's boot clock.
	Received time.Duration
	// Resumed says that an earlier run was cut off by the end of the agent in
	// this boot of the host; it began at Started.
	Resumed bool
	Started time.Duration
	// Signed is the command as its sender signed it, to be shown to others; nil for
	// the agent's own work.
	Signed func() message.Enclosed
}

// Own says that the agent began the work by itself: nobody asked for it, and
// nobody is answered.
func (c Command[Body]) Own() bool { return c.ID == "" }

// Result is what a handler has to say on success.
type Result struct {
	Changed bool   // the node is another than before
	Message string // one line for people
	Data    any    // JSON for programs, nil for none
}

// Handler is a Definition without its type parameter.
type Handler struct {
	Method, Summary, Details, Lane, Domain string
	Latest, Once, Durable, Stoppable       bool
	AnyDomain                              bool
	Timeout                                time.Duration
	Role                                   subjects.Role
	Example                                json.RawMessage
	Body, Returns                          reflect.Type // Returns is nil for nothing
	// Handle decodes the body strictly and runs the command; the body is given
	// as it came. Every method accepts an empty body as the zero value.
	Handle func(ctx context.Context, n *Node, c Command[json.RawMessage]) (Result, error)
	Serve  func(ctx context.Context, n *Node) error
}

const defaultTimeout = time.Minute

func (d Definition[Body]) handler() Handler {
	example, err := json.Marshal(d.Example)
	if err != nil {
		panic("handlers: the example of " + d.Method + " is not JSON: " + err.Error())
	}
	if d.Timeout == 0 {
		d.Timeout = defaultTimeout
	}
	return Handler{
		Method: d.Method, Summary: d.Summary, Details: d.Details, Lane: d.Lane, Domain: d.Domain, AnyDomain: d.AnyDomain,
		Latest: d.Latest, Once: d.Once, Durable: d.Durable || d.Once, Stoppable: d.Stoppable,
		Timeout: d.Timeout, Role: d.Role, Example: example, Serve: d.Serve,
		Body: reflect.TypeFor[Body](), Returns: reflect.TypeOf(d.Returns),
		Handle: func(ctx context.Context, n *Node, raw Command[json.RawMessage]) (Result, error) {
			c := Command[Body]{ID: raw.ID, Subject: raw.Subject, From: raw.From, Role: raw.Role,
				Expires: raw.Expires, Received: raw.Received, Resumed: raw.Resumed, Started: raw.Started, Signed: raw.Signed}
			if err := decode(raw.Body, &c.Body); err != nil {
				return Result{}, fleet.Errorf(fleet.Invalid, "body of %s: %w", d.Method, err)
			}
			return d.Handle(ctx, n, c)
		},
	}
}

// plainly is an error of decoding for people who write JSON and no Go.
func plainly(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	due := "an object"
	switch kind := wrong.Type.Kind(); kind {
	case reflect.String:
		due = "text"
	case reflect.Bool:
		due = "true or false"
	case reflect.Slice, reflect.Array:
		due = "a list"
	case reflect.Struct, reflect.Map:
	default:
		due = "a number"
	}
	return fmt.Errorf("%s: is %s, and %s is due", cmp.Or(wrong.Field, "the whole"), wrong.Value, due)
}

// decode is strict: an unknown field, a wrong type or anything behind the
// value is an error that names it.
func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return plainly(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the JSON value")
	}
	return nil
}
