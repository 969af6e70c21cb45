package station

import (
	"context"
	"encoding/json"
	"maps"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// SignApproval makes the signed document by which a person lets a node in that
// waits: this very key, under this name and with these labels.
func SignApproval(w WaitingNode, from string, signer message.Signer) (message.Message, error) {
	return message.SignBody(message.TokenApprovedSubject(w.Token), from, "", w, signer)
}

// ReadWaiting reads the document of a node that waits, as a station signed it.
func ReadWaiting(e bus.Entry, trust message.Trust) (w WaitingNode, err error) {
	id, what, name, ok := subjects.ParseTokenKey(e.Key)
	if !ok || what != subjects.TokenWaiting {
		return w, fleet.Errorf(fleet.Invalid, "%s is no key of a node that waits", e.Key)
	}
	m, err := e.Message(message.TokenWaitingSubject(id))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, trust, subjects.Station)
	}
	if err == nil {
		err = json.Unmarshal(m.Body, &w)
	}
	if err == nil && (w.Node != name || w.Token != id) {
		err = fleet.Errorf(fleet.Invalid, "what waits as %s says it is %s", name, w.Node)
	}
	return w, err
}

// approval reports whether the node still waits for a person's word. One that
// asks for the first time is written down, for people to see.
func (a *attempt) approval(ctx context.Context) (waits bool, err error) {
	if !a.record.Approve || a.spent {
		return false, nil
	}
	s, name := a.station, a.node.Name
	waiting, known, count, approval := s.tokens.waitingAs(a.token, name)
	if s.approves(approval, a.node) {
		return false, nil
	}
	switch {
	case known && waiting.Key != a.node.Key:
		return false, fleet.Errorf(fleet.Conflict, "another host waits for its approval as %s: choose another name with --name", name)
	case known && maps.Equal(waiting.Labels, a.node.Labels):
		return true, nil
	case !known && count >= a.record.Uses:
		return false, fleet.Errorf(fleet.Busy, "as many hosts wait for approval as the token has uses (%d)", a.record.Uses)
	}
	facts := a.request.Facts
	facts.Features, facts.Modules = nil, nil // of no use to who decides
	w := WaitingNode{Token: a.token, Node: name, Key: a.node.Key, Labels: a.node.Labels, Facts: facts, At: s.clock.Now()}
	m, err := s.signAs(message.TokenWaitingSubject(a.token), w)
	if err != nil {
		return false, err
	}
	_, err = s.conn.Put(ctx, subjects.Tokens, bus.Change{Key: subjects.TokenWaitingKey(a.token, name), Document: m, Expect: bus.Any})
	if err == nil {
		s.tokens.waits(w)
		s.tell(ctx, name, message.LifecycleWaiting, "wants to join and waits for its approval: key "+w.Key)
	}
	return true, err
}

// approves reports whether a document is a person's approval of a node. Its
// author is asked for each time, as a token's is.
func (s *Station) approves(m message.Message, node NodeRecord) bool {
	if message.VerifyDocument(&m, s.trust.Find, subjects.Admin, subjects.Operator) != nil {
		return false
	}
	owner, _ := s.trust.Find(m.Key)
	var w WaitingNode
	return json.Unmarshal(m.Body, &w) == nil && mayAddNodes(owner) &&
		w.Node == node.Name && w.Key == node.Key && maps.Equal(w.Labels, node.Labels)
}

// mayAddNodes reports whether a person is not limited to some nodes, or to
// methods that change none.
func mayAddNodes(owner message.Trusted) bool {
	return len(owner.Nodes) == 0 && owner.May(handlers.MethodNginxConfig)
}

// waitsNoMore takes a node that has joined from the list of those that wait.
func (a *attempt) waitsNoMore(ctx context.Context) {
	if !a.record.Approve {
		return
	}
	m, err := a.station.sign(message.Message{Subject: message.TokenWaitingSubject(a.token), ID: message.NewID(), Operation: bus.Delete})
	if err == nil {
		key := subjects.TokenWaitingKey(a.token, a.node.Name)
		_, err = a.station.conn.Put(ctx, subjects.Tokens, bus.Change{Key: key, Document: m, Expect: bus.Any})
	}
	if err != nil {
		a.station.log.Warn("a node that has joined is still shown as waiting", "node", a.node.Name, "error", err)
	}
}

// waitingAs is the node that waits under a name, how many wait with the token,
// and the document of an approval, which nobody has verified.
func (t *tokens) waitingAs(id, name string) (w WaitingNode, known bool, count int, approval message.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.of(id)
	w, known = k.waiting[name]
	return w, known, len(k.waiting), k.approved[name]
}

func (t *tokens) waits(w WaitingNode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(w.Token).waiting[w.Node] = w
}
