package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// The bucket Desired keeps parts of desired states too, below the key of the state and so
// for nobody but its node. They are not signed: the document that names them is.

// Part reads a part of the desired state with a key, and proves it. The error is as Blob's.
func (c *Conn) Part(ctx context.Context, key, digest string) ([]byte, error) {
	return c.content(ctx, subjects.Desired, subjects.PartKey(key, digest), digest)
}

// Whole is the desired state of a key with its resources in it, whether it is stored whole or
// in parts: those are read many at once, and proven. The error is Unknown where one lacks,
// and Invalid where it is something else.
func (c *Conn) Whole(ctx context.Context, key string, document []byte) ([]byte, error) {
	list, err := message.PartsOf(document)
	if err != nil || list == nil {
		return document, err
	}
	keys, parts := make([]string, list.Digests.Count()), make(map[string][]byte)
	for i := range keys {
		keys[i] = subjects.PartKey(key, list.Digests.At(i))
	}
	err = c.KeysAt(ctx, subjects.Desired, keys, Moment{}, func(e Entry) {
		if !e.Deleted {
			parts[e.Key] = e.Body
		}
	})
	if err != nil {
		return nil, err
	}
	return message.Whole(document, func(digest string) ([]byte, error) {
		if packed, there := parts[subjects.PartKey(key, digest)]; there {
			return packed, nil
		}
		return nil, fleet.Errorf(fleet.Unknown, "a part of the desired state %s is not kept any more: %s", key, digest)
	})
}

// PutParts stores parts of the desired state with a key, many under way at once.
func (c *Conn) PutParts(ctx context.Context, key string, parts [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, putPartsTime)
	defer cancel()
	var pending []sent
	for _, part := range parts {
		p, err := c.send(&nats.Msg{Subject: subjects.KeySubject(subjects.Desired, subjects.PartKey(key, message.Digest(part))), Data: part})
		if err != nil {
			return kinded(err, storePart)
		}
		if pending = append(pending, p); len(pending) >= putsUnderWay {
			if _, err := pending[0].wait(ctx); err != nil {
				return kinded(err, storePart)
			}
			pending = pending[1:]
		}
	}
	for i := range pending {
		if _, err := pending[i].wait(ctx); err != nil {
			return kinded(err, storePart)
		}
	}
	return nil
}

const (
	storePart    = "store a part of a desired state"
	putPartsTime = time.Minute
)

// StoredPart is where a part lies.
type StoredPart struct {
	Key      string // of the part
	Sequence uint64
}

// DropParts removes parts, and leaves those that were stored again since.
func (c *Conn) DropParts(ctx context.Context, parts []StoredPart) error {
	stream, err := c.js.Stream(ctx, subjects.BucketStream(subjects.Desired))
	for _, p := range parts {
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(subjects.KeySubject(subjects.Desired, p.Key)), jetstream.WithPurgeSequence(p.Sequence+1))
		}
	}
	return kinded(err, "remove parts of desired states")
}
