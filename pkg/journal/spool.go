package journal

import (
	"fmt"

	"go.etcd.io/bbolt"

	"fairlead/pkg/fleet"
)

// Spooled is a batch of log records that waits for the broker.
type Spooled struct {
	Position uint64 // grows with every batch
	Domain   string
	Records  int
	Data     []byte
}

// Drops counts what the spool had no room for.
type Drops struct {
	Batches uint64 `json:"batches"`
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
}

var keyDropped = []byte("dropped")

// Spool keeps a batch of log records of a domain. One ring serves all
// domains: where SpoolBytes is reached the oldest batches make room and are
// counted as dropped, in the same transaction. It waits for one sync, so a
// caller collects records into batches. A batch that is alone too large is
// refused with kind Invalid.
func (j *Journal) Spool(domain string, records int, data []byte) error {
	if err := checkKey("a domain", domain); err != nil {
		return err
	}
	if err := checkSize("a batch of logs", data); err != nil {
		return err
	}
	var out encoder
	out.string(domain)
	out.number(uint64(max(records, 0)))
	out.bytes(data)
	size := int64(len(out)) + 4
	if size > j.options.SpoolBytes {
		return fleet.Errorf(fleet.Invalid, "a batch of %d bytes does not fit the log spool of %d", size, j.options.SpoolBytes)
	}
	return j.write(true, func(w *writing) error {
		if err := w.makeRoom(j.options.SpoolBytes - size); err != nil {
			return err
		}
		key, err := w.next(bucketSpool)
		if err != nil {
			return err
		}
		w.tally.spool++
		w.tally.spoolBytes += size
		return w.put(bucketSpool, key, out)
	})
}

// makeRoom drops the oldest batches until the spool holds no more than limit.
func (w *writing) makeRoom(limit int64) error {
	if w.tally.spoolBytes <= limit {
		return nil
	}
	t := w.tally
	gone := w.oldest(bucketSpool, func(key, sealed []byte) bool {
		if t.spoolBytes <= limit {
			return false
		}
		batch, _ := decodeSpooled(key, sealed) // one that cannot be read goes all the same
		t.dropped.Batches++
		t.dropped.Records += uint64(batch.Records)
		t.dropped.Bytes += uint64(len(sealed))
		t.spool--
		t.spoolBytes -= int64(len(sealed))
		return true
	})
	w.tally = t
	for _, key := range gone {
		if err := w.delete(bucketSpool, key); err != nil {
			return err
		}
	}
	return w.putDropped()
}

// SpoolPeek gives up to max batches, oldest first. They stay until SpoolDone.
func (j *Journal) SpoolPeek(max int) ([]Spooled, error) {
	var all []Spooled
	err := j.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketSpool).Cursor()
		for key, sealed := c.First(); key != nil && len(all) < max; key, sealed = c.Next() {
			batch, err := decodeSpooled(key, sealed)
			if err != nil {
				return err
			}
			all = append(all, batch)
		}
		return nil
	})
	return all, err
}

// SpoolDone removes the batches up to and with a position. A batch that was
// dropped between SpoolPeek and SpoolDone counts as dropped although it was
// sent: the count is never too low.
func (j *Journal) SpoolDone(upTo uint64) error {
	return j.write(false, func(w *writing) error {
		t := w.tally
		done := w.oldest(bucketSpool, func(key, sealed []byte) bool {
			if positionOf(key) > upTo {
				return false
			}
			t.spool--
			t.spoolBytes -= int64(len(sealed))
			return true
		})
		w.tally = t
		for _, key := range done {
			if err := w.delete(bucketSpool, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// SpoolLen is how many batches wait and what they take.
func (j *Journal) SpoolLen() (batches int, bytes int64) {
	t := j.tally.Load()
	return t.spool, t.spoolBytes
}

// Dropped is what was dropped since it was last taken, also before a restart.
func (j *Journal) Dropped() Drops { return j.tally.Load().dropped }

// TakeDropped gives what Dropped gives and begins anew. The events that
// report makes of it, if it is not nil, are queued in the same transaction,
// so the loss is reported exactly once also over a crash. Where nothing was
// dropped report is not called. It may be called more than once.
func (j *Journal) TakeDropped(report func(Drops) []Event) (Drops, error) {
	var taken Drops
	err := j.write(false, func(w *writing) error {
		if taken = w.tally.dropped; taken == (Drops{}) {
			return nil
		}
		if report != nil {
			events := report(taken)
			if err := checkEvents(events); err != nil {
				return err
			}
			if err := w.enqueue(events); err != nil {
				return err
			}
		}
		w.tally.dropped = Drops{}
		return w.putDropped()
	})
	if err != nil {
		return Drops{}, err
	}
	return taken, nil
}

func (w *writing) putDropped() error {
	var out encoder
	out.number(w.tally.dropped.Batches)
	out.number(w.tally.dropped.Records)
	out.number(w.tally.dropped.Bytes)
	return w.put(bucketMeta, keyDropped, out)
}

func decodeDrops(value []byte) Drops {
	in := decoder{data: value}
	return Drops{Batches: in.number(), Records: in.number(), Bytes: in.number()}
}

func decodeSpooled(key, sealed []byte) (Spooled, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return Spooled{}, err
	}
	in := decoder{data: value}
	s := Spooled{Position: positionOf(key), Domain: in.string(), Records: int(in.number()), Data: in.bytes()}
	if in.err != nil {
		return Spooled{}, fmt.Errorf("batch %d: %w", s.Position, in.err)
	}
	return s, nil
}
