package message

import (
	"slices"
	"strings"
)

// State is how far a command has come.
type State string

// A command is published, accepted by its node, perhaps running for a while,
// and then ends in exactly one final state. Late is a note, not a state of the
// command: a node's outcome that came after the command had been ended for it.
const (
	Published  State = "published"
	Accepted   State = "accepted"
	Running    State = "running"
	Succeeded  State = "succeeded"
	FailedEnd  State = "failed"
	Rejected   State = "rejected"
	Superseded State = "superseded"
	Expired    State = "expired"
	Cancelled  State = "cancelled"
	Late       State = "late"
)

var finals = []State{Succeeded, FailedEnd, Rejected, Superseded, Expired, Cancelled}

// Finals are the final states.
func Finals() []State { return slices.Clone(finals) }

// Final reports whether a command in this state has ended.
func (s State) Final() bool { return slices.Contains(finals, s) }

func (s State) valid() bool {
	return s.Final() || s == Accepted || s == Running || s == Late
}

// AnswerID is the id of a command's answer. It follows from the command's id,
// its domain and the state (the method is in the answer's subject), and all
// final states share one: the stream creates each subject once, so a command
// can end only once, whoever says so. Without the domain a message that
// borrows an id could end another domain's command.
func AnswerID(command, domain string, s State) string {
	return command + "-" + domain + answerSuffix(s)
}

func answerSuffix(s State) string {
	if s.Final() {
		return "-end"
	}
	return "-" + string(s)
}

// IsEnd reports whether an answer's id is that of a final one.
func IsEnd(id string) bool { return strings.HasSuffix(id, answerSuffix(Succeeded)) }

// AnsweredDomain is the domain of the command that an answer is to, "" for an
// answer whose id is not one of AnswerID's.
func (m Message) AnsweredDomain() string {
	rest, found := strings.CutPrefix(m.ID, m.Command+"-")
	domain, ends := strings.CutSuffix(rest, answerSuffix(m.State))
	if !found || !ends {
		return ""
	}
	return domain
}
