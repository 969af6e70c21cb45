package message

import (
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Stored is a message as a stream keeps it, and as the sync service hands it
// to a node: untouched, so that the signature still holds.
type Stored struct {
	Subject  string              `json:"subject"` // with prefix and id
	Sequence uint64              `json:"sequence"`
	At       time.Time           `json:"at"` // the broker's clock
	Headers  map[string][]string `json:"headers,omitempty"`
	Body     []byte              `json:"body,omitempty"`
}

// Delivery is a message that arrived, with its place in its stream. Fault
// says what is wrong with its form; the message then holds what could be read.
type Delivery struct {
	Message  Message
	Sequence uint64
	StoredAt time.Time
	Fault    error
}

// Receive decodes a stored message. A message without an id of its own, or
// whose id is not the one that it is stored under, is named by its sequence,
// so that its refusal can be told from every other. So is a command whose subject
// is none; it has one under which its node can answer, where there is a node.
func Receive(s Stored) Delivery {
	subject, id, err := subjects.ParseStored(s.Subject)
	if err != nil {
		m, _ := DecodeAs(subjects.Salvage(s.Subject), s.Headers, s.Body) // whatever is wrong with it, this is first
		m.ID = sequenceID(s.Sequence)
		return Delivery{Message: m, Sequence: s.Sequence, StoredAt: s.At, Fault: err}
	}
	m, faults := DecodeAs(subject, s.Headers, s.Body)
	d := Delivery{Message: m, Sequence: s.Sequence, StoredAt: s.At, Fault: faults.Err()}
	// A command's id that looks made up would take the name, and so the answer, of
	// another. An answer's follows from its command's, which may be made up.
	other := subject.Direction == subjects.Command && (m.ID != id || len(id) > maxCommandID || !Named(m.ID))
	if m.ID == "" || other {
		if m.ID != "" && d.Fault == nil {
			d.Fault = fleet.Errorf(fleet.Refused, "the message calls itself %s and is stored as %s", m.ID, id)
		}
		d.Message.ID = sequenceID(s.Sequence)
	}
	return d
}

// ReceiveCopied decodes a message of the audit stream, whose subjects bear no
// ids; origin is the sequence in the stream that it was copied from.
func ReceiveCopied(s Stored, origin uint64) Delivery {
	if rollout, ok := subjects.ParseRollout(s.Subject); ok {
		m, faults := DecodeAs(rollout, s.Headers, s.Body)
		return Delivery{Message: m, Sequence: s.Sequence, StoredAt: s.At, Fault: faults.Err()}
	}
	m, err := Decode(s.Subject, s.Headers, s.Body)
	if m.Subject == (subjects.Subject{}) {
		m.Subject, m.ID = subjects.Salvage(s.Subject), ""
	}
	if m.ID == "" {
		m.ID = sequenceID(origin)
	}
	return Delivery{Message: m, Sequence: s.Sequence, StoredAt: s.At, Fault: err}
}

const (
	sequencePrefix = "seq-"
	maxCommandID   = 80 // leaves room for domain and state in the ids of its answers
)

func sequenceID(sequence uint64) string { return fmt.Sprintf("%s%d", sequencePrefix, sequence) }

// Named reports whether an id is a message's own, not one made up from its
// place in the stream.
func Named(id string) bool { return !strings.HasPrefix(id, sequencePrefix) }

// SyncRequest asks a station for a node's waiting commands past a sequence.
type SyncRequest struct {
	After uint64 `json:"after"`
}

// SyncReply is one page of them, as they were stored and signed. Now is the
// broker's time, by which the node judges expiry.
type SyncReply struct {
	Messages []Stored  `json:"messages"`
	More     bool      `json:"more"`
	Now      time.Time `json:"now"`
	// SpreadMillis is over how long the nodes that came back in these seconds are to
	// spread what can wait: health reports, logs, convergence.
	SpreadMillis int64 `json:"spreadMillis,omitempty"`
	// ReturnMillis is over how long nodes are to spread their return when their
	// broker goes away.
	ReturnMillis int64 `json:"returnMillis,omitempty"`
}
