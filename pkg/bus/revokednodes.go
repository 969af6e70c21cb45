package bus

import (
	"context"
	"errors"
	"slices"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// RevokedNodes hands a keeper the lists of revoked nodes that its set names and
// that it does not have. The error is Unknown where one is not stored.
func (c *Conn) RevokedNodes(ctx context.Context, keeper *message.TrustKeeper) error {
	for ctx.Err() == nil {
		missing, names := keeper.Missing(), keeper.Current().RevokedNodes
		if len(missing) == 0 {
			return nil
		}
		for place, hash := range names {
			if !slices.Contains(missing, hash) {
				continue
			}
			body, err := c.revokedList(ctx, place, hash)
			if err == nil {
				err = keeper.AddRevoked(body)
			}
			if fleet.KindOf(err) == fleet.Refused || err != nil && !slices.Equal(names, keeper.Current().RevokedNodes) {
				break // another set is believed by now, with other lists
			}
			if err != nil {
				return err
			}
		}
	}
	return kinded(ctx.Err(), "read the lists of revoked nodes")
}

// RevokedLists are lists of revoked nodes that a trust set names. The error is
// Unknown where one is not stored.
func (c *Conn) RevokedLists(ctx context.Context, names []string) (bodies [][]byte, err error) {
	for place, hash := range names {
		body, err := c.revokedList(ctx, place, hash)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

// errFound ends a reading.
var errFound = errors.New("found")

// revokedList reads one. It may have been written over, by what is none or by the
// list of the next set, of which nobody here has heard.
func (c *Conn) revokedList(ctx context.Context, place int, hash string) (body []byte, err error) {
	find := func(e Entry) error {
		if !e.Deleted && message.HashRevoked(e.Body) == hash {
			body = e.Body
			return errFound
		}
		return nil
	}
	key := subjects.RevokedKey(place)
	e, err := c.Get(ctx, subjects.Revoked, key)
	if err == nil && find(e) != nil {
		return body, nil
	}
	if err == nil || fleet.KindOf(err) == fleet.Unknown && e.Deleted {
		err = c.History(ctx, subjects.Revoked, key, find)
	}
	switch {
	case errors.Is(err, errFound):
		return body, nil
	case err == nil, fleet.KindOf(err) == fleet.Unknown:
		return nil, fleet.Errorf(fleet.Unknown, "list %d of revoked nodes is not stored as the trust set names it: `fairlead tenant push` stores it, where the identities lie", place)
	}
	return nil, err
}

// putRevoked stores those of some lists that a trust set names and that are not
// there.
func (c *Conn) putRevoked(ctx context.Context, names []string, lists [][]byte) error {
	for place, hash := range names {
		at := slices.IndexFunc(lists, func(body []byte) bool { return message.HashRevoked(body) == hash })
		if at < 0 {
			if _, err := c.revokedList(ctx, place, hash); err != nil {
				return err
			}
			continue
		}
		e, err := c.Get(ctx, subjects.Revoked, subjects.RevokedKey(place))
		switch {
		case err != nil && fleet.KindOf(err) != fleet.Unknown:
			return err
		case err == nil && message.HashRevoked(e.Body) == hash:
			continue
		}
		change := Change{Key: subjects.RevokedKey(place), Document: message.Message{Body: lists[at]}, Expect: Any}
		if _, err := c.Put(ctx, subjects.Revoked, change); err != nil {
			return err
		}
	}
	return nil
}
