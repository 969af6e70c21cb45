package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// File is a file that the broker keeps for nodes to fetch.
type File struct {
	message.Blob
	List string // digest of the list of its parts, which nodes ask for
	Sent int64  // bytes that the broker did not have
}

// StoreOptions say how to store a file.
type StoreOptions struct {
	// For is how long nodes must be able to fetch it; the file leaves the broker a
	// day later at the latest.
	For time.Duration
	// Whole sends every part, also those that the broker has.
	Whole bool
	// Progress is told how far it has come.
	Progress func(done, all int64)
}

// Bounds of storing a file.
const (
	// keepLonger is how much longer than asked for a part is kept: who stores the
	// same file on the same day sends nothing.
	keepLonger = 24 * time.Hour
	// keepSlack is by how much the time that a part is kept may be too short for
	// clocks and long ways.
	keepSlack = time.Hour
	// storeAtOnce is how many parts are under way.
	storeAtOnce = 16
	// storeTime is how long one part may take, and how long nothing may move before
	// it is given up.
	storeTime = 2 * time.Minute
	storeWait = 500 * time.Millisecond
)

// Store puts a file of a size into the broker's store, part by part, without those that are
// there. It goes on by itself when the link breaks; when it gives up, the next Store
// goes on from there. The error is Invalid for a file that is too large, Busy
// where the store is full, Conflict where the file changes meanwhile.
func (c *Client) Store(ctx context.Context, file io.ReaderAt, size int64, o StoreOptions) (f File, err error) {
	if f.Blob, err = message.NewBlob(file, size); err != nil {
		return f, err
	}
	index, list, err := f.Encode()
	if err != nil {
		return f, err
	}
	f.List = message.Digest(list)
	s := &storing{client: c, blob: f.Blob, keep: o.For + keepLonger, progress: o.Progress}
	if s.progress == nil {
		s.progress = func(int64, int64) {}
	}
	all := s.contents(file, index, list)
	lacking, err := s.lacking(ctx, all, o)
	if err != nil {
		return f, err
	}
	for _, l := range lacking {
		f.Sent += int64(l.size)
	}
	s.done = f.Size - f.Sent
	last := len(lacking)
	if last > 0 && lacking[last-1].digest == f.List {
		last-- // by itself: who finds it finds all that it names
	}
	if err := s.send(ctx, lacking[:last]); err != nil {
		return f, err
	}
	return f, s.send(ctx, lacking[last:])
}

// content is one to store.
type content struct {
	digest string
	size   int // of the file's own bytes
	read   func() ([]byte, error)
	keep   time.Duration // what lacks is to be kept for so long
}

// storing is one Store on its way.
type storing struct {
	client   *Client
	blob     message.Blob
	keep     time.Duration
	done     int64
	progress func(done, all int64)
}

// contents are all of a file, each once, the list last.
func (s *storing) contents(file io.ReaderAt, index [][]byte, list []byte) (all []content) {
	known := make(map[string]bool)
	for i := range s.blob.Parts.Count() {
		if digest := s.blob.Parts.At(i); !known[digest] {
			known[digest] = true
			all = append(all, content{digest: digest, size: s.blob.PartSize(i), read: func() ([]byte, error) { return s.part(file, i) }})
		}
	}
	for _, text := range append(index, list) {
		if digest := message.Digest(text); !known[digest] {
			known[digest] = true
			all = append(all, content{digest: digest, read: func() ([]byte, error) { return text, nil }})
		}
	}
	return all
}

// lacking are those contents that the broker does not have, or not for long enough.
// None is kept for less than it is already: an earlier command may name it.
func (s *storing) lacking(ctx context.Context, all []content, o StoreOptions) (lacking []content, err error) {
	digests := make([]string, len(all))
	for i, c := range all {
		digests[i] = c.digest
	}
	var until map[string]time.Time
	var now time.Time
	err = s.again(ctx, func(ctx context.Context) error {
		state, err := s.client.conn.State(ctx, subjects.BucketStream(subjects.Blobs))
		if err != nil {
			return err
		}
		now = state.Now
		until, err = s.client.conn.BlobsUntil(ctx, digests)
		return err
	})
	needed := now.Add(o.For + keepSlack)
	for _, c := range all {
		if o.Whole || until[c.digest].Before(needed) {
			c.keep = max(s.keep, until[c.digest].Sub(now))
			lacking = append(lacking, c)
		}
	}
	return lacking, err
}

// send stores contents, some under way at a time; what fails for want of a link is
// sent again.
func (s *storing) send(ctx context.Context, all []content) error {
	for some := range slices.Chunk(all, storeAtOnce) {
		err := s.again(ctx, func(ctx context.Context) (err error) {
			some, err = s.sendSome(ctx, some)
			return err
		})
		if err != nil {
			return fleet.Errorf(fleet.KindOf(err), "%w; %d of %d MiB are stored, the same command goes on from there", err, s.done>>20, s.blob.Size>>20)
		}
	}
	return nil
}

// sendSome returns those that are not stored.
func (s *storing) sendSome(ctx context.Context, some []content) (left []content, failed error) {
	under := make([]*bus.PendingBlob, len(some))
	for i, c := range some {
		text, err := c.read()
		if err != nil {
			return some, err
		}
		if under[i], err = s.client.conn.PutBlob(c.digest, text, c.keep); err != nil {
			failed = err
			break
		}
	}
	for i, c := range some {
		if under[i] == nil {
			left = append(left, c)
			continue
		}
		if err := s.wait(ctx, under[i]); err != nil {
			left, failed = append(left, c), err
			continue
		}
		s.done += int64(c.size)
		s.progress(s.done, s.blob.Size)
	}
	return left, failed
}

func (s *storing) wait(ctx context.Context, p *bus.PendingBlob) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return p.Wait(ctx)
}

// part reads a part of the file, which must be as it was.
func (s *storing) part(file io.ReaderAt, i int) ([]byte, error) {
	content := make([]byte, s.blob.PartSize(i))
	if _, err := file.ReadAt(content, int64(i)*message.BlobPart); err != nil && !errors.Is(err, io.EOF) {
		return nil, fleet.Errorf(fleet.Invalid, "read the file: %w", err)
	}
	if message.Digest(content) != s.blob.Parts.At(i) {
		return nil, fleet.Errorf(fleet.Conflict, "the file changed while it was read: send it when nobody writes to it")
	}
	return content, nil
}

// again does something until it works, as long as only the link is in the way and
// something moves.
func (s *storing) again(ctx context.Context, do func(context.Context) error) error {
	moved, at := s.done, time.Now()
	for {
		err := do(ctx)
		kind := fleet.KindOf(err)
		if err == nil || ctx.Err() != nil || kind != fleet.Unavailable && kind != fleet.Timeout {
			return err
		}
		if s.done > moved {
			moved, at = s.done, time.Now()
		}
		if time.Since(at) > storeTime {
			return err
		}
		s.client.log.Debug("storing a file is interrupted", "error", err)
		select {
		case <-time.After(storeWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
