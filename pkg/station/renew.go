package station

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// FormerKey is a key that a node had. What it signed counts when it was stored
// before Until.
type FormerKey struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"` // the broker's clock
}

// A node that takes another key may still hold answers that the former one
// signed: they count for as long as formerLife. formerMost bounds the list.
const (
	formerLife = 24 * time.Hour
	formerMost = 8
)

// keyAt is the key that proves what a node signed with another at a moment: that
// other, where it was the node's then, else the node's present one.
func (r NodeRecord) keyAt(key string, at time.Time) string {
	for _, f := range r.Former {
		if f.Key == key && at.Before(f.Until) {
			return key
		}
	}
	return r.Key
}

// renew answers a node that wants new JWTs, and takes its new key if it has one.
func (s *Station) renew(ctx context.Context, subject string, body []byte) (any, error) {
	name := subjects.NodeOfRenew(subject)
	var e message.Enclosed
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "the request cannot be read: %w", err)
	}
	m, err := e.Message(message.RenewSubject(name))
	if err == nil {
		err = m.CheckSignature()
	}
	var q message.RenewRequest
	if err == nil {
		err = json.Unmarshal(m.Body, &q)
	}
	if err != nil {
		return nil, err
	}
	if q.Rename != nil {
		return s.rename(ctx, name, m.Key, q)
	}
	event := message.LifecycleRenewed
	if err := s.mayRenew(ctx, name, m.Key, q); err != nil {
		s.log.Warn("a node's identity was not renewed", "node", name, "key", m.Key, "error", err)
		return nil, err
	}
	if q.Key != m.Key {
		event = message.LifecycleRotated
	}
	reply, err := s.renewal(name, q.Key)
	if err == nil {
		s.tell(ctx, name, event, "key "+q.Key+", good until "+reply.Now.Add(s.cfg.NodeLife).UTC().Format(time.RFC3339))
	}
	return reply, err
}

// renewal is the answer that gives a node its JWTs.
func (s *Station) renewal(name, key string) (r message.RenewReply, err error) {
	r.Now, r.Trust = s.clock.Now(), message.Enclose(s.trust.Message())
	r.Node, r.Renew, err = s.issue(name, key, r.Now)
	return r, err
}

// mayRenew checks who asks, by the register as the broker has it now, and puts
// a new key there. Who asks again, because the answer was lost, finds its new
// key there already.
func (s *Station) mayRenew(ctx context.Context, name, asks string, q message.RenewRequest) error {
	if err := s.mayBeNodes(asks, q.Key); err != nil {
		return err
	}
	have, err := s.register.lookUp(ctx, name)
	if err != nil {
		return err
	}
	record := have.record
	switch {
	case record.Key == "":
		return fleet.Errorf(fleet.Refused, "%s is not in the register: it was removed; join again with a new token", name)
	case record.Key == asks && q.Key == asks:
		return nil
	case record.Key == q.Key && record.keyAt(asks, s.clock.Now()) == asks:
		return message.CheckHeld(message.ToRenew, name, name, q.Key, q.Proof)
	case record.Key != asks:
		return fleet.Errorf(fleet.Refused, "the register has another key for %s: join again with a new token", name)
	}
	if err := message.CheckHeld(message.ToRenew, name, name, q.Key, q.Proof); err != nil {
		return err
	}
	if other := s.register.holder(q.Key); other != "" {
		return fleet.Errorf(fleet.Conflict, "the new key is or was that of node %s", other)
	}
	return s.rekey(ctx, record, q.Key, have.sequence)
}

// mayBeNodes holds that keys are nobody's whom the trust set names, and not taken back.
func (s *Station) mayBeNodes(keys ...string) error {
	for _, key := range keys {
		if owner, known := s.trust.Find(key); known || owner.Why != "" {
			if owner.Why != "" {
				return fleet.Errorf(fleet.Refused, "%s: join again with a new token", owner.Why)
			}
			return fleet.Errorf(fleet.Refused, "key %s is %s's", key, owner.Name)
		}
	}
	return nil
}

func (s *Station) rekey(ctx context.Context, record NodeRecord, key string, at uint64) error {
	former := append([]FormerKey{{record.Key, s.clock.Now().Add(formerLife)}}, record.Former...)
	record.Former = slices.Clip(former[:min(len(former), formerMost)])
	record.Key = key
	m, err := SignRecord(record, s.cfg.Credentials.UserName(), s.cfg.Credentials)
	if err != nil {
		return err
	}
	sequence, err := s.conn.Put(ctx, subjects.Nodes, bus.Change{Key: record.Name, Document: m, Expect: at})
	if err == nil {
		s.register.enter(record, sequence)
	}
	return err
}
