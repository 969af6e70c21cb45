package journal

import (
	"bytes"

	"go.etcd.io/bbolt"

	"fairlead/pkg/fleet"
)

// PutDesired keeps a desired state. Revisions never go back: one older than
// what is kept is refused with kind Conflict, and so is the same revision
// with other content. The same with the same content writes nothing.
func (j *Journal) PutDesired(key string, revision uint64, data []byte) error {
	if err := checkKey("a desired state's key", key); err != nil {
		return err
	}
	if err := checkSize("the desired state of "+key, data); err != nil {
		return err
	}
	if old, kept, ok, err := j.Desired(key); err == nil && ok && old == revision && bytes.Equal(kept, data) {
		return nil
	}
	return j.write(false, func(w *writing) error {
		value, err := w.get(bucketDesired, []byte(key))
		if err != nil {
			return err
		}
		if value != nil {
			old, kept := decodeDesired(value)
			switch {
			case old > revision:
				return fleet.Errorf(fleet.Conflict, "desired state %s: revision %d is older than %d, which this node has", key, revision, old)
			case old == revision && bytes.Equal(kept, data):
				return nil
			case old == revision:
				return fleet.Errorf(fleet.Conflict, "desired state %s: revision %d has another content than this node has", key, revision)
			}
		}
		return w.put(bucketDesired, []byte(key), append(position(revision), data...))
	})
}

// Desired gives the newest desired state that was kept.
func (j *Journal) Desired(key string) (revision uint64, data []byte, ok bool, err error) {
	value, ok, err := j.value(bucketDesired, key)
	if err != nil || !ok {
		return 0, nil, false, err
	}
	revision, data = decodeDesired(value)
	return revision, data, true, nil
}

// DesiredKeys lists the keys of all desired states, sorted.
func (j *Journal) DesiredKeys() ([]string, error) { return j.keysOf(bucketDesired, "") }

// DeleteDesired forgets a desired state, so that revisions may begin anew:
// the node left a domain, or its broker's buckets were made again.
func (j *Journal) DeleteDesired(key string) error { return j.remove(bucketDesired, key) }

// Put keeps a small fact. The same content again writes nothing.
func (j *Journal) Put(key string, data []byte) error {
	if err := checkKey("a fact's key", key); err != nil {
		return err
	}
	if err := checkSize("fact "+key, data); err != nil {
		return err
	}
	if kept, ok, err := j.Get(key); err == nil && ok && bytes.Equal(kept, data) {
		return nil
	}
	return j.write(false, func(w *writing) error { return w.put(bucketFacts, []byte(key), data) })
}

// Get gives a fact.
func (j *Journal) Get(key string) (data []byte, ok bool, err error) { return j.value(bucketFacts, key) }

// Delete forgets a fact. Forgetting what is not there is no error.
func (j *Journal) Delete(key string) error { return j.remove(bucketFacts, key) }

// Keys lists the facts' keys with a prefix, sorted.
func (j *Journal) Keys(prefix string) ([]string, error) { return j.keysOf(bucketFacts, prefix) }

func (j *Journal) value(bucket []byte, key string) (data []byte, ok bool, err error) {
	err = j.view(func(tx *bbolt.Tx) error {
		sealed := tx.Bucket(bucket).Get([]byte(key))
		if sealed == nil {
			return nil
		}
		value, err := unseal([]byte(key), sealed)
		data, ok = bytes.Clone(value), err == nil
		return err
	})
	return data, ok, err
}

func (j *Journal) remove(bucket []byte, key string) error {
	return j.write(false, func(w *writing) error {
		if w.tx.Bucket(bucket).Get([]byte(key)) == nil {
			return nil
		}
		return w.delete(bucket, []byte(key))
	})
}

func (j *Journal) keysOf(bucket []byte, prefix string) (all []string, err error) {
	err = j.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for key, _ := c.Seek([]byte(prefix)); key != nil && bytes.HasPrefix(key, []byte(prefix)); key, _ = c.Next() {
			all = append(all, string(key))
		}
		return nil
	})
	return all, err
}

func decodeDesired(value []byte) (revision uint64, data []byte) {
	return positionOf(value), value[min(8, len(value)):]
}
