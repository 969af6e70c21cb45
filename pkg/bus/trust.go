package bus

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// NewestTrust offers to a keeper what was stored as trust set since it was last
// called: at each connection the newest one, later on nothing where there is
// nothing new, which costs a hundred bytes. Where the newest is signed by a key that the
// keeper does not know yet, because signers changed since, the older ones are
// offered before it, in order, and each is read once however often that is. What
// cannot be accepted is logged and no error; an error says that the bucket was not read.
func (c *Conn) NewestTrust(ctx context.Context, keeper *message.TrustKeeper) error {
	c.trustMu.Lock()
	defer c.trustMu.Unlock()
	if c.trust.keeper != keeper {
		c.trust = trustRead{keeper: keeper}
	}
	if here := c.time.Load(); c.trust.in != here {
		if err := c.firstTrust(ctx); err != nil {
			return err
		}
		c.trust.in = here
		return nil
	}
	return c.laterTrust(ctx)
}

// trustRead is how far the trust sets that are stored were read, for a keeper.
type trustRead struct {
	keeper   *message.TrustKeeper
	in       *period // the newest was read in this one
	sequence uint64
	at       time.Time
}

// read notes how far.
func (r *trustRead) read(s message.Stored) { r.sequence, r.at = s.Sequence, s.At }

// firstTrust reads the newest set at a connection: what is stored may be another
// stream than at the one before, in which sequences begin anew.
func (c *Conn) firstTrust(ctx context.Context) error {
	newest, err := c.lastOn(ctx, subjects.BucketStream(subjects.Trust), subjects.KeySubject(subjects.Trust, subjects.TrustKey))
	if err != nil || newest == nil {
		return err
	}
	r := &c.trust
	switch {
	case newest.Sequence == r.sequence && newest.At.Equal(r.at): // judged before
		return nil
	case c.offer(*newest, r.keeper) == nil:
		r.read(*newest)
		return nil
	case newest.Sequence < r.sequence || newest.At.Before(r.at):
		*r = trustRead{keeper: r.keeper}
	}
	return c.laterTrust(ctx)
}

// laterTrust reads what is stored behind what was read. What is no trust set
// that may follow is no step on the way; the last one is told of.
func (c *Conn) laterTrust(ctx context.Context) error {
	r := &c.trust
	var refused error
	for range trustPages {
		before := r.sequence
		read := map[string]any{"seq": r.sequence + 1, "next_by_subj": subjects.KeySubject(subjects.Trust, subjects.TrustKey), "batch": trustPage}
		err := c.directAll(ctx, subjects.BucketStream(subjects.Trust), read, func(stored message.Stored) {
			refused = c.offer(stored, r.keeper)
			r.read(stored)
		})
		if err != nil {
			return kinded(err, "read the history of the trust set")
		}
		if r.sequence == before {
			break
		}
	}
	if refused != nil {
		c.log.Warn("ignored the stored trust set", "error", refused)
	}
	return nil
}

// trustPage is how many trust sets one question brings, and trustPages how many
// are asked: more than the bucket keeps, so that nobody who writes on and on
// keeps a reader.
const (
	trustPage  = 16
	trustPages = 5
)

// FollowTrust offers every trust set that is stored from now on to a keeper,
// and calls accepted, which may be nil, after each that it took.
func (c *Conn) FollowTrust(keeper *message.TrustKeeper, accepted func()) (*Subscription, error) {
	return c.listen(subjects.TrustShown, func(msg *nats.Msg) {
		stored, ok := fromShown(msg)
		if !ok {
			c.log.Warn("ignored a trust set that no stream keeps")
			return
		}
		before := keeper.Current().Version
		if err := c.follow(context.Background(), stored, keeper); err != nil {
			c.log.Warn("the trust set cannot be read", "error", err)
		}
		if accepted != nil && keeper.Current().Version > before {
			accepted()
		}
	})
}

// WatchTrust offers the stored trust set to a keeper, and every later one, until
// ctx ends; caughtUp is called once between the two. each, which runs in the
// goroutine of the caller, sees what is stored, accepted or not.
func (c *Conn) WatchTrust(ctx context.Context, keeper *message.TrustKeeper, caughtUp func(), each func(message.Message) error) error {
	options := ReadOptions{Filter: subjects.KeySubject(subjects.Trust, subjects.TrustKey), Latest: true, Follow: true, CaughtUp: caughtUp}
	return c.Read(ctx, subjects.BucketStream(subjects.Trust), options, func(i Item) error {
		if err := c.follow(ctx, i.Stored, keeper); err != nil {
			return err
		}
		return each(trustDocument(i.Stored))
	})
}

// trustTime bounds the reading of the trust set when a new one was heard.
const trustTime = 30 * time.Second

// follow offers what was stored, and where that cannot be accepted by itself
// reads what leads to it.
func (c *Conn) follow(ctx context.Context, stored message.Stored, keeper *message.TrustKeeper) error {
	before := keeper.Current().Version
	err := c.offer(stored, keeper)
	if c.judged(stored, keeper, keeper.Current().Version > before) || err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	return c.NewestTrust(ctx, keeper)
}

// judged reports whether what is heard was read before. What was accepted need
// not be read again, nor what is older; a sequence that was there before and is of
// another moment is of another stream.
func (c *Conn) judged(stored message.Stored, keeper *message.TrustKeeper, accepted bool) bool {
	c.trustMu.Lock()
	defer c.trustMu.Unlock()
	r := &c.trust
	switch {
	case r.keeper != keeper || stored.Sequence > r.sequence:
	case stored.At.After(r.at):
		*r = trustRead{keeper: keeper}
	default:
		return true
	}
	if accepted && r.keeper == keeper {
		r.read(stored)
	}
	return false
}

// offer hands a stored trust set to a keeper. The error is that it cannot be
// accepted; one that is known or older is nothing to act upon.
func (c *Conn) offer(stored message.Stored, keeper *message.TrustKeeper) error {
	err := keeper.Offer(trustDocument(stored))
	switch fleet.KindOf(err) {
	case "":
		c.log.Info("trust set", "version", keeper.Current().Version)
	case fleet.Conflict:
		c.log.Debug("the trust set that is stored is not newer", "error", err)
	case fleet.Internal:
		c.log.Error("the trust set holds until the end of this process", "error", err)
	default:
		return err
	}
	return nil
}

// trustDocument is a stored entry of the bucket as a trust set; one that is
// malformed has no signature that fits.
func trustDocument(s message.Stored) message.Message {
	m, faults := message.DecodeAs(message.TrustSubject(), s.Headers, s.Body)
	if len(faults) > 0 {
		m.Signature = ""
	}
	return m
}

// StoredTrust is the trust set that is stored, whoever signed it; the error is
// Unknown where there is none.
func (c *Conn) StoredTrust(ctx context.Context) (message.Message, error) {
	e, err := c.Get(ctx, subjects.Trust, subjects.TrustKey)
	if err != nil {
		return message.Message{}, err
	}
	m := trustDocument(message.Stored{Headers: e.Headers, Body: e.Body})
	_, err = message.OpenTrust(m)
	return m, err
}

// PutTrust stores a trust set, and before it the lists of revoked nodes that it
// names, unless what is stored is as new and signed by a key that this set knows:
// then the error is Conflict, or nil where it is the same. Anything else that
// lies there is no trust set that could follow. The error is Unknown where a list
// is neither given nor stored.
func (c *Conn) PutTrust(ctx context.Context, m message.Message, lists ...[]byte) error {
	set, err := message.OpenTrust(m)
	if err != nil {
		return err
	}
	listed := false
	for {
		e, err := c.Get(ctx, subjects.Trust, subjects.TrustKey)
		if err != nil && fleet.KindOf(err) != fleet.Unknown {
			return err
		}
		if err == nil {
			there := trustDocument(message.Stored{Headers: e.Headers, Body: e.Body})
			switch have, err := message.OpenTrust(there); {
			case err != nil || have.Account != set.Account || there.Key != m.Key && !slices.Contains(set.Signers, there.Key):
			case have.Version == set.Version && there.Signature == m.Signature:
				return c.putRevoked(ctx, set.RevokedNodes, lists)
			case have.Version >= set.Version:
				return fleet.Errorf(fleet.Conflict, "trust set %d is stored, and trust set %d is not newer", have.Version, set.Version)
			}
		}
		if !listed {
			if err := c.putRevoked(ctx, set.RevokedNodes, lists); err != nil {
				return err
			}
			listed = true
		}
		// Once more to see that it lies there: somebody may have been faster, and
		// one that was stored a moment before counts as a repetition.
		if _, err := c.Put(ctx, subjects.Trust, Change{Key: subjects.TrustKey, Document: m, Expect: e.Sequence}); err != nil && fleet.KindOf(err) != fleet.Conflict {
			return err
		}
		select {
		case <-ctx.Done():
			return fleet.Errorf(fleet.Timeout, "store trust set %d: %w", set.Version, ctx.Err())
		case <-time.After(dedupeWindow / 10):
		}
	}
}
