package fleet

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of error something is. It is chosen where the cause is
// known and decides, by the one table in package message, the answer's state,
// the exit code and the HTTP status.
type Kind string

// The kinds of error.
const (
	Invalid     Kind = "invalid"     // the input is wrong; sending it again will not help
	Refused     Kind = "refused"     // the sender may not do this, or cannot be proven
	Unknown     Kind = "unknown"     // no such method, node or resource
	Conflict    Kind = "conflict"    // somebody else changed it first
	Busy        Kind = "busy"        // a queue or a quota is full
	Paused      Kind = "paused"      // somebody wants the node left as it is; it is done by itself when that is over
	Expired     Kind = "expired"     // its time ran out before it began
	Cancelled   Kind = "cancelled"   // somebody called it off
	Superseded  Kind = "superseded"  // a newer one takes its place
	Failed      Kind = "failed"      // it was tried and did not work
	Timeout     Kind = "timeout"     // it was tried and did not end in time
	Unavailable Kind = "unavailable" // a part that is needed does not answer
	Interrupted Kind = "interrupted" // the agent ended while it ran; how far it came is not known
	Internal    Kind = "internal"    // a fault of Fairlead's own
)

// Error is an error with a kind and a message for people.
type Error struct {
	Kind Kind
	Err  error
}

// Error is the message; the kind is not part of it.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a kind; %w works as in fmt.Errorf.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// KindOf is the kind of the outermost *Error in the chain: Invalid for
// Faults, Internal for an error without a kind, "" for nil.
func KindOf(err error) Kind {
	var e *Error
	var f Faults
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	case errors.As(err, &f):
		return Invalid
	}
	return Internal
}

// Fault is one thing wrong with an input: where, and what would be right.
type Fault struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`     // from 1; 0 is unknown
	Subject string `json:"resource,omitempty"` // "<Kind>/<name>"
	Path    string `json:"path,omitempty"`     // "spec.locations[0].proxy.upstream"
	Message string `json:"message"`
}

// String is "file:line: Kind/name: path: message", without the parts that are not known.
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
		b.WriteString(": ")
	}
	for _, part := range []string{f.Subject, f.Path} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	return b.String() + f.Message
}

// Faults are all things wrong with an input. A nil Faults is no error: use
// Err to turn one into an error.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Err is f as an error, nil where there are none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Addf adds a fault at a path.
func (f *Faults) Addf(path, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}
