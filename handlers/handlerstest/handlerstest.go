// Package handlerstest holds what every method must do, whoever wrote it.
//
//	func TestHandlersConform(t *testing.T) { handlerstest.Run(t, handlers.All()) }
//
// The suite needs nothing of the machine: its node has no programs, no nginx
// and no link, so a handler is judged by what it does with what it is given.
package handlerstest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Run runs the whole suite over each handler of a registry.
func Run(t *testing.T, r handlers.Registry) {
	for _, h := range r.Handlers() {
		t.Run(h.Method, func(t *testing.T) {
			t.Run("definition", func(t *testing.T) { definition(t, h) })
			t.Run("bodies", func(t *testing.T) { bodies(t, h) })
			t.Run("cancelled", func(t *testing.T) { cancelled(t, h) })
			t.Run("service", func(t *testing.T) { service(t, h) })
		})
	}
}

// longest is the most that one run may be given.
const longest = 2 * time.Hour

// definition checks what a person reads and the broker enforces.
func definition(t *testing.T, h handlers.Handler) {
	if _, err := subjects.Build("node1", subjects.Command, h.Method, h.Domain); err != nil {
		t.Errorf("it has no subject: %v", err)
	}
	if h.Method == subjects.MethodAck || h.Method == subjects.MethodLifecycle {
		t.Errorf("%s is an event of the product's own", h.Method)
	}
	switch summary := []rune(h.Summary); {
	case len(summary) == 0:
		t.Error("it has no summary")
	case strings.ContainsAny(h.Summary, "\n\r\t") || len(summary) > 80:
		t.Errorf("the summary is not one line: %q", h.Summary)
	case unicode.IsUpper(summary[0]) || strings.HasSuffix(h.Summary, "."):
		t.Errorf("the summary is a phrase, such as `reload nginx`: %q", h.Summary)
	}
	if h.Details != "" && !strings.HasSuffix(h.Details, ".") {
		t.Errorf("the details are sentences: %q", h.Details)
	}
	switch h.Role {
	case subjects.Viewer, subjects.Operator, subjects.Admin:
	default:
		t.Errorf("the role is %q: use viewer, operator or admin", h.Role)
	}
	// What can be called off may take as long as its command is good for.
	if h.Timeout <= 0 || h.Timeout > longest && !(h.Stoppable && h.Timeout <= subjects.MaxCommandAge) {
		t.Errorf("the timeout is %s: use at most %s", h.Timeout, longest)
	}
	if h.Latest && h.Once {
		t.Error("a command that must run once cannot give way to a newer one")
	}
}

// bodies checks that whatever is sent is understood or refused in words.
func bodies(t *testing.T, h handlers.Handler) {
	if err := handle(t, t.Context(), h, h.Example); fleet.KindOf(err) == fleet.Invalid {
		t.Errorf("its own example %s is refused: %v", h.Example, err)
	}
	_ = handle(t, t.Context(), h, nil) // the zero value: what it means is the handler's to say
	const stray = "noSuchFieldAnywhere"
	if err := handle(t, t.Context(), h, []byte(`{"`+stray+`":1}`)); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), stray) {
		t.Errorf("an unknown field is not refused by name: %v", err)
	}
	for _, garbage := range []string{"{", "[]", `"x"`, "7", "\x00\xff", "{}{}", "nul", strings.Repeat("[", 100_000)} {
		if err := handle(t, t.Context(), h, []byte(garbage)); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("the body %.20q is not refused: %v", garbage, err)
		}
	}
}

// promptly is how long a handler may go on after its context has ended.
const promptly = 5 * time.Second

func cancelled(t *testing.T, h handlers.Handler) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = handle(t, ctx, h, h.Example)
	}()
	wait(t, ended, "the handler")
}

func service(t *testing.T, h handlers.Handler) {
	if h.Serve == nil {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Serve(ctx, node()); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	}()
	wait(t, ended, "the service")
}

func wait(t *testing.T, ended <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(promptly):
		t.Errorf("%s goes on after its context has ended", what)
	}
}

// handle runs a handler once. A panic is a fault, though an agent survives it.
func handle(t *testing.T, ctx context.Context, h handlers.Handler, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("it panics with the body %.40q: %v", body, p)
		}
	}()
	s := subjects.Subject{Node: "node1", Direction: subjects.Command, Method: h.Method, Domain: h.Domain}
	r, err := h.Handle(ctx, node(), handlers.Command[json.RawMessage]{ID: "01KAM3S2Y1C6Q8Z5V7W9X0ABCD", Subject: s, From: "alice", Body: bytes.Clone(body)})
	if err != nil {
		return err
	}
	if r.Message == "" || strings.Contains(r.Message, "\n") {
		t.Errorf("success says %q: use one line", r.Message)
	}
	if _, err := json.Marshal(r.Data); err != nil {
		t.Errorf("its data is not JSON: %v", err)
	}
	return nil
}
