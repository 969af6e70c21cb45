package station

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
	"time"
)

// token is what a station knows of a token.
type token struct {
	document message.Message // signed by a person
	record   TokenRecord
	uses     map[int]use
	next     int                        // no use below it is free
	nodes    map[string]TokenUse        // by name
	waiting  map[string]WaitingNode     // by name
	approved map[string]message.Message // by name, not verified
}

// use is a use that was taken, or was and is free again.
type use struct {
	TokenUse
	sequence uint64
	free     bool
}

// tokens are all tokens. What it knows may be a moment old: what must hold, the
// broker holds, by keys that are created once.
type tokens struct {
	station *Station
	mu      sync.Mutex
	byID    map[string]*token
}

func newTokens(s *Station) *tokens { return &tokens{station: s, byID: make(map[string]*token)} }

func (t *tokens) follow(ctx context.Context, caughtUp func()) error {
	return t.station.conn.Watch(ctx, subjects.Tokens, caughtUp, func(e bus.Entry) error {
		t.station.clock.Observe(e.At)
		t.mu.Lock()
		defer t.mu.Unlock()
		if err := t.take(e); err != nil {
			t.station.log.Warn("ignored an entry about a token", "key", e.Key, "error", err)
		}
		return nil
	})
}

// take reads an entry. The lock is held.
func (t *tokens) take(e bus.Entry) error {
	id, what, which, ok := subjects.ParseTokenKey(e.Key)
	if !ok {
		return fleet.Errorf(fleet.Invalid, "no such key is made by Fairlead")
	}
	k := t.of(id)
	switch what {
	case "":
		return k.takeRecord(id, e)
	case subjects.TokenUse:
		return k.takeUse(t.station, id, which, e)
	case subjects.TokenWaiting:
		return k.takeWaiting(t.station, which, e)
	case subjects.TokenApproved:
		m, err := e.Message(message.TokenApprovedSubject(id))
		if delete(k.approved, which); err == nil && !e.Deleted {
			k.approved[which] = m
		}
		return err
	}
	return fleet.Errorf(fleet.Invalid, "no such key is made by Fairlead")
}

// of returns what is known of a token, made if need be. The lock is held.
func (t *tokens) of(id string) *token {
	k, ok := t.byID[id]
	if !ok {
		k = &token{uses: make(map[int]use), next: 1, nodes: make(map[string]TokenUse), waiting: make(map[string]WaitingNode), approved: make(map[string]message.Message)}
		t.byID[id] = k
	}
	return k
}

func (k *token) takeRecord(id string, e bus.Entry) error {
	k.document, k.record = message.Message{}, TokenRecord{}
	if e.Deleted {
		return nil
	}
	m, err := e.Message(message.TokenSubject(id))
	if err != nil {
		return err
	}
	var r TokenRecord
	if err := json.Unmarshal(m.Body, &r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if r.ID() != id {
		return fleet.Errorf(fleet.Invalid, "the token %s is kept as %s", r.ID(), id)
	}
	k.document, k.record = m, r
	return nil
}

func (k *token) takeUse(s *Station, id, which string, e bus.Entry) error {
	n, err := strconv.Atoi(which)
	if err != nil || n < 1 || subjects.TokenUseKey(id, n) != e.Key {
		return fleet.Errorf(fleet.Invalid, "%q is not the number of a use", which)
	}
	// Whoever wrote it, it is not free: no station could take it. Free it is again
	// where a station says so.
	u := use{sequence: e.Sequence}
	defer func() { k.put(n, u) }()
	m, err := e.Message(message.TokenUseSubject(id))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, s.trust.Find, subjects.Station)
	}
	if e.Deleted {
		u.free = err == nil && m.Operation == bus.Delete
		return err
	}
	if err == nil {
		err = json.Unmarshal(m.Body, &u.TokenUse)
	}
	u.At = e.At
	return err
}

// put notes what became of a use.
func (k *token) put(n int, u use) {
	if old := k.uses[n]; !old.free && k.nodes[old.Node].Key == old.Key {
		delete(k.nodes, old.Node)
	}
	k.uses[n] = u
	if u.free {
		k.next = min(k.next, n)
	} else if u.Node != "" {
		k.nodes[u.Node] = u.TokenUse
	}
}

func (k *token) takeWaiting(s *Station, name string, e bus.Entry) error {
	delete(k.waiting, name)
	if e.Deleted {
		return nil
	}
	w, err := ReadWaiting(e, s.trust.Find)
	if err == nil {
		k.waiting[name] = w
	}
	return err
}

// good is a token that may be used now. The error says why it may not: Unknown,
// Expired or Refused. What is no token leaves nothing behind, whoever asks.
func (t *tokens) good(ctx context.Context, id string) (TokenRecord, error) {
	document, record := t.kept(id)
	if record.Key == "" { // perhaps it was made this moment
		e, err := t.station.conn.Get(ctx, subjects.Tokens, id)
		if fleet.KindOf(err) == fleet.Unknown {
			return record, fleet.Errorf(fleet.Unknown, "there is no token %s: it was removed, or its time is long over; ask for another one", ShortID(id))
		}
		if err != nil {
			return record, err
		}
		t.mu.Lock()
		err = t.take(e)
		t.mu.Unlock()
		if err != nil {
			return record, err
		}
		document, record = t.kept(id)
	}
	return record, t.station.believesToken(document, record)
}

// kept is a token as it was read, zero for none.
func (t *tokens) kept(id string) (document message.Message, record TokenRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.byID[id]; ok {
		return k.document, k.record
	}
	return document, record
}

// believesToken reports whether a token is good and made by who may make one. Its
// maker is asked for each time: who is revoked leaves no token behind.
func (s *Station) believesToken(document message.Message, r TokenRecord) error {
	if err := message.VerifyDocument(&document, s.trust.Find, subjects.Admin, subjects.Operator); err != nil {
		return fleet.Errorf(fleet.Refused, "the token %s was not made by who may make one: %w", ShortID(r.ID()), err)
	}
	if owner, _ := s.trust.Find(document.Key); !mayAddNodes(owner) {
		return fleet.Errorf(fleet.Refused, "the token %s was made by %s, who is limited and may not add nodes", ShortID(r.ID()), owner.Name)
	}
	if now := s.clock.Now(); !now.Before(r.Expires) {
		return fleet.Errorf(fleet.Expired, "the token was good until %s: ask for another one", r.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// madeBy is who made a token, as its document says.
func (t *tokens) madeBy(id string) string {
	document, _ := t.kept(id)
	return document.From
}

// ShortID is a token's id as people see it.
func ShortID(id string) string { return id[:min(len(id), 12)] }

// usedBy is the use of a token by a node, if there is one.
func (t *tokens) usedBy(id, node, key string) (TokenUse, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, ok := t.of(id).nodes[node]
	return u, ok && u.Key == key
}

// spend takes a use of a token for a node. Whoever creates the key of a use
// has it, so of two joins at once, at whatever stations, one finds it taken. The
// error is Conflict where none is left.
func (t *tokens) spend(ctx context.Context, record TokenRecord, by TokenUse) (n int, err error) {
	id := record.ID()
	m, err := t.station.signAs(message.TokenUseSubject(id), by)
	if err != nil {
		return 0, err
	}
	for {
		n, expect := t.freeUse(id, record.Uses)
		if n == 0 {
			return 0, fleet.Errorf(fleet.Conflict, "the token was used already (%s): ask for another one", times(record.Uses))
		}
		key := subjects.TokenUseKey(id, n)
		sequence, err := t.station.conn.Put(ctx, subjects.Tokens, bus.Change{Key: key, Document: m, Expect: expect})
		if err == nil {
			t.note(id, n, use{TokenUse: by, sequence: sequence})
			return n, nil
		}
		t.note(id, n, use{sequence: expect, free: true}) // as far as is known
		if fleet.KindOf(err) != fleet.Conflict {
			return 0, err
		}
		e, err := t.station.conn.Get(ctx, subjects.Tokens, key) // another station was faster
		if e.Key == "" {
			return 0, fleet.Errorf(fleet.Unavailable, "use %d of the token is being taken: try again: %w", n, err)
		}
		t.learn(e)
	}
}

func times(n int) string {
	if n == 1 {
		return "it is for one node"
	}
	return fmt.Sprintf("it is for %d nodes", n)
}

// freeUse is the first use that seems free and the sequence that its key is
// at; it is taken here, so that two joins at this station do not try the same.
func (t *tokens) freeUse(id string, most int) (n int, sequence uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.of(id)
	for n = k.next; n <= most; n++ {
		if u, known := k.uses[n]; !known || u.free {
			u.free = false
			k.uses[n], k.next = u, n+1
			return n, u.sequence
		}
	}
	return 0, 0
}

func (t *tokens) learn(e bus.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.take(e) // what cannot be read is a use nevertheless
}

func (t *tokens) note(id string, n int, u use) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(id).put(n, u)
}

// release gives a use back that led to no node.
func (t *tokens) release(ctx context.Context, id string, n int) error {
	t.mu.Lock()
	sequence := t.of(id).uses[n].sequence
	t.mu.Unlock()
	m := message.Message{Subject: message.TokenUseSubject(id), ID: message.NewID(), Operation: bus.Delete}
	m, err := t.station.sign(m)
	if err != nil {
		return err
	}
	sequence, err = t.station.conn.Put(ctx, subjects.Tokens, bus.Change{Key: subjects.TokenUseKey(id, n), Document: m, Expect: sequence})
	if err == nil {
		t.note(id, n, use{sequence: sequence, free: true})
	}
	return err
}

// signAs makes a signed document of the station's own.
func (s *Station) signAs(as subjects.Subject, body any) (message.Message, error) {
	return message.SignBody(as, s.cfg.Credentials.UserName(), "", body, s.cfg.Credentials)
}
