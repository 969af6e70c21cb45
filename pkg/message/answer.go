package message

import (
	"encoding/json"
	"time"

	"fairlead/pkg/fleet"
)

// Answer is the body of an answer.
type Answer struct {
	// Message tells a person what happened, one line or nginx's own.
	Message string `json:"message,omitempty"`
	// Kind is the error's kind; empty on success.
	Kind fleet.Kind `json:"kind,omitempty"`
	// By is the id of the command that took this one's place, or called it off.
	By string `json:"by,omitempty"`
	// Changed says whether the node is another than before.
	Changed bool `json:"changed,omitempty"`
	// Took is how long the handler ran, in milliseconds.
	Took float64 `json:"tookMs,omitempty"`
	// Result is what the handler returned, by its method's documentation.
	Result json.RawMessage `json:"result,omitempty"`
	// Ended is the state that a late outcome would have had.
	Ended State `json:"ended,omitempty"`
	// AcceptedAt is when the node took the command, by the broker's clock; set
	// where the command ended before `accepted` was worth a message of its own.
	AcceptedAt *time.Time `json:"acceptedAt,omitempty"`
}

// NewAnswer makes the unsigned answer to a command in a state.
func NewAnswer(command Message, from string, s State, a Answer) Message {
	body, err := json.Marshal(a)
	if err != nil { // only a handler's malformed Result can cause it
		body, _ = json.Marshal(Answer{Kind: fleet.Internal, Message: "the result is not JSON: " + err.Error()})
	}
	return Message{
		Subject: command.Subject.Answer(),
		ID:      AnswerID(command.ID, command.Subject.Domain, s),
		From:    from,
		Command: command.ID,
		State:   s,
		Trace:   command.Trace,
		Body:    body,
	}
}

// ReadAnswer decodes an answer's body.
func (m Message) ReadAnswer() (Answer, error) {
	var a Answer
	if err := m.Unpack(); err != nil {
		return a, err
	}
	if err := json.Unmarshal(m.Body, &a); err != nil {
		return a, fleet.Errorf(fleet.Invalid, "answer %s: %w", m.ID, err)
	}
	return a, nil
}

// Milliseconds is a duration as answers carry it.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
