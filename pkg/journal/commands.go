package journal

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"fairlead/pkg/fleet"
)

// Started is the state of an entry whose command has begun and not ended.
const Started = "started"

// Entry is one command's life.
type Entry struct {
	ID          string
	Sequence    uint64        // in the stream
	Subject     string        // as it was stored
	State       string        // Started or a final state
	StartedBoot time.Duration // when it began, since the host's boot
	BootID      string        // which boot
	At          time.Time     // broker time of the command
	Forget      time.Time     // broker time after which Prune drops it; zero: never
	Answer      []byte        // the body of the final answer, to send it again
}

// Lookup gives what is known of a command.
func (j *Journal) Lookup(id string) (Entry, bool, error) {
	var e Entry
	found := false
	err := j.view(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{bucketFinished, bucketStarted} {
			if sealed := tx.Bucket(bucket).Get([]byte(id)); sealed != nil {
				var err error
				e, err = decodeEntry([]byte(id), sealed)
				found = err == nil
				return err
			}
		}
		return nil
	})
	return e, found, err
}

// Start notes that a command begins, before its first effect. After a crash
// it is one of Started's until Finish. Starting again what was started
// replaces the entry; what has finished is refused with kind Conflict.
func (j *Journal) Start(e Entry) error {
	e.State = Started
	if err := e.check(); err != nil {
		return err
	}
	return j.write(false, func(w *writing) error {
		if w.tx.Bucket(bucketFinished).Get([]byte(e.ID)) != nil {
			return fleet.Errorf(fleet.Conflict, "command %s has finished", e.ID)
		}
		return w.put(bucketStarted, []byte(e.ID), e.encode())
	})
}

// Finish notes how a command ended and puts its events into the outbox, in
// one transaction: after a crash both are there or neither. It needs no
// Start before it. Finishing again with the same state and answer changes
// nothing and queues nothing, so it may be repeated after an error; another
// outcome is refused with kind Conflict.
func (j *Journal) Finish(e Entry, events ...Event) error {
	done := make(chan error, 1)
	j.FinishThen(e, func(err error) { done <- err }, events...)
	return <-done
}

// FinishThen is Finish without the wait: then is called, once and soon, when
// the outcome is on disk or could not be written. It is called by the
// journal's writer and must not call the journal. Outcomes that are finished
// this way one behind the other share a transaction.
func (j *Journal) FinishThen(e Entry, then func(error), events ...Event) {
	run, err := e.finish(events)
	if err != nil {
		then(err)
		return
	}
	j.submit(false, run, then)
}

func (e Entry) finish(events []Event) (run func(*writing) error, err error) {
	if e.State == Started || e.State == "" {
		return nil, fleet.Errorf(fleet.Invalid, "command %s: state %q is not final", e.ID, e.State)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if err := checkEvents(events); err != nil {
		return nil, err
	}
	id := []byte(e.ID)
	return func(w *writing) error {
		if sealed := w.tx.Bucket(bucketFinished).Get(id); sealed != nil {
			old, err := decodeEntry(id, sealed)
			if err != nil || old.State == e.State && bytes.Equal(old.Answer, e.Answer) {
				return err
			}
			return fleet.Errorf(fleet.Conflict, "command %s has already ended %s", e.ID, old.State)
		}
		if w.tx.Bucket(bucketStarted).Get(id) != nil {
			if err := w.delete(bucketStarted, id); err != nil {
				return err
			}
		}
		if err := w.put(bucketFinished, id, e.encode()); err != nil {
			return err
		}
		if !e.Forget.IsZero() {
			if err := w.put(bucketForget, append(position(nanos(e.Forget)), id...), nil); err != nil {
				return err
			}
		}
		return w.enqueue(events)
	}, nil
}

// Started gives the commands that began and did not end, by sequence: after
// Open those that a crash interrupted.
func (j *Journal) Started() ([]Entry, error) {
	var all []Entry
	err := j.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketStarted).ForEach(func(id, sealed []byte) error {
			e, err := decodeEntry(id, sealed)
			all = append(all, e)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all, nil
}

// Prune drops up to max finished commands whose Forget has passed by the
// broker's time, the oldest first, and says how many. Call it again while it
// gives max.
func (j *Journal) Prune(now time.Time, max int) (int, error) {
	n := 0
	err := j.write(false, func(w *writing) error {
		looked := 0
		due := w.oldest(bucketForget, func(key, _ []byte) bool {
			looked++
			return looked <= max && positionOf(key) <= nanos(now)
		})
		n = len(due)
		for _, key := range due {
			if err := errors.Join(w.delete(bucketFinished, key[min(8, len(key)):]), w.delete(bucketForget, key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (e Entry) check() error {
	if err := checkKey("a command's id", e.ID); err != nil {
		return err
	}
	return checkSize("the answer of command "+e.ID, e.Answer)
}

func (e Entry) encode() []byte {
	var out encoder
	out.number(e.Sequence)
	out.string(e.Subject)
	out.string(e.State)
	out.number(uint64(e.StartedBoot))
	out.string(e.BootID)
	out.time(e.At)
	out.time(e.Forget)
	out.bytes(e.Answer)
	return out
}

func decodeEntry(id, sealed []byte) (Entry, error) {
	value, err := unseal(id, sealed)
	if err != nil {
		return Entry{}, err
	}
	in := decoder{data: value}
	e := Entry{
		ID: string(id), Sequence: in.number(), Subject: in.string(), State: in.string(),
		StartedBoot: time.Duration(in.number()), BootID: in.string(), At: in.time(), Forget: in.time(), Answer: in.bytes(),
	}
	return e, in.err
}
