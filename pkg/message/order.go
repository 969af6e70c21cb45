package message

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Order is one command to many nodes: what a selection meant when it was sent.
// It is stored, signed, before the first of its commands, each of which names
// it. Whoever reads it later knows who was meant, also those that never answered.
type Order struct {
	ID      string    `json:"-"` // a ULID, the document's
	By      string    `json:"-"` // who signed it
	At      time.Time `json:"-"` // when it was stored, by the broker's clock
	Chosen  string    `json:"chosen,omitempty"`
	Method  string    `json:"method"`
	Domain  string    `json:"domain"`
	Expires time.Time `json:"expires"` // when its commands do
	Nodes   []string  `json:"nodes"`   // the expected set, sorted
	// Most bounds how many of its commands may be under way at a time, and Per, by
	// label, how many at nodes that have the same value of it; 0 and none are no
	// bound. The commands of a bounded order wait in a queue, see SignQueue.
	Most int            `json:"most,omitempty"`
	Per  map[string]int `json:"per,omitempty"`
	// Slot is how long a command of a bounded order counts that has no end, in seconds.
	Slot float64 `json:"slotSeconds,omitempty"`
}

// Bounded reports whether stations publish the order's commands, some at a time.
func (o Order) Bounded() bool { return o.Most > 0 || len(o.Per) > 0 }

// OrderSubject is what the signature of an order covers.
func OrderSubject(id string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: directionOrder, Method: id, Domain: "order"}
}

// Command is an order's command to one of its nodes: subject and id. The id
// follows from the order's and the node, so the order need not list it.
func (o Order) Command(node string) (subjects.Subject, string) {
	at, _ := CreatedAt(o.ID) // OpenOrder and NewID see to that
	seed := sha256.Sum256([]byte(o.ID + "\x00" + node))
	return subjects.Subject{Node: node, Direction: subjects.Command, Method: o.Method, Domain: o.Domain}, DerivedID(at, seed[:])
}

// SignOrder makes the signed document. The error is Invalid for more nodes than
// one can hold.
func SignOrder(o Order, from string, signer Signer) (Message, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return Message{}, err
	}
	m := Message{Subject: OrderSubject(o.ID), ID: o.ID, From: from, Body: body}
	if err := m.Sign(signer); err != nil {
		return m, err
	}
	if len(m.Wire()) > MaxBody {
		return Message{}, fleet.Errorf(fleet.Invalid, "%d nodes are more than one order can hold: send it to a part of them after the other (--limit, or other labels)", len(o.Nodes))
	}
	return m, nil
}

// OpenOrder reads what the stream keeps of an order: whole, and signed by the
// holder of its key, whoever that is. The error is Refused or Invalid.
func OpenOrder(s Stored) (o Order, m Message, err error) {
	id := subjects.OrderOf(s.Subject)
	m, faults := DecodeAs(OrderSubject(id), s.Headers, s.Body)
	if err := faults.Err(); err != nil {
		return o, m, err
	}
	if err := m.CheckSignature(); err != nil {
		return o, m, err
	}
	if _, ok := CreatedAt(id); !ok || m.ID != id {
		return o, m, fleet.Errorf(fleet.Invalid, "order %q says that it is %q", id, m.ID)
	}
	if err := m.Unpack(); err != nil {
		return o, m, err
	}
	if err := json.Unmarshal(m.Body, &o); err != nil {
		return o, m, fleet.Errorf(fleet.Invalid, "order %s: %w", id, err)
	}
	for _, node := range o.Nodes {
		if _, err := subjects.Build(node, subjects.Command, o.Method, o.Domain); err != nil {
			return o, m, fleet.Errorf(fleet.Invalid, "order %s: %w", id, err)
		}
	}
	o.ID, o.By, o.At = id, m.From, s.At
	return o, m, nil
}
