package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// The bucket Blobs keeps contents of files, each under its digest. They are not
// signed: whoever reads one compares it with its name.

// headerKept says how long the broker keeps a message.
const headerKept = "Nats-TTL"

// Blob reads a content and proves it. The error is Unknown where it is not
// there, Failed where something else lies in its place, Unavailable where the link
// broke: nobody answers then, however long one waits.
func (c *Conn) Blob(ctx context.Context, digest string) ([]byte, error) {
	return c.content(ctx, subjects.Blobs, digest, digest)
}

// content reads what a bucket keeps as a digest.
func (c *Conn) content(ctx context.Context, bucket, key, digest string) ([]byte, error) {
	e, err := c.GetSlowly(ctx, bucket, key)
	if fleet.KindOf(err) == fleet.Unknown {
		return nil, fleet.Errorf(fleet.Unknown, "the broker does not have %s, or has it no more", digest)
	}
	if err != nil {
		return nil, err
	}
	if got := message.Digest(e.Body); got != digest {
		return nil, fleet.Errorf(fleet.Failed, "what the broker keeps as %s is something else, with the digest %s", digest, got)
	}
	return e.Body, nil
}

// blobsPage is how many contents are asked after at once.
const blobsPage = 256

// BlobsUntil tells until when the broker keeps each of some contents, by its own
// clock; those that it does not have are left out. Their bodies stay where they are.
func (c *Conn) BlobsUntil(ctx context.Context, digests []string) (map[string]time.Time, error) {
	until := make(map[string]time.Time)
	for page := range slices.Chunk(digests, blobsPage) {
		filters := make([]string, len(page))
		for i, digest := range page {
			filters[i] = subjects.KeySubject(subjects.Blobs, digest)
		}
		err := c.Read(ctx, subjects.BucketStream(subjects.Blobs), ReadOptions{Filters: filters, Latest: true, Bare: true}, func(i Item) error {
			kept := subjects.MaxBlobAge
			if seconds, err := strconv.Atoi(first(i.Headers, headerKept)); err == nil {
				kept = min(kept, time.Duration(seconds)*time.Second)
			}
			until[subjects.KeyOfSubject(subjects.Blobs, i.Subject)] = i.At.Add(kept)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return until, nil
}

// PutBlob sends a content and returns before it is stored, under its digest and
// for so long. One that is there is replaced by the same, and kept for that long.
func (c *Conn) PutBlob(digest string, content []byte, keep time.Duration) (*PendingBlob, error) {
	msg := &nats.Msg{Subject: subjects.KeySubject(subjects.Blobs, digest), Data: content,
		Header: nats.Header{headerKept: {strconv.Itoa(int(keep.Seconds()))}}}
	sent, err := c.send(msg)
	if err != nil {
		return nil, kinded(err, storeBlob)
	}
	return &PendingBlob{sent}, nil
}

// storeBlob is what is done, for errors.
const storeBlob = "store a part of a file"

// PendingBlob is a content on its way into the store.
type PendingBlob struct{ sent }

// codeNotStored is how JetStream says that a bounded stream is full.
const codeNotStored = 10077

// Wait returns once the content is stored. The error is Busy where there is no
// room for it.
func (p *PendingBlob) Wait(ctx context.Context) error {
	_, err := p.wait(ctx)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == codeNotStored:
		return fleet.Errorf(fleet.Busy, "the broker's store of files is full: a file leaves it a day after its command's time is over, "+
			"see --expires, and `fairlead station --files-bytes` gives it more room: %w", err)
	case errors.Is(err, nats.ErrNoResponders):
		err = fmt.Errorf("the broker has no store of files: a station makes it when it starts, if the disk and the tenant's quota have room: %w", err)
	}
	return kinded(err, storeBlob)
}
