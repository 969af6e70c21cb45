package message

import (
	"encoding/json"
	"strconv"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// QueueCancel is the part of a bounded order's queue that ends it: what was not
// published by then never is.
const QueueCancel = "cancel"

// queueBytes bounds a part of a queue, under MaxBody and what an envelope takes.
const queueBytes = 400 << 10

// queueSubject is what the signature of a part covers.
func queueSubject(order, part string) subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: directionQueue, Method: order, Domain: part}
}

// SignQueue makes the parts of a bounded order's queue: its commands, each as its
// sender signed it. A station publishes them as they are, so nodes see whose they
// are as if they had been sent at once.
func SignQueue(o Order, commands []Message, from string, signer Signer) ([]Message, error) {
	var parts []Message
	var part []Stored
	size := 0
	end := func() error {
		body, err := json.Marshal(part)
		if err != nil {
			return err
		}
		m := Message{Subject: queueSubject(o.ID, strconv.Itoa(len(parts))), ID: NewID(), From: from, Body: body}
		if len(m.Body) > MaxBody {
			return fleet.Errorf(fleet.Invalid, "a command of %d bytes is more than the queue of an order holds", len(part[0].Body))
		}
		parts, part, size = append(parts, m), nil, 0
		return parts[len(parts)-1].Sign(signer)
	}
	for _, c := range commands {
		s := Stored{Subject: c.StoredSubject(), Headers: c.Headers(), Body: c.Wire()}
		text, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		if size += len(text) + 1; len(part) > 0 && size > queueBytes {
			if err := end(); err != nil {
				return nil, err
			}
			size = len(text) + 1
		}
		part = append(part, s)
	}
	if len(part) > 0 {
		if err := end(); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// SignUnqueue makes the part that ends a queue.
func SignUnqueue(order, from string, signer Signer) (Message, error) {
	m := Message{Subject: queueSubject(order, QueueCancel), ID: NewID(), From: from}
	return m, m.Sign(signer)
}

// OpenQueue reads what the stream keeps of a part: whole, and signed by the holder
// of its key, whoever that is. The commands are not proven. The error is Refused
// or Invalid.
func OpenQueue(s Stored) (order string, commands []Message, m Message, err error) {
	order, part, ok := subjects.QueueOf(s.Subject)
	if !ok {
		return "", nil, m, fleet.Errorf(fleet.Invalid, "%s is no part of a queue", s.Subject)
	}
	m, faults := DecodeAs(queueSubject(order, part), s.Headers, s.Body)
	if err := faults.Err(); err != nil {
		return order, nil, m, err
	}
	if err := m.CheckSignature(); err != nil {
		return order, nil, m, err
	}
	if part == QueueCancel {
		return order, nil, m, nil
	}
	if err := m.Unpack(); err != nil {
		return order, nil, m, err
	}
	var all []Stored
	if err := json.Unmarshal(m.Body, &all); err != nil {
		return order, nil, m, fleet.Errorf(fleet.Invalid, "queue of order %s: %w", order, err)
	}
	for _, one := range all {
		d := Receive(one)
		if d.Fault != nil {
			return order, nil, m, fleet.Errorf(fleet.Invalid, "queue of order %s: %w", order, d.Fault)
		}
		commands = append(commands, d.Message)
	}
	return order, commands, m, nil
}
