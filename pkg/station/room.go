package station

import (
	"context"

	"fairlead/pkg/fleet"
)

// A tenant's quota of nodes, which stations hold: the broker knows nothing of it.

// reserve keeps room for a node that is about to enter the register, until leave
// is called. The error is Busy where the tenant may have no more nodes. Joins at
// one station keep to that; those of the same moment at several may exceed it.
func (r *register) reserve(name string) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.room(); err != nil {
		return nil, err
	}
	r.entering[name]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.entering[name]--; r.entering[name] == 0 {
			delete(r.entering, name)
		}
	}, nil
}

// room reports whether the tenant may have one more node; the error is Busy. The
// lock is held.
func (r *register) room() error {
	most := r.station.trust.Current().MaxNodes
	if most == 0 {
		return nil
	}
	have := 0
	for name := range r.entering {
		if n, known := r.nodes[name]; !known || n.record.Key == "" {
			have++
		}
	}
	for _, n := range r.nodes {
		if n.record.Key != "" {
			have++
		}
	}
	return full(most, have)
}

func full(most, have int) error {
	if have < most {
		return nil
	}
	return fleet.Errorf(fleet.Busy, "the tenant may have %d nodes and has %d: remove one with `fairlead nodes rm`, or have the quota raised", most, have)
}

// admitted decides whether a node whose entry is written, at a sequence, is within
// the quota. Of nodes that entered in one moment, at whatever stations, those count
// before others that the broker stored before them, so all stations see it alike.
// The error is Busy where it is one too many.
func (r *register) admitted(ctx context.Context, name string, sequence uint64) error {
	most := r.station.trust.Current().MaxNodes
	if most == 0 {
		return nil
	}
	if err := r.until(ctx, sequence); err != nil {
		return err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	mine, there := r.nodes[name]
	if !there || mine.record.Key == "" {
		return fleet.Errorf(fleet.Conflict, "%s was removed this moment", name)
	}
	before := 0
	for _, n := range r.nodes {
		if n.record.Key != "" && n.entered < mine.entered {
			before++
		}
	}
	return full(most, before)
}

// until waits for the register to have heard of everything up to a sequence.
func (r *register) until(ctx context.Context, sequence uint64) error {
	for {
		r.mu.RLock()
		heard, moved := r.heard, r.moved
		r.mu.RUnlock()
		if heard >= sequence {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fleet.Errorf(fleet.Timeout, "the station is behind the register: %w", ctx.Err())
		}
	}
}

// hears notes up to where the register is known. The lock is held.
func (r *register) hears(sequence uint64) {
	if sequence > r.heard {
		r.heard = sequence
		close(r.moved)
		r.moved = make(chan struct{})
	}
}
