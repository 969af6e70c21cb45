package station

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Issuer makes the JWTs of nodes and of those who join; package identity has
// one. The error says what it may not issue.
type Issuer interface {
	// Issue makes a user's JWT, by its public key, that ends at a moment.
	Issue(role subjects.Role, name, user string, until time.Time) (string, error)
}

// JoinCandidate is what a join helper is told: who wants to become a node.
type JoinCandidate struct {
	Name    string            `json:"name"`
	Key     string            `json:"key"`
	Labels  map[string]string `json:"labels,omitempty"`
	Address string            `json:"address,omitempty"`
	Facts   fleet.Facts       `json:"facts"`
	Token   string            `json:"token"`   // its id
	TokenBy string            `json:"tokenBy"` // who made it
	Now     time.Time         `json:"now"`     // the broker's clock
}

// JoinVerdict is what a join helper answers. Labels are added to the node's and
// take the place of those of the same key.
type JoinVerdict struct {
	Allow   bool              `json:"allow"`
	Reason  string            `json:"reason,omitempty"` // of a refusal, for who joins
	Labels  map[string]string `json:"labels,omitempty"`
	Address string            `json:"address,omitempty"`
}

// TokenQuestion asks for what the holder of a token connects with.
type TokenQuestion struct {
	ID string `json:"id"`
}

// TokenAnswer gives it. It is of use to the holder of the token's key alone.
type TokenAnswer struct {
	JWT string    `json:"jwt"`
	Now time.Time `json:"now"`
}

func (s *Station) answerToken(ctx context.Context, q TokenQuestion) (TokenAnswer, error) {
	record, err := s.tokens.good(ctx, q.ID)
	if err != nil {
		return TokenAnswer{}, err
	}
	now := s.clock.Now()
	if record.Expires.Sub(now) > subjects.MaxTokenAge {
		return TokenAnswer{}, fleet.Errorf(fleet.Invalid, "the token is to be good for more than %s: make it with a shorter --ttl", subjects.MaxTokenAge)
	}
	token, err := s.cfg.Issuer.Issue(subjects.Join, record.ID(), record.Key, record.Expires)
	return TokenAnswer{token, now}, err
}

// join answers who wants to become a node. Whatever the answer, it is told as
// an event.
func (s *Station) join(ctx context.Context, subject string, body []byte) (any, error) {
	a := attempt{station: s, token: subjects.TokenOfJoin(subject)}
	reply, err := a.run(ctx, body)
	if err == nil && !reply.Waiting {
		s.tell(ctx, a.request.Name, message.LifecycleJoined, a.joined())
		s.log.Info("a node joined", "node", a.request.Name, "key", a.request.Key, "token", ShortID(a.token), "tokenBy", a.by)
	}
	if err != nil {
		s.joinRefused(ctx, &a, err)
		return nil, err
	}
	m, err := message.SignBody(message.JoinReplySubject(a.token), s.cfg.Credentials.UserName(), a.id, reply, s.cfg.Credentials)
	return message.Enclose(m), err
}

// attempt is one attempt to join.
type attempt struct {
	station *Station
	token   string // id
	id      string // the request's
	request message.JoinRequest
	record  TokenRecord
	by      string // who made the token
	node    NodeRecord
	at      uint64  // sequence of the name in the register
	spent   bool    // the token was used for this node already
	entered bool    // and the register has it
	gone    removal // of the node that had the name before
}

func (a *attempt) run(ctx context.Context, body []byte) (message.JoinReply, error) {
	for _, step := range []func() error{
		func() error { return a.read(body) },
		func() error { return a.allowed(ctx) },
		func() error { return a.free(ctx) },
		func() error { return a.ask(ctx) },
	} {
		if err := step(); err != nil {
			return message.JoinReply{}, err
		}
	}
	reply := message.JoinReply{Name: a.request.Name, Now: a.station.clock.Now(), Trust: message.Enclose(a.station.trust.Message())}
	var err error
	if reply.Waiting, err = a.approval(ctx); reply.Waiting || err != nil {
		return reply, err
	}
	if err := a.enter(ctx); err != nil {
		return message.JoinReply{}, err
	}
	reply.Labels = a.node.Labels
	reply.Node, reply.Renew, err = a.station.issue(a.node.Name, a.node.Key, reply.Now)
	return reply, err
}

// read takes the request apart and checks that it is whole: signed by the
// token's key, and by the key that it brings.
func (a *attempt) read(body []byte) error {
	var e message.Enclosed
	if err := json.Unmarshal(body, &e); err != nil {
		return fleet.Errorf(fleet.Invalid, "the request cannot be read: %w", err)
	}
	m, err := e.Message(message.JoinRequestSubject(a.token))
	if err != nil {
		return err
	}
	if json.Unmarshal(m.Body, &a.request) != nil { // only to say whose it claims to be
		return fleet.Errorf(fleet.Invalid, "the request cannot be read")
	}
	a.id = m.ID
	if err := m.CheckSignature(); err != nil {
		return err
	}
	if subjects.TokenID(m.Key) != a.token {
		return fleet.Errorf(fleet.Refused, "the request is signed by another key than the token's")
	}
	if err := fleet.CheckNode(a.request.Name); err != nil {
		return err
	}
	if err := checkFacts(a.request.Facts); err != nil {
		return err
	}
	return message.CheckHeld(message.ToJoin, a.token, a.request.Name, a.request.Key, a.request.Proof)
}

// allowed checks what the token allows.
func (a *attempt) allowed(ctx context.Context) (err error) {
	if a.record, err = a.station.tokens.good(ctx, a.token); err != nil {
		return err
	}
	a.by = a.station.tokens.madeBy(a.token)
	if err := a.record.allows(a.request.Name); err != nil {
		return err
	}
	labels, err := a.record.labels(a.request.Labels)
	a.node = NodeRecord{Name: a.request.Name, Key: a.request.Key, Labels: labels, Address: a.record.Address,
		Since: a.station.clock.Now().UTC().Truncate(time.Second)}
	return err
}

// free checks that name and key are nobody's. Who asks again, because the
// answer was lost, finds its own name and is answered again.
func (a *attempt) free(ctx context.Context) error {
	s, name := a.station, a.request.Name
	if owner, known := s.trust.Find(a.request.Key); owner.Why != "" {
		return fleet.Errorf(fleet.Refused, "%s: make another one", owner.Why)
	} else if known {
		return fleet.Errorf(fleet.Refused, "key %s is %s's: a node has one of its own", a.request.Key, owner.Name)
	}
	if other := s.register.holder(a.request.Key); other != "" && other != name {
		return fleet.Errorf(fleet.Conflict, "the key is that of node %s: a node has one of its own", other)
	}
	use, used := s.tokens.usedBy(a.token, name, a.request.Key)
	have, err := s.register.lookUp(ctx, name)
	a.at = have.sequence
	switch {
	case err != nil:
		return err
	case have.record.Key == "":
		if used && have.removed.at.After(use.At) {
			return fleet.Errorf(fleet.Refused, "%s joined with this token and was removed since: ask for another token", name)
		}
		a.spent, a.gone = used, have.removed
		leave, err := s.register.reserve(name) // so that nobody is asked for nothing
		if err == nil {
			leave()
		}
		return err
	case have.record.Key == a.request.Key && used:
		a.spent, a.entered, a.node = true, true, have.record
		return nil
	}
	return fleet.Errorf(fleet.Conflict, "there is a node %s already: choose another name with --name, or have it removed first with `fairlead nodes rm %s`", name, name)
}

// ask has the join helper decide, where there is one.
func (a *attempt) ask(ctx context.Context) error {
	if a.station.cfg.JoinHelper == nil || a.spent {
		return nil
	}
	verdict, err := a.station.cfg.JoinHelper(ctx, JoinCandidate{Name: a.node.Name, Key: a.node.Key, Labels: a.node.Labels, Address: a.node.Address,
		Facts: a.request.Facts, Token: a.token, TokenBy: a.by, Now: a.station.clock.Now()})
	if err == nil && verdict.Allow {
		if len(verdict.Labels) > 0 && a.node.Labels == nil {
			a.node.Labels = make(map[string]string)
		}
		maps.Copy(a.node.Labels, verdict.Labels)
		if verdict.Address != "" {
			a.node.Address = verdict.Address
		}
		err = errors.Join(fleet.CheckLabels(a.node.Labels).Err(), fleet.CheckAddress(verdict.Address))
	}
	if err != nil {
		a.station.log.Error("the join helper does not do its work", "node", a.node.Name, "error", err)
		return fleet.Errorf(fleet.Unavailable, "the station's join helper does not answer as it should: its log says why; try again later")
	}
	if !verdict.Allow {
		return fleet.Errorf(fleet.Refused, "the station's join helper refuses it: %s", clip(cmp.Or(verdict.Reason, "it gives no reason")))
	}
	return nil
}

// enter spends a use of the token and puts the node into the register. One
// that is stopped between the two goes on when it asks again.
func (a *attempt) enter(ctx context.Context) (err error) {
	if a.entered {
		if a.station.clock.Now().Sub(a.node.Since) > askedAgain {
			return nil // it is a node since long
		}
		return a.keepToQuota(ctx, 0)
	}
	leave, err := a.station.register.reserve(a.node.Name)
	if err != nil {
		return err
	}
	defer leave()
	if !a.gone.at.IsZero() { // what waits for the one that had the name is not this one's
		if _, err := a.station.endWaiting(ctx, a.node.Name, a.gone); err != nil {
			return err
		}
	}
	n := 0
	if !a.spent {
		use := TokenUse{Node: a.node.Name, Key: a.node.Key, At: a.station.clock.Now()}
		if n, err = a.station.tokens.spend(ctx, a.record, use); err != nil {
			return err
		}
	}
	m, err := SignRecord(a.node, a.station.cfg.Credentials.UserName(), a.station.cfg.Credentials)
	if err != nil {
		return err
	}
	sequence, err := a.station.conn.Put(ctx, subjects.Nodes, bus.Change{Key: a.node.Name, Document: m, Expect: a.at})
	if err == nil {
		a.station.register.enter(a.node, sequence)
		a.at = sequence
		if err := a.keepToQuota(ctx, n); err != nil {
			return err
		}
		a.waitsNoMore(ctx)
		return nil
	}
	if fleet.KindOf(err) != fleet.Conflict {
		return err // it may be there or not: who asks again finds out
	}
	a.release(ctx, n)
	return fleet.Errorf(fleet.Conflict, "another host took the name %s this moment: choose another one with --name", a.node.Name)
}

// askedAgain is how long a host may go on asking whose answer was lost. What was
// decided before the station it had asked was stopped is not known so long.
const askedAgain = 10 * time.Minute

// keepToQuota takes a node out again that has its entry, and no JWT yet, where
// others that entered in the same moment have taken the last place.
func (a *attempt) keepToQuota(ctx context.Context, use int) error {
	s := a.station
	full := s.register.admitted(ctx, a.node.Name, a.at)
	if fleet.KindOf(full) != fleet.Busy {
		return full
	}
	if err := a.leave(ctx); err != nil {
		return err
	}
	a.release(ctx, use)
	return full
}

// leave takes a node out of the register again that has no JWT yet.
func (a *attempt) leave(ctx context.Context) error {
	m, err := a.station.sign(message.Message{Subject: message.RegisterSubject(a.node.Name), ID: message.NewID(), Operation: bus.Delete})
	if err != nil {
		return err
	}
	_, err = a.station.conn.Put(ctx, subjects.Nodes, bus.Change{Key: a.node.Name, Document: m, Expect: a.at})
	if fleet.KindOf(err) == fleet.Conflict {
		return nil // somebody has written it since
	}
	return err
}

// release gives back a use of the token that led to no node, 0 for none.
func (a *attempt) release(ctx context.Context, use int) {
	if use == 0 {
		return
	}
	if err := a.station.tokens.release(ctx, a.token, use); err != nil {
		a.station.log.Warn("a use of a token led to no node and cannot be given back", "token", ShortID(a.token), "error", err)
	}
}

// issue makes a node's two JWTs. The one to renew with lives twice as long: a
// node that was away when its own ended comes back by itself.
func (s *Station) issue(name, key string, now time.Time) (node, renew string, err error) {
	if node, err = s.cfg.Issuer.Issue(subjects.Node, name, key, now.Add(s.cfg.NodeLife)); err != nil {
		return "", "", err
	}
	renew, err = s.cfg.Issuer.Issue(subjects.Renew, name, key, now.Add(2*s.cfg.NodeLife))
	return node, renew, err
}
