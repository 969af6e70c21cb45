// Package journal is what an agent remembers across crashes: which commands
// ran and how they ended, the events that are not yet with the broker, the
// last desired state, small facts, and a bounded ring of logs. It is one
// bbolt file.
//
// What it promises:
//
//   - A write that returned nil is on disk (synced) and survives a power cut.
//     One that returned an error from the disk may or may not be: repeat it.
//   - A write is all or nothing. An outcome and its events are one write.
//   - Writes of one goroutine keep their order; what the outbox and the spool
//     give back is in the order in which it was written.
//   - Writes that wait at the same time share one transaction, so a thousand
//     cost few syncs; one alone is written at once.
//   - A damaged file is never trusted and never fatal: Open sets it aside,
//     begins a new one and says so (Recovered). Every value has a checksum.
//
// A Journal may be used by any number of goroutines. What it returns belongs
// to the caller. Open begins, Close ends.
package journal

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"fairlead/pkg/fleet"
)

// Options are the settings of a journal; the zero value of each means its
// default.
type Options struct {
	Logger      *slog.Logger  // slog.Default()
	NoSync      bool          // a power cut may lose or damage everything; for tests and simulations
	SpoolBytes  int64         // the most that the log spool holds, 64 MiB
	LockTimeout time.Duration // how long to wait for another process to let go, 1 s
	KeepCorrupt int           // how many damaged files to keep beside the new one, 3
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.SpoolBytes <= 0 {
		o.SpoolBytes = 64 << 20
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.KeepCorrupt <= 0 {
		o.KeepCorrupt = 3
	}
	return o
}

// MaxBytes is the most that one entry, event, batch or fact may hold;
// brokers refuse messages far below it (1 MB by default).
const MaxBytes = 16 << 20

// maxKey bounds ids and keys; bbolt's own limit is 32 KiB.
const maxKey = 1024

// Journal is an open journal.
type Journal struct {
	path      string
	options   Options
	recovered string

	db       *bbolt.DB
	requests chan *request
	ending   sync.RWMutex // held by writers while they submit
	ended    bool
	closing  chan struct{}
	closed   chan struct{} // closed when the writer has ended
	once     sync.Once
	wake     chan struct{}
	sent     sent

	tally   atomic.Pointer[tally] // as of the last commit
	commits atomic.Uint64
	broken  error // the writer's own: set when bbolt panicked, after which it cannot be used
}

// Path is the file's path.
func (j *Journal) Path() string { return j.path }

// Recovered is empty, or says in a sentence what was wrong with the file that
// was there: either it could not be used, and where it lies now, so that what
// the agent had done is not known; or it was repaired, and only its last
// write may be missing. The agent reports that.
func (j *Journal) Recovered() string { return j.recovered }

// Commits is how many transactions were written since Open, each of two syncs.
func (j *Journal) Commits() uint64 { return j.commits.Load() }

// Close waits for the writes that have begun, refuses those after, and gives
// the file free. It may be called more than once.
func (j *Journal) Close() error {
	var err error
	j.once.Do(func() {
		j.sent.stop()
		if j.sent.len() > 0 {
			err = j.write(false, nothing)
		}
		j.ending.Lock()
		j.ended = true
		j.ending.Unlock()
		close(j.closing)
		<-j.closed
		if j.broken == nil { // a broken bbolt may hold its locks for ever
			err = errors.Join(err, j.db.Close())
		}
	})
	return err
}

// nothing is a request that has no change of its own.
func nothing(*writing) error { return nil }

func errClosed() error { return fleet.Errorf(fleet.Unavailable, "journal is closed") }

// The buckets. Keys of outbox, spool and forget sort by age.
var (
	bucketMeta     = []byte("meta")     // "format", "dropped", "sum", "owner"
	bucketStarted  = []byte("started")  // id → entry
	bucketFinished = []byte("finished") // id → entry
	bucketForget   = []byte("forget")   // time, id → nothing
	bucketOutbox   = []byte("outbox")   // position → event
	bucketSpool    = []byte("spool")    // position → batch
	bucketDesired  = []byte("desired")  // key → revision, data
	bucketFacts    = []byte("facts")    // key → data

	counted = map[string]bool{string(bucketOutbox): true, string(bucketSpool): true} // keys are the bucket's own sequence
	buckets = [][]byte{bucketMeta, bucketStarted, bucketFinished, bucketForget, bucketOutbox, bucketSpool, bucketDesired, bucketFacts}
)
