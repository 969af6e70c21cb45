package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fairlead/subjects"
)

// dedupeWindow is the shortest that nats-server takes: created-once subjects
// make retries harmless, a window costs the broker memory for every message,
// and it mistakes an id on two subjects for one message (see mistaken).
const dedupeWindow = 100 * time.Millisecond

// EnsureStorage makes the streams and buckets, or brings their settings up to
// date. Any number of stations may call it at once.
func (c *Conn) EnsureStorage(ctx context.Context, s subjects.Settings) error {
	var all, bounded []jetstream.StreamConfig // these are made with what room the others leave
	for _, bucket := range subjects.Buckets(s) {
		if bucket.MaxBytes > 0 {
			bounded = append(bounded, bucketConfig(bucket))
			continue
		}
		all = append(all, bucketConfig(bucket))
	}
	for _, stream := range subjects.Streams(s) {
		all = append(all, streamConfig(stream))
	}
	for _, cfg := range append(all, bounded...) {
		if err := c.ensure(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

// createTime bounds one creation: a cluster that elects a leader drops the
// question, and asking again is better than waiting.
const createTime = 5 * time.Second

// ensure makes a stream, or changes its settings where they are others. It
// creates first: the same creation by several at once is one, while updates in
// that moment meet a stream that is half made.
func (c *Conn) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	_, err := c.js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // with other settings
		_, err = c.js.UpdateStream(ctx, cfg)
	}
	if noRoom(err) {
		err = c.fit(ctx, cfg, err)
	}
	return kinded(err, "create stream "+cfg.Name)
}

func streamConfig(s subjects.Stream) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, Storage: jetstream.FileStorage,
		MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, MaxMsgsPerSubject: s.MaxPerSubject,
		Replicas: s.Replicas, DenyDelete: s.Immutable, DenyPurge: s.Immutable,
		AllowDirect: true, AllowMsgTTL: s.Ages, Duplicates: dedupeWindow, RePublish: republish(s.Shown),
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = -1
	}
	if cfg.MaxMsgsPerSubject == 0 {
		cfg.MaxMsgsPerSubject = -1
	}
	for _, source := range s.Sources {
		copied := &jetstream.StreamSource{Name: source.Stream, FilterSubject: source.Filter}
		if source.Filter == "" {
			copied.SubjectTransforms = []jetstream.SubjectTransformConfig{{Source: source.As.From, Destination: source.As.To}}
		}
		cfg.Sources = append(cfg.Sources, copied)
	}
	return cfg
}

// bucketConfig is a key-value bucket as every NATS client knows it, and in
// addition one whose keys can change together. It takes no roll-ups (a client's
// purge of a key), since the header of one write could remove every other key.
func bucketConfig(b subjects.Bucket) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: subjects.BucketStream(b.Name), Subjects: []string{subjects.KeySubject(b.Name, ">")},
		Storage: jetstream.FileStorage, MaxMsgsPerSubject: int64(b.History), MaxBytes: b.MaxBytes,
		MaxAge: b.MaxAge, AllowMsgTTL: b.Ages, Replicas: b.Replicas, Discard: jetstream.DiscardNew, DenyDelete: true,
		AllowDirect: true, AllowAtomicPublish: b.Atomic, Duplicates: dedupeWindow, RePublish: republish(b.Shown),
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = -1
	}
	return cfg
}

func republish(t *subjects.Transform) *jetstream.RePublish {
	if t == nil {
		return nil
	}
	return &jetstream.RePublish{Source: t.From, Destination: t.To, HeadersOnly: t.Bare}
}

// StreamState is what a stream holds at one moment of the broker's clock.
type StreamState struct {
	Messages, Bytes, First, Last uint64
	Now                          time.Time
}

// State asks a stream for its state.
func (c *Conn) State(ctx context.Context, stream string) (StreamState, error) {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return StreamState{}, kinded(err, "ask stream "+stream)
	}
	info := s.CachedInfo()
	return StreamState{
		Messages: info.State.Msgs, Bytes: info.State.Bytes,
		First: info.State.FirstSeq, Last: info.State.LastSeq, Now: info.TimeStamp,
	}, nil
}
