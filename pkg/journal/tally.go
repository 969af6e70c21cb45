package journal

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// tally is what would be slow to count each time. It changes with the
// transaction that changes the buckets.
type tally struct {
	outbox     int
	spool      int
	spoolBytes int64
	dropped    Drops
	// sum of all values' weights, kept in the file. Pages have no checksums
	// and a flipped bit can point at an older one, whole in itself: then
	// something is missing that no seal can tell, but the sum does.
	sum uint64
}

var keySum = []byte("sum")

// count reads the tally from the file.
func (j *Journal) count() error {
	var t tally
	err := j.db.View(func(tx *bbolt.Tx) error {
		t.outbox = keys(tx.Bucket(bucketOutbox))
		c := tx.Bucket(bucketSpool).Cursor()
		for key, value := c.First(); key != nil; key, value = c.Next() {
			t.spool++
			t.spoolBytes += int64(len(value))
		}
		value, err := unseal(keySum, tx.Bucket(bucketMeta).Get(keySum))
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		t.sum = positionOf(value)
		if sealed := tx.Bucket(bucketMeta).Get(keyDropped); sealed != nil {
			value, err := unseal(keyDropped, sealed)
			if err != nil {
				return err
			}
			t.dropped = decodeDrops(value)
		}
		return nil
	})
	if err == nil {
		j.tally.Store(&t)
	}
	return err
}

func keys(b *bbolt.Bucket) (n int) {
	c := b.Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		n++
	}
	return n
}
