package journal

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// Event is a message that waits for the broker.
type Event struct {
	ID      string
	Subject string // the storage subject
	Data    []byte // the encoded message
}

// Queued is an event and its place in the outbox.
type Queued struct {
	Position uint64 // grows with every event, also over restarts
	Event
}

// Enqueue puts events that belong to no command into the outbox, all or none.
// Repeated after an error it may queue them twice; the broker keeps one of an
// id. Without events it does nothing.
func (j *Journal) Enqueue(events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := checkEvents(events); err != nil {
		return err
	}
	return j.write(false, func(w *writing) error { return w.enqueue(events) })
}

// Outbox gives up to max waiting events, oldest first. They stay until Sent.
func (j *Journal) Outbox(max int) ([]Queued, error) {
	var all []Queued
	sent := j.sent.all() // before the view: what is gone from here is gone from the file
	err := j.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOutbox).Cursor()
		for key, sealed := c.First(); key != nil && len(all) < max; key, sealed = c.Next() {
			if sent[positionOf(key)] {
				continue
			}
			value, err := unseal(key, sealed)
			if err != nil {
				return err
			}
			in := decoder{data: value}
			q := Queued{Position: positionOf(key), Event: Event{ID: in.string(), Subject: in.string(), Data: in.bytes()}}
			if in.err != nil {
				return fmt.Errorf("event %d: %w", q.Position, in.err)
			}
			all = append(all, q)
		}
		return nil
	})
	return all, err
}

// Sent removes events that the broker has stored. Removing what is not there
// is no error. It does not wait for the disk: the removal rides with the next
// write, or is written by itself after a second, so that a command costs one
// transaction and not two. After a crash before that they are sent again;
// their id keeps the broker from storing them twice.
func (j *Journal) Sent(positions ...uint64) error {
	var there []uint64
	err := j.view(func(tx *bbolt.Tx) error {
		for _, p := range positions {
			if tx.Bucket(bucketOutbox).Get(position(p)) != nil {
				there = append(there, p)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if j.sent.add(there) {
		return j.write(false, nothing)
	}
	return nil
}

// Settle writes down at once what Sent left to the next write.
func (j *Journal) Settle() error { return j.write(false, nothing) }

// OutboxLen is how many events wait.
func (j *Journal) OutboxLen() int { return max(0, j.tally.Load().outbox-j.sent.len()) }

// Wake is signalled when something was put into the outbox, and after Open
// when something is in it. Several signals may become one: read the outbox
// until it is empty. It is for one receiver and is never closed.
func (j *Journal) Wake() <-chan struct{} { return j.wake }

func (w *writing) enqueue(events []Event) error {
	for _, e := range events {
		key, err := w.next(bucketOutbox)
		if err != nil {
			return err
		}
		var out encoder
		out.string(e.ID)
		out.string(e.Subject)
		out.bytes(e.Data)
		if err := w.put(bucketOutbox, key, out); err != nil {
			return err
		}
		w.tally.outbox++
		w.events = true
	}
	return nil
}

func checkEvents(events []Event) error {
	for _, e := range events {
		if err := checkKey("an event's id", e.ID); err != nil {
			return err
		}
		if err := checkKey("an event's subject", e.Subject); err != nil {
			return err
		}
		if err := checkSize("event "+e.ID, e.Data); err != nil {
			return err
		}
	}
	return nil
}
