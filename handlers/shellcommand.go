package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// ShellCommandBody is a program and its arguments. No shell reads them.
type ShellCommandBody struct {
	// Argv is the program, by absolute path or by the name of one that the
	// node allows, and its arguments.
	Argv []string `json:"argv"`
	// TimeoutSeconds ends the program and its children; 0 is 30, at most 3600.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

// ShellResult is how the program ended.
type ShellResult struct {
	ExitCode int    `json:"exitCode"`         // -1 when a signal ended it
	Signal   string `json:"signal,omitempty"` // the signal that ended it, such as SIGKILL
	Stdout   string `json:"stdout,omitempty"` // the first 256 KiB of both together, or what an answer can hold
	Stderr   string `json:"stderr,omitempty"` // what remains of that for it
	// Truncated says that there was more; OutputBytes and OutputSHA256 are of all of it.
	Truncated    bool   `json:"truncated,omitempty"`
	OutputBytes  int64  `json:"outputBytes"`  // length of all output
	OutputSHA256 string `json:"outputSha256"` // hex, in the order in which it came
}

const (
	shellOutput         = 256 << 10
	shellDefaultSeconds = 30
	shellMostSeconds    = 3600
)

var _ = define(Definition[ShellCommandBody]{
	Method:  "shellcommand",
	Summary: "run a program that the node allows",
	Details: "The program must be on the agent's allow-list; it gets an argument vector, not a shell string, no input, and a time. " +
		"When the time is over its whole process group is ended. Output over 256 KiB is cut, and the answer says so with size and digest of the whole. " +
		"A program that was running when the agent was killed is not run again: the command ends failed, kind interrupted.",
	Once:    true,
	Timeout: (shellMostSeconds + 10) * time.Second,
	Role:    subjects.Admin,
	Domain:  "operatingsystem",
	Returns: ShellResult{},
	Example: ShellCommandBody{Argv: []string{"uname", "-a"}, TimeoutSeconds: 10},
	Handle: func(ctx context.Context, n *Node, c Command[ShellCommandBody]) (Result, error) {
		program, err := allowed(n.Programs, c.Body.Argv)
		if err != nil {
			return Result{}, err
		}
		seconds := c.Body.TimeoutSeconds
		if seconds == 0 {
			seconds = shellDefaultSeconds
		}
		if seconds < 0 || seconds > shellMostSeconds {
			return Result{}, fleet.Errorf(fleet.Invalid, "body of shellcommand: timeoutSeconds is %d: use 1 to %d", seconds, shellMostSeconds)
		}
		limit := time.Duration(seconds) * time.Second
		ctx, cancel := context.WithTimeoutCause(ctx, limit, errShellTime)
		defer cancel()
		out, err := host.Run(ctx, host.Command{Path: program, Args: c.Body.Argv[1:], MaxOutput: shellOutput})
		if err != nil && errors.Is(context.Cause(ctx), errShellTime) {
			return Result{}, withData(fleet.Errorf(fleet.Timeout, "%s did not end within %s: its process group was ended", program, limit), shellResult(out))
		}
		if err != nil {
			return Result{}, fleet.Errorf(fleet.Failed, "run %s: %w", program, err)
		}
		r := shellResult(out)
		if out.ExitCode != 0 || out.Signal != "" {
			return Result{}, withData(fleet.Errorf(fleet.Failed, "%s", r.sentence(program)), r)
		}
		return Result{Changed: true, Message: r.sentence(program), Data: r}, nil
	},
})

var errShellTime = fleet.Errorf(fleet.Timeout, "the command's own time is over")

// allowed finds the program on the node's allow-list.
func allowed(programs, argv []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", fleet.Errorf(fleet.Invalid, "body of shellcommand: argv is empty: give a program and its arguments")
	}
	for _, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return "", fleet.Errorf(fleet.Invalid, "body of shellcommand: an argument holds a NUL byte")
		}
	}
	i := slices.IndexFunc(programs, func(p string) bool { return p == argv[0] || filepath.Base(p) == argv[0] })
	if i < 0 {
		have := "none"
		if len(programs) > 0 {
			have = strings.Join(programs, ", ")
		}
		return "", fleet.Errorf(fleet.Refused, "%q is not on this node's list of allowed programs (%s): its agent's --allow sets it", argv[0], have)
	}
	return programs[i], nil
}

func shellResult(r host.Result) ShellResult {
	out, errs := r.Stdout, r.Stderr
	truncated := r.Truncated
	if room := shellOutput - len(out); len(errs) > max(room, 0) {
		errs, truncated = errs[:max(room, 0)], true
	}
	return ShellResult{
		ExitCode: r.ExitCode, Signal: r.Signal,
		Stdout: strings.ToValidUTF8(string(out), "�"), Stderr: strings.ToValidUTF8(string(errs), "�"),
		Truncated: truncated, OutputBytes: r.OutputBytes, OutputSHA256: r.OutputSHA256,
	}.fit()
}

// shellAnswer is how long a result may be as JSON, where a control character
// takes six bytes: the rest of an answer is left for its message.
const shellAnswer = message.MaxBody * 7 / 8

// fit cuts the output further until the result fits an answer.
func (r ShellResult) fit() ShellResult {
	for {
		data, err := json.Marshal(r)
		if err != nil || len(data) <= shellAnswer {
			return r
		}
		r.Truncated = true
		keep := func(s string) string {
			return strings.ToValidUTF8(s[:int(int64(len(s))*shellAnswer/int64(len(data))*15/16)], "")
		}
		r.Stdout, r.Stderr = keep(r.Stdout), keep(r.Stderr)
	}
}

func (r ShellResult) sentence(program string) string {
	s := fmt.Sprintf("%s ended with exit code %d", program, r.ExitCode)
	if r.Signal != "" {
		s = fmt.Sprintf("%s was ended by signal %s", program, r.Signal)
	}
	if r.Truncated {
		s += fmt.Sprintf("; its output of %d bytes is cut, SHA-256 %s", r.OutputBytes, r.OutputSHA256)
	}
	return s
}

// dataError is an error that has something for programs too.
type dataError struct {
	error
	data any
}

func (e dataError) Unwrap() error { return e.error }

func withData(err error, data any) error { return dataError{err, data} }

// DataOf is what a failed handler has for programs, nil for nothing.
func DataOf(err error) json.RawMessage {
	var e dataError
	if !errors.As(err, &e) {
		return nil
	}
	data, merr := json.Marshal(e.data)
	if merr != nil {
		return nil
	}
	return data
}
