package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/subjects"
)

// effects is what the handlers of the tests change: files, so that they
// outlive the process of an agent.
type effects struct{ dir string }

func effectsOf(state string) effects { return effects{filepath.Join(state, "effects")} }

// happen makes the effect of a command, once however often it is called, and
// notes the run, each time. It reports whether it made it.
func (e effects) happen(c handlers.Command[workBody]) (bool, error) {
	if err := os.MkdirAll(filepath.Join(e.dir, "made"), 0o700); err != nil {
		return false, err
	}
	runs, err := os.OpenFile(filepath.Join(e.dir, "runs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	defer runs.Close()
	if _, err := runs.WriteString(c.ID + "\n"); err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(e.dir, "made", c.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// runs are the commands that ran, in order, one that ran twice twice.
func (e effects) runs(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.dir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func (e effects) count(t *testing.T, id string) (n int) {
	t.Helper()
	for _, ran := range e.runs(t) {
		if ran == id {
			n++
		}
	}
	return n
}

// made reports whether a command had its effect.
func (e effects) made(t *testing.T, id string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(e.dir, "made", id))
	return err == nil
}

func (e effects) gate(name string) string { return filepath.Join(e.dir, "gate."+name) }

// open lets commands pass that wait at a gate.
func (e effects) open(t *testing.T, name string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(e.dir, 0o700), os.WriteFile(e.gate(name), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// workBody is the body of the commands of the tests.
type workBody struct {
	Gate string `json:"gate,omitempty"` // wait there after the effect
}

// The methods of the tests. Each has its effect; most differ in one thing.
const (
	work    = "work"         // ordinary, a lane for each domain
	durable = "durable"      // its start is journalled
	once    = "once"         // and it is not run again
	latest  = "latest"       // only the newest counts; lane "shared"
	serial  = "serial"       // ordinary; lane "shared"
	shell   = "shellcommand" // for the administrator alone

	desired = "desired" // reads the desired state of the method work; lane "shared"

	panics  = "panics"
	slow    = "slow"    // never ends by itself
	deaf    = "deaf"    // waits at its gate whatever its context says; it is not run again
	notJSON = "notjson" // its result cannot be encoded
	huge    = "huge"    // its result is larger than an answer may be
)

// registry are the handlers of the tests; interrupt is called in the middle of
// each run.
func registry(e effects, interrupt func()) handlers.Registry {
	run := func(ctx context.Context, _ *handlers.Node, c handlers.Command[workBody]) (handlers.Result, error) {
		made, err := e.happen(c)
		if err != nil {
			return handlers.Result{}, err
		}
		if interrupt != nil {
			interrupt()
		}
		if c.Body.Gate != "" {
			if err := wait(ctx, func() bool { _, err := os.Stat(e.gate(c.Body.Gate)); return err == nil }); err != nil {
				return handlers.Result{}, err
			}
		}
		return handlers.Result{Changed: made, Message: "done"}, nil
	}
	define := func(method string, change func(*handlers.Definition[workBody])) handlers.Handler {
		d := handlers.Definition[workBody]{Method: method, Summary: method, Role: subjects.Operator, AnyDomain: true, Handle: run}
		if change != nil {
			change(&d)
		}
		return handlers.Of(d)
	}
	with := func(method string, handle func(ctx context.Context) (handlers.Result, error)) handlers.Handler {
		return define(method, func(d *handlers.Definition[workBody]) {
			d.Timeout = 100 * time.Millisecond
			d.Handle = func(ctx context.Context, _ *handlers.Node, _ handlers.Command[workBody]) (handlers.Result, error) {
				return handle(ctx)
			}
		})
	}
	cancel, err := handlers.All().Find(subjects.MethodCancel)
	push, perr := handlers.All().Find(handlers.MethodFilePush)
	rename, rerr := handlers.All().Find(handlers.MethodRename)
	if err = errors.Join(err, perr, rerr); err != nil {
		panic(err)
	}
	return handlers.New(cancel, push, rename,
		define(work, nil),
		define(durable, func(d *handlers.Definition[workBody]) { d.Durable = true }),
		define(once, func(d *handlers.Definition[workBody]) { d.Once = true }),
		define(latest, func(d *handlers.Definition[workBody]) { d.Lane, d.Latest = "shared", true }),
		define(serial, func(d *handlers.Definition[workBody]) { d.Lane = "shared" }),
		define(shell, func(d *handlers.Definition[workBody]) { d.Role = subjects.Admin }),
		define(desired, func(d *handlers.Definition[workBody]) {
			d.Lane, d.Latest = "shared", true
			d.Handle = func(ctx context.Context, n *handlers.Node, c handlers.Command[workBody]) (handlers.Result, error) {
				document, err := n.State.Desired(ctx, work, c.Subject.Domain)
				if err != nil {
					return handlers.Result{}, err
				}
				if n.State.Coming(work, c.Subject.Domain) > 0 {
					return handlers.Result{}, handlers.Later{For: "a desired state"}
				}
				_, err = e.happen(c)
				return handlers.Result{Data: json.RawMessage(document)}, err
			}
		}),
		with(panics, func(context.Context) (handlers.Result, error) { panic("out of cheese") }),
		with(slow, func(ctx context.Context) (handlers.Result, error) {
			<-ctx.Done()
			return handlers.Result{}, ctx.Err()
		}),
		define(deaf, func(d *handlers.Definition[workBody]) {
			d.Once = true
			d.Handle = func(ctx context.Context, n *handlers.Node, c handlers.Command[workBody]) (handlers.Result, error) {
				return run(context.WithoutCancel(ctx), n, c)
			}
		}),
		with(notJSON, func(context.Context) (handlers.Result, error) { return handlers.Result{Data: math.NaN()}, nil }),
		with(huge, func(context.Context) (handlers.Result, error) {
			return handlers.Result{Message: "large", Changed: true, Data: strings.Repeat("x", 600<<10)}, nil
		}),
	)
}

// wait looks for a condition until it holds; the error is that of ctx.
func wait(ctx context.Context, holds func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
