package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"fairlead/pkg/fleet"
)

// format is the version of what the buckets hold. A file of a later one is
// refused, not set aside: it is whole, and its agent may come back.
// Later formats keep the seals and the sum.
const format = 1

var keyFormat = []byte("format")

// errDamaged marks an error that a file's content caused.
var errDamaged = errors.New("damaged")

// Open opens or creates the journal at a path, its directory included, for
// this user alone. Another process that has it open is waited for during
// LockTimeout and then an error of kind Conflict. A damaged file is renamed
// to <path>.corrupt-<time> and a new one begun.
func Open(path string, o Options) (*Journal, error) {
	o = o.withDefaults()
	j := &Journal{
		path: path, options: o,
		requests: make(chan *request, queued), closing: make(chan struct{}), closed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	j.sent.flush = func() { _ = j.write(false, nothing) } // an error leaves them for the next transaction
	file, err := lockFile(path, o.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	err = j.load(file)
	if errors.Is(err, errDamaged) {
		aside, renameErr := setAside(path, o.KeepCorrupt)
		_ = file.Close() // gives the lock free only now, when the path is no longer this file's
		if renameErr != nil {
			return nil, fmt.Errorf("open journal %s: %w; setting it aside: %w", path, err, renameErr)
		}
		j.recovered = fmt.Sprintf("journal %s could not be used (%v) and is now %s; what this node had done before is not known", path, err, aside)
		o.Logger.Error("journal was damaged", "path", path, "aside", aside, "error", err)
		if file, err = lockFile(path, o.LockTimeout); err == nil {
			err = j.load(file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	if j.OutboxLen() > 0 {
		j.wake <- struct{}{}
	}
	go j.writer() // ended by Close
	return j, nil
}

// load checks the locked file, opens it and counts what it holds. With an
// error the file is closed, but for a damaged one, whose lock is still needed.
func (j *Journal) load(file *os.File) (err error) {
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return err
	}
	if info.Size() > 0 {
		note, err := checkFile(file, info.Size())
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if note != "" {
			j.recovered = fmt.Sprintf("journal %s was repaired: %s", j.path, note)
			j.options.Logger.Error("journal was repaired", "path", j.path, "reason", note)
		}
	}
	err = guard(func() error {
		// NoFreelistSync: after a full spool has drained, the list of free
		// pages is 128 KiB that every commit would write. Without it bbolt
		// finds the free pages by walking the tree, in a goroutine that
		// cannot be guarded, which is why checkFile walks it first.
		j.db, err = bbolt.Open(file.Name(), 0o600, &bbolt.Options{
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return file, nil },
			Timeout:  j.options.LockTimeout, NoSync: j.options.NoSync,
			NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		})
		return err
	})
	if err != nil {
		if info.Size() == 0 {
			_ = os.Truncate(file.Name(), 0) // half a first page would look like damage next time
			_ = file.Close()
		}
		return damage(err)
	}
	j.db.AllocSize = 1 << 20 // 16 MiB of growth at a time is much for a small disk
	err = guard(func() error { return j.prepare() })
	if err != nil {
		_ = j.db.Close()
		return damage(err)
	}
	return nil
}

// damage marks what bbolt says of a file's content, panics included. Other
// errors, such as a full disk or no memory, are not the file's fault.
func damage(err error) error {
	for _, cause := range []error{errPanicked, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return err
}

// prepare makes the buckets of a new file and counts what an old one holds.
func (j *Journal) prepare() error {
	fresh := true
	err := j.db.View(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			fresh = false
			value, err := unseal(keyFormat, meta.Get(keyFormat))
			if err != nil {
				return fmt.Errorf("%w: %w", errDamaged, err)
			}
			if found := positionOf(value); found > format {
				return fleet.Errorf(fleet.Conflict, "written by a later version (format %d, this one knows %d)", found, format)
			}
		}
		for _, name := range buckets {
			if b := tx.Bucket(name); (b == nil) != fresh {
				return fmt.Errorf("%w: bucket %s is missing or alone", errDamaged, name)
			} else if b != nil {
				if last, _ := b.Cursor().Last(); counted[string(name)] && b.Sequence() < positionOf(last) {
					return fmt.Errorf("%w: bucket %s counts from before its last key", errDamaged, name)
				}
			}
		}
		return nil
	})
	if err == nil && fresh {
		err = j.db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			w := &writing{tx: tx}
			return errors.Join(w.put(bucketMeta, keyFormat, position(format)), w.putSum())
		})
	}
	if err != nil {
		return err
	}
	return j.count()
}

// errPanicked marks a panic that was turned into an error.
var errPanicked = errors.New("bbolt panicked")

// guard turns a panic of bbolt, also one from touching a mapped page that the
// disk can no longer give, into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", errPanicked, reason)
		}
	}()
	return f()
}
