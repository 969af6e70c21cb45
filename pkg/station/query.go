package station

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Questions that a station answers, as the last token of their subject.
const (
	QueryNodes    = "nodes"    // NodesQuestion → NodesAnswer
	QueryNode     = "node"     // NodeQuestion → NodeDetail
	QueryCompiled = "compiled" // CompiledQuestion → CompiledAnswer
	QueryCommand  = "command"  // CommandQuestion → CommandAnswer
)

// Presence and sync of a node, in words. Unknown is never told as good.
const (
	Online   = "online"
	Offline  = "offline"
	NeverWas = "never seen"

	InSync   = "in sync"
	Pending  = "pending"   // desired is newer than what the node said
	FailedIn = "failed"    // the node tried the desired revision and it failed
	Unfit    = "unfit"     // the newest resources cannot be rendered for the node
	NoneDue  = "none"      // no resource selects the node
	Unsaid   = "unknown"   // the node has never said what it runs
	Drifted  = "different" // what nginx runs is not what the node proved
)

// NodesQuestion asks for nodes, a page at a time.
type NodesQuestion struct {
	Selector string   `json:"selector,omitempty"`
	Names    []string `json:"names,omitempty"` // only these
	After    string   `json:"after,omitempty"` // the last name of the page before
}

// NodesAnswer is one page, by name.
type NodesAnswer struct {
	Nodes []NodeStatus `json:"nodes"`
	More  bool         `json:"more"`
	Now   time.Time    `json:"now"` // the broker's clock
}

// nodesPage keeps an answer well under the broker's largest payload.
const nodesPage = 500

// NodeStatus is what a station knows of a node.
type NodeStatus struct {
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels,omitempty"`
	Address  string            `json:"address,omitempty"`
	Key      string            `json:"key,omitempty"`
	Presence string            `json:"presence"`
	LastSeen time.Time         `json:"lastSeen,omitzero"`
	Version  string            `json:"version,omitempty"` // the agent's

	Sync             string `json:"sync"`
	DesiredRevision  uint64 `json:"desiredRevision"`
	DesiredDigest    string `json:"desiredDigest,omitempty"`
	ObservedRevision uint64 `json:"observedRevision"`
	RunningDigest    string `json:"runningDigest,omitempty"`
	Waiting          int    `json:"waiting"` // commands without a final answer
	// Message says why the node is not in sync.
	Message string `json:"message,omitempty"`
}

// NodeQuestion asks for all about one node.
type NodeQuestion struct {
	Name string `json:"name"`
}

// NodeDetail is all that a station knows of a node.
type NodeDetail struct {
	NodeStatus
	Desired   DesiredSummary    `json:"desired,omitzero"`
	Reported  handlers.Reported `json:"reported,omitzero"`
	Lifecycle message.Lifecycle `json:"lifecycle,omitzero"`
	Health    json.RawMessage   `json:"health,omitempty"`
	Commands  []Waiting         `json:"commands,omitempty"`
	Recent    []Ended           `json:"recent,omitempty"`
	Now       time.Time         `json:"now"`
}

// DesiredSummary is a desired state without its resources.
type DesiredSummary struct {
	Revision  uint64    `json:"revision"`
	Digest    string    `json:"digest"`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
	Resources []string  `json:"resources"`
}

// CompiledQuestion waits until the fleet bucket's sequence is compiled.
type CompiledQuestion struct {
	Sequence uint64 `json:"sequence"`
}

// CompiledAnswer says what every node should be since then, and by which
// command it was told.
type CompiledAnswer struct {
	Nodes []CompiledNode `json:"nodes"`
	Now   time.Time      `json:"now"`
}

// CompiledNode is one node's newest desired state.
type CompiledNode struct {
	Name     string `json:"name"`
	Revision uint64 `json:"revision"`
	Digest   string `json:"digest"`
	Command  string `json:"command"` // id of the command that tells it
	Fault    string `json:"fault,omitempty"`
}

// CommandQuestion asks how far a command has come.
type CommandQuestion struct {
	ID string `json:"id"`
}

// CommandAnswer says so; State is empty where the station does not know it.
type CommandAnswer struct {
	State   message.State `json:"state,omitempty"`
	Waiting Waiting       `json:"waiting,omitzero"`
	Ended   Ended         `json:"ended,omitzero"`
}

func (s *Station) queries() []bus.Endpoint {
	return []bus.Endpoint{
		endpoint(QueryNodes, s.answerNodes),
		endpoint(QueryNode, s.answerNode),
		endpoint(QueryCompiled, s.answerCompiled),
		endpoint(QueryCommand, s.answerCommand),
	}
}

func endpoint[Question, Answer any](name string, handle func(context.Context, Question) (Answer, error)) bus.Endpoint {
	return bus.Endpoint{Name: name, Subject: subjects.Query(name), Handle: func(ctx context.Context, _ string, body []byte) (any, error) {
		var q Question
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "question %s: %w", name, err)
		}
		return handle(ctx, q)
	}}
}

func (s *Station) answerNodes(_ context.Context, q NodesQuestion) (NodesAnswer, error) {
	selector, err := fleet.ParseSelector(q.Selector)
	if err != nil {
		return NodesAnswer{}, err
	}
	answer := NodesAnswer{Now: s.clock.Now()}
	for _, record := range s.register.records() {
		if record.Name <= q.After || !selector.Matches(record.Labels) || len(q.Names) > 0 && !slices.Contains(q.Names, record.Name) {
			continue
		}
		if len(answer.Nodes) == nodesPage {
			answer.More = true
			break
		}
		answer.Nodes = append(answer.Nodes, s.status(record.Name, answer.Now))
	}
	return answer, nil
}

func (s *Station) answerNode(_ context.Context, q NodeQuestion) (NodeDetail, error) {
	if s.register.key(q.Name) == "" {
		return NodeDetail{}, fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", q.Name)
	}
	now := s.clock.Now()
	d := NodeDetail{NodeStatus: s.status(q.Name, now), Commands: s.ledger.waiting(q.Name), Recent: s.ledger.ends(q.Name), Now: now}
	desired, _ := s.compiler.of(q.Name)
	d.Desired = DesiredSummary{Revision: desired.Revision, Digest: desired.Digest, By: desired.By, At: desired.At}
	for _, r := range desired.Resources {
		d.Desired.Resources = append(d.Desired.Resources, r.ID())
	}
	s.register.mu.RLock()
	defer s.register.mu.RUnlock()
	n := s.register.nodes[q.Name]
	d.Reported, d.Lifecycle, d.Health = n.reported, n.lifecycle, n.health
	return d, nil
}

func (s *Station) answerCompiled(ctx context.Context, q CompiledQuestion) (CompiledAnswer, error) {
	if err := s.compiler.until(ctx, q.Sequence); err != nil {
		return CompiledAnswer{}, err
	}
	answer := CompiledAnswer{Now: s.clock.Now()}
	for _, record := range s.register.records() {
		d, fault := s.compiler.of(record.Name)
		n := CompiledNode{Name: record.Name, Revision: d.Revision, Digest: d.Digest, Fault: fault}
		if d.Revision > 0 {
			n.Command = CommandFor(record.Name, d.Desired).ID
		}
		answer.Nodes = append(answer.Nodes, n)
	}
	return answer, nil
}

func (s *Station) answerCommand(ctx context.Context, q CommandQuestion) (CommandAnswer, error) {
	if err := s.barrier.pass(ctx); err != nil {
		return CommandAnswer{}, err
	}
	var a CommandAnswer
	a.Waiting, a.Ended, a.State = s.ledger.find(q.ID)
	return a, nil
}

// status is what is known of a node at a moment of the broker's clock.
func (s *Station) status(name string, now time.Time) NodeStatus {
	desired, fault := s.compiler.of(name)
	waiting := len(s.ledger.waiting(name))
	s.register.mu.RLock()
	defer s.register.mu.RUnlock()
	n := s.register.nodes[name]
	st := NodeStatus{
		Name: name, Labels: n.record.Labels, Address: n.record.Address, Key: n.record.Key,
		Presence: presence(n, now), LastSeen: n.seen, Version: n.lifecycle.Version,
		DesiredRevision: desired.Revision, DesiredDigest: desired.Digest,
		ObservedRevision: n.reported.ObservedRevision, RunningDigest: n.reported.RunningDigest, Waiting: waiting,
	}
	st.Sync, st.Message = inSync(desired, fault, n)
	return st
}

func presence(n *node, now time.Time) string {
	switch {
	case n.seen.IsZero():
		return NeverWas
	case n.there(now):
		return Online
	}
	return Offline
}

func inSync(desired desiredEntry, fault string, n *node) (word, why string) {
	r := n.reported
	switch {
	case fault != "":
		return Unfit, fault
	case desired.Revision == 0:
		return NoneDue, ""
	case !n.said:
		return Unsaid, "the node has not said yet what it runs"
	case r.Revision == desired.Revision && r.Status == handlers.StatusFailed:
		return FailedIn, r.Message
	case r.ObservedRevision < desired.Revision:
		return Pending, "the node has not taken the newest revision yet"
	case r.RunningDigest != desired.Digest:
		return Drifted, "nginx runs something else than the node proved"
	}
	return InSync, ""
}
