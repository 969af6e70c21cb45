package subjects

import (
	"strings"

	"fairlead/pkg/fleet"
)

const (
	// prefix of every stored subject. nats-server refuses an acknowledged
	// stream whose first token is a wildcard (error 10052).
	prefix = "fleet"
	// NoID stands in the place of the id where a message has none: health
	// reports, which a stream counts per subject, and messages of clients
	// that publish on the four tokens.
	NoID = "_"
)

// Stored is the subject under which a message is published and kept:
// fleet.<four tokens>.<id>. An id is a message id or NoID.
func Stored(s Subject, id string) string {
	return prefix + "." + s.String() + "." + id
}

// ParseStored is the inverse of Stored.
func ParseStored(text string) (s Subject, id string, err error) {
	rest, found := strings.CutPrefix(text, prefix+".")
	last := strings.LastIndexByte(rest, '.')
	if !found || last < 0 {
		return Subject{}, "", fleet.Errorf(fleet.Invalid, "%q is not a stored subject", text)
	}
	if id = rest[last+1:]; !ValidID(id) {
		return Subject{}, "", fleet.Errorf(fleet.Invalid, "stored subject %q: %q is not a message id", text, id)
	}
	s, err = Parse(rest[:last])
	return s, id, err
}

// Salvage is what can be read of the subject of a command that is none, with the
// prefix and id or without: a method or domain that is not in order is NoID. It is
// where the node answers that it is not. Where node or direction are not in order
// nobody could, and it is the zero Subject.
func Salvage(text string) Subject {
	tokens := strings.Split(strings.TrimPrefix(text, prefix+"."), ".")
	if len(tokens) < 4 || Direction(tokens[1]) != Command || fleet.CheckNode(tokens[0]) != nil {
		return Subject{}
	}
	for i, what := range []string{"method", "domain"} {
		if fleet.CheckName(what, tokens[2+i]) != nil {
			tokens[2+i] = NoID
		}
	}
	return Subject{tokens[0], Command, tokens[2], tokens[3]}
}

// Salvaged reports whether a part of the subject was not in order.
func (s Subject) Salvaged() bool { return s.Method == NoID || s.Domain == NoID }

// maxID is room for a command's id (at most half of it), a domain and a state.
const maxID = 160

// ValidID reports whether an id can be a subject token: 1 to 160 letters,
// digits, `-` and `_`.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Checkpoint is where all checkpoints of the audit are published and kept: one
// subject, so that each can expect the one before it.
const Checkpoint = prefix + ".checkpoint.audit"

// OrderSubject is where an order is published and kept; "*" is every order.
func OrderSubject(id string) string { return prefix + ".order." + id }

// OrderOf is the inverse of OrderSubject, "" for any other subject.
func OrderOf(subject string) string {
	id, ok := strings.CutPrefix(subject, OrderSubject(""))
	if !ok {
		return ""
	}
	return id
}

// QueueSubject is where a part of a bounded order's queue is published and kept;
// "*" is every order, and every part.
func QueueSubject(order, part string) string { return prefix + ".queue." + order + "." + part }

// QueueOf is the inverse of QueueSubject; ok is false for any other subject.
func QueueOf(subject string) (order, part string, ok bool) {
	rest, ok := strings.CutPrefix(subject, prefix+".queue.")
	order, part, found := strings.Cut(rest, ".")
	return order, part, ok && found
}

// MailboxOf matches every stored command of a node.
func MailboxOf(node string) string { return prefix + "." + node + ".command.>" }

// CommandsTo matches the commands to a node as they are shown.
func CommandsTo(node string) string { return node + ".command.>" }

// EventsOf matches the events of a node as they are shown; "*" is every node.
func EventsOf(node string) string { return node + ".event.>" }

// AnswersOf matches the answers of a node as they are shown; "*" is every node.
func AnswersOf(node string) string { return node + ".event." + MethodAck + ".*" }

// EverythingOf matches all messages of a node as they are shown and as the
// audit keeps them; "*" is every node.
func EverythingOf(node string) string { return node + ".>" }

// LifecycleOf matches a node's lifecycle events as the audit keeps them.
func LifecycleOf(node string) string { return node + ".event." + MethodLifecycle + ".*" }

// LogsOf matches the stored log batches of a node; "*" is every node.
func LogsOf(node string) string {
	return prefix + "." + node + ".event." + MethodSyslog + ".*.*"
}

// HealthOf matches the stored health reports of a node; "*" is every node.
func HealthOf(node string) string {
	return prefix + "." + node + ".event." + MethodHealth + ".*.*"
}

// CopiedCommands matches all commands as the audit keeps them.
const CopiedCommands = "*.command.*.*"

// CopiedEvents matches all events as the audit keeps them.
const CopiedEvents = "*.event.*.*"

// FinalAnswer is the stored subject of a command's one final answer.
func FinalAnswer(command Subject, answerID string) string {
	return Stored(command.Answer(), answerID)
}
