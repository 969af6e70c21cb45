package subjects

import (
	"strings"

	"fairlead/pkg/fleet"
)

// Direction is the second token of a subject.
type Direction string

// A command asks a node to do something; an event says what happened on it.
const (
	Command Direction = "command"
	Event   Direction = "event"
)

// Methods that the product itself needs, beside those of the handlers.
const (
	MethodAck       = "ack"         // answers; the domain is the command's method
	MethodLifecycle = "lifecycle"   // a node came, went or recovered
	MethodCancel    = "cancel"      // calls off a waiting command; the domain is its method
	MethodConfig    = "nginxconfig" // what a change of resources ends as on a node
	MethodHealth    = "healthreport"
	MethodSyslog    = "syslogforwarding"
	MethodPush      = "filepush" // names blobs, which its sender stores
)

// Subject is the address of a message, four tokens.
type Subject struct {
	Node      string
	Direction Direction
	Method    string
	Domain    string
}

// Build checks the tokens and returns the subject; the error is Invalid and
// says which token is wrong and what is allowed.
func Build(node string, direction Direction, method, domain string) (Subject, error) {
	s := Subject{node, direction, method, domain}
	if err := fleet.CheckNode(node); err != nil {
		return Subject{}, err
	}
	if direction != Command && direction != Event {
		return Subject{}, fleet.Errorf(fleet.Invalid, "second token %q: use command or event", direction)
	}
	if err := fleet.CheckName("method", method); err != nil {
		return Subject{}, err
	}
	if err := fleet.CheckName("domain", domain); err != nil {
		return Subject{}, err
	}
	return s, nil
}

// Parse is the inverse of String.
func Parse(text string) (Subject, error) {
	tokens := strings.Split(text, ".")
	if len(tokens) != 4 {
		return Subject{}, fleet.Errorf(fleet.Invalid,
			"subject %q has %d tokens: use <node>.<command|event>.<method>.<domain>", text, len(tokens))
	}
	return Build(tokens[0], Direction(tokens[1]), tokens[2], tokens[3])
}

// String is the subject as it is written, "ship1.command.reload.nginx".
func (s Subject) String() string {
	return s.Node + "." + string(s.Direction) + "." + s.Method + "." + s.Domain
}

// Answer is where the answers to a command are seen.
func (s Subject) Answer() Subject {
	return Subject{s.Node, Event, MethodAck, s.Method}
}
