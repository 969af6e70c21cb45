package station

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// nobody stands in the place of a node's name where one was asked for that is
// no name.
const nobody = "-"

// tell stores an event about a node's identity, and so puts it into the audit.
func (s *Station) tell(ctx context.Context, node, event, text string) {
	s.tellAs(ctx, message.NewID(), node, event, text)
}

func (s *Station) tellAs(ctx context.Context, id, node, event, text string) {
	if fleet.CheckNode(node) != nil {
		node = nobody
	}
	body, err := json.Marshal(message.Lifecycle{Event: event, Message: clip(text)})
	var m message.Message
	if err == nil {
		m, err = s.sign(message.Message{ID: id, Body: body,
			Subject: subjects.Subject{Node: node, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: message.IdentityDomain}})
	}
	if err == nil {
		_, err = s.conn.Publish(ctx, m)
	}
	if err != nil && fleet.KindOf(err) != fleet.Conflict { // another station told it
		s.log.Error("an event of a node's identity is not in the audit", "node", node, "event", event, "text", text, "error", err)
	}
}

// tellRemoved tells which nodes were taken out of the register, and by whom. The
// events' ids follow from the deletions: whichever station tells one, it is
// there once.
func (s *Station) tellRemoved(ctx context.Context) error {
	s.register.mu.Lock()
	removed := s.register.removed
	s.register.removed = nil
	s.register.mu.Unlock()
	for _, e := range removed {
		by := "somebody who did not sign it"
		if m, err := e.Message(message.RegisterSubject(e.Key)); err == nil {
			if owner, err := message.VerifyStored(&m, e.At, s.trust.Find, recordWriters...); err == nil {
				by = owner.Name
				if m.Note != "" {
					by += ": " + m.Note
				}
			}
		}
		seed := sha256.Sum256(fmt.Appendf(nil, "removed %s %d", e.Key, e.Sequence))
		s.tellAs(ctx, message.DerivedID(e.At, seed[:]), e.Key, message.LifecycleRemoved, "removed from the register by "+by)
	}
	return nil
}

// joined is what the audit says of a node that joined.
func (a *attempt) joined() string {
	return fmt.Sprintf("joined with token %s of %s: key %s", ShortID(a.token), a.by, a.request.Key)
}

// joinRefused puts a refusal into the audit, but not each of very many: who has
// a token must not be able to fill it.
func (s *Station) joinRefused(ctx context.Context, a *attempt, why error) {
	s.log.Warn("a join was refused", "node", clip(a.request.Name), "key", clip(a.request.Key), "token", ShortID(a.token), "error", why)
	if s.refusals.more(a.token) {
		s.tell(ctx, a.request.Name, message.LifecycleJoinRefused,
			fmt.Sprintf("%v (token %s, name %q, key %s)", why, ShortID(a.token), clip(a.request.Name), clip(a.request.Key)))
	}
}

// refusals counts those of each token.
type refusals struct {
	mu      sync.Mutex
	since   time.Time
	byToken map[string]int
}

// refusalsMost is how many refusals of one token are told in refusalsEvery.
const (
	refusalsMost  = 20
	refusalsEvery = 10 * time.Minute
)

// more reports whether one more may be told.
func (r *refusals) more(token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byToken == nil || time.Since(r.since) > refusalsEvery {
		r.since, r.byToken = time.Now(), make(map[string]int)
	}
	r.byToken[token]++
	return r.byToken[token] <= refusalsMost
}
