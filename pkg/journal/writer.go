package journal

import (
	"bytes"
	"errors"
	"runtime"

	"go.etcd.io/bbolt"

	"fairlead/pkg/fleet"
)

// request is one write that waits for the writer. run may be called more
// than once and checks before it changes: with an error it must have changed
// nothing, or all of the transaction is done again without it.
type request struct {
	run  func(w *writing) error
	bulk bool // logs: the first to go without when the disk is full
	err  error
	then func(error) // called by the writer when it is on disk, or cannot be
}

// writing is the transaction that requests share.
type writing struct {
	tx      *bbolt.Tx
	tally   tally
	changes int
	events  bool
}

func (w *writing) get(bucket, key []byte) ([]byte, error) {
	sealed := w.tx.Bucket(bucket).Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(key, sealed)
}

func (w *writing) put(bucket, key, value []byte) error {
	w.changes++
	b := w.tx.Bucket(bucket)
	b.FillPercent = 0.9 // most keys grow: pages are filled once
	sealed := seal(key, value)
	w.weigh(bucket, key, b.Get(key), sealed)
	return b.Put(key, sealed)
}

func (w *writing) delete(bucket, key []byte) error {
	w.changes++
	b := w.tx.Bucket(bucket)
	w.weigh(bucket, key, b.Get(key), nil)
	return b.Delete(key)
}

// weigh keeps the sum of all values (see tally.sum).
func (w *writing) weigh(bucket, key, old, new []byte) {
	if old != nil {
		w.tally.sum -= weigh(bucket, key, old)
	}
	if new != nil {
		w.tally.sum += weigh(bucket, key, new)
	}
}

// putSum ends the transaction.
func (w *writing) putSum() error {
	return w.tx.Bucket(bucketMeta).Put(keySum, seal(keySum, position(w.tally.sum)))
}

// next makes the key of a new last element.
func (w *writing) next(bucket []byte) ([]byte, error) {
	w.changes++
	n, err := w.tx.Bucket(bucket).NextSequence()
	return position(n), err
}

// oldest gives copies of the first keys for as long as more says so. They are collected before they are deleted: a bbolt
// cursor loses its place when what it points at goes.
func (w *writing) oldest(bucket []byte, more func(key, sealed []byte) bool) [][]byte {
	var all [][]byte
	c := w.tx.Bucket(bucket).Cursor()
	for key, sealed := c.First(); key != nil && more(key, sealed); key, sealed = c.Next() {
		all = append(all, bytes.Clone(key))
	}
	return all
}

// queued is how many requests may be submitted ahead of the writer.
const queued = 64

// maxShared bounds how many requests share a transaction.
const maxShared = 1024

// write has the writer do it and waits until it is on disk.
func (j *Journal) write(bulk bool, run func(w *writing) error) error {
	done := make(chan error, 1)
	j.submit(bulk, run, func(err error) { done <- err })
	return <-done
}

// submit has the writer do it, and then call then. What is submitted before
// Close is written.
func (j *Journal) submit(bulk bool, run func(w *writing) error, then func(error)) {
	j.ending.RLock()
	defer j.ending.RUnlock()
	if j.ended {
		then(errClosed())
		return
	}
	j.requests <- &request{run: run, bulk: bulk, then: then}
}

// writer is the one goroutine that writes. While it syncs, others come to
// wait; all of them are the next transaction.
func (j *Journal) writer() {
	defer close(j.closed)
	for {
		select {
		case r := <-j.requests:
			j.commit(j.waiting(r))
		case <-j.closing:
			j.finishAll()
			return
		}
	}
}

// finishAll writes what was submitted before Close.
func (j *Journal) finishAll() {
	for {
		select {
		case r := <-j.requests:
			j.commit(j.waiting(r))
		default:
			return
		}
	}
}

// waiting is the first request and all others that wait. Yielding once lets
// those come that the last transaction's end set free; alone it costs nothing.
func (j *Journal) waiting(first *request) []*request {
	all := []*request{first}
	runtime.Gosched()
	for len(all) < maxShared {
		select {
		case r := <-j.requests:
			all = append(all, r)
		default:
			return all
		}
	}
	return all
}

// commit writes the requests and answers each. Where the disk refuses, they
// are tried again in halves, logs last, so that one that is too large does
// not take the others with it.
func (j *Journal) commit(all []*request) {
	for {
		spoiler, err := j.attempt(all)
		if spoiler != nil {
			spoiler.then(spoiler.err)
			all = without(all, spoiler)
			continue
		}
		if err != nil && len(all) > 1 && j.broken == nil {
			all = logsLast(all)
			j.commit(all[:len(all)/2])
			j.commit(all[len(all)/2:])
			return
		}
		for _, r := range all {
			if err != nil {
				r.err = err
			}
			r.then(r.err)
		}
		return
	}
}

var errNothing = errors.New("nothing changed")

// attempt runs the requests in one transaction. A spoiler failed halfway, and
// with it the transaction.
func (j *Journal) attempt(all []*request) (spoiler *request, err error) {
	if j.broken != nil {
		return nil, j.broken
	}
	if len(all) == 0 {
		return nil, nil
	}
	w := &writing{tally: *j.tally.Load()}
	gone := j.sent.all()
	err = guard(func() error {
		return j.db.Update(func(tx *bbolt.Tx) error {
			w.tx = tx
			if err := w.remove(gone); err != nil {
				return err
			}
			for _, r := range all {
				before := w.changes
				if r.err = guard(func() error { return r.run(w) }); r.err != nil && w.changes != before {
					spoiler = r
					return r.err
				}
			}
			if w.changes == 0 {
				return errNothing
			}
			return w.putSum()
		})
	})
	switch {
	case errors.Is(err, errPanicked) && spoiler == nil:
		j.broken = fleet.Errorf(fleet.Unavailable, "journal %s cannot be written until the agent starts again: %w", j.path, err)
		return nil, j.broken
	case spoiler != nil:
		return spoiler, nil
	case errors.Is(err, errNothing):
		j.sent.done(gone)
		return nil, nil
	case err != nil:
		// A failed sync leaves open what is in the file: count again.
		return nil, fleet.Errorf(fleet.Unavailable, "write journal %s: %w", j.path, errors.Join(err, guard(j.count)))
	}
	j.commits.Add(1)
	j.tally.Store(&w.tally)
	j.sent.done(gone)
	if w.events {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return nil, nil
}

// view reads in a transaction of its own, which writers do not disturb.
func (j *Journal) view(read func(tx *bbolt.Tx) error) error {
	select {
	case <-j.closing:
		return errClosed()
	default:
	}
	return guard(func() error { return j.db.View(read) })
}

func without(all []*request, r *request) []*request {
	rest := make([]*request, 0, len(all))
	for _, other := range all {
		if other != r {
			rest = append(rest, other)
		}
	}
	return rest
}

func logsLast(all []*request) []*request {
	sorted := make([]*request, 0, len(all))
	for _, bulk := range []bool{false, true} {
		for _, r := range all {
			if r.bulk == bulk {
				sorted = append(sorted, r)
			}
		}
	}
	return sorted
}
