package journal

import "bytes"

// keyOwner is where it stands whose journal it is.
var keyOwner = []byte("owner")

// Left is what a journal held of the node that it was before, and what nobody
// can say any more in that one's name.
type Left struct {
	Owner  string // the name
	Events int    // that waited in the outbox
	Drops         // logs that waited in the spool
}

// Belong makes it the journal of a node. One that was another node's is emptied:
// its outcomes, desired states and facts are not this one's, and its revisions
// begin anew. The events that report makes of what was left, which it is asked for
// in that case alone, are queued in the same transaction. A journal that was
// nobody's, as one of an earlier version is, stays as it is.
func (j *Journal) Belong(name string, report func(Left) []Event) error {
	if err := checkKey("a node's name", name); err != nil {
		return err
	}
	return j.write(false, func(w *writing) error {
		before, err := w.get(bucketMeta, keyOwner)
		if err != nil || string(before) == name {
			return err
		}
		if before == nil {
			return w.put(bucketMeta, keyOwner, []byte(name))
		}
		left := Left{Owner: string(before), Events: w.tally.outbox,
			Drops: Drops{Batches: uint64(w.tally.spool), Bytes: uint64(w.tally.spoolBytes)}}
		for _, bucket := range [][]byte{bucketStarted, bucketFinished, bucketForget, bucketOutbox, bucketSpool, bucketDesired, bucketFacts} {
			all := w.oldest(bucket, func(key, sealed []byte) bool {
				if bytes.Equal(bucket, bucketSpool) {
					batch, _ := decodeSpooled(key, sealed) // one that cannot be read goes all the same
					left.Records += uint64(batch.Records)
				}
				return true
			})
			for _, key := range all {
				if err := w.delete(bucket, key); err != nil {
					return err
				}
			}
		}
		w.tally.outbox, w.tally.spool, w.tally.spoolBytes = 0, 0, 0
		if err := w.put(bucketMeta, keyOwner, []byte(name)); err != nil {
			return err
		}
		events := report(left)
		if err := checkEvents(events); err != nil {
			return err
		}
		return w.enqueue(events)
	})
}
