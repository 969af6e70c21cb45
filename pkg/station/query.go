package station

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// Questions that a station answers, as the last token of their subject.
const (
	QueryNodes    = "nodes"    // NodesQuestion → NodesAnswer
	QuerySummary  = "summary"  // NodesQuestion → Summary
	QueryNode     = "node"     // NodeQuestion → NodeDetail
	QueryCompiled = "compiled" // CompiledQuestion → CompiledAnswer
	QueryCommand  = "command"  // CommandQuestion → CommandAnswer
	QueryWaiting  = "waiting"  // WaitingQuestion → WaitingAnswer
	QueryKey      = "key"      // KeyQuestion → KeyAnswer
	QueryCurve    = "curve"    // CurveQuestion → CurveAnswer
	QueryReseal   = "reseal"   // ResealQuestion → ResealAnswer
	QueryToken    = "token"    // TokenQuestion → TokenAnswer
	QueryRollouts = "rollouts" // RolloutsQuestion → RolloutsAnswer
	QueryRemoved  = "removed"  // RemovedQuestion → RemovedAnswer
)

// Sync of a node, in words. Unknown is never told as good.
const (
	InSync   = "in sync"
	Pending  = "pending"   // desired is newer than what the node said
	Partial  = "partial"   // some resources of the desired revision are held back on the node, the others serve
	FailedIn = "failed"    // the node tried the desired revision and it failed
	Unfit    = "unfit"     // the newest resources, or some of them, are not for the node: it cannot take them
	NoneDue  = "none"      // no resource selects the node
	Unsaid   = "unknown"   // the node has never said what it runs
	Drifted  = "different" // what nginx runs, or a file, is not what the node proved
)

// Bounds of an answer, under the broker's largest payload of 1 MiB.
const (
	mostNodes    = 8192
	mostBytes    = 900 << 10
	mostCommands = 500 // waiting ones of a NodeDetail
	mostHealth   = 64 << 10
)

// page counts what an answer holds.
type page struct{ items, bytes int }

// takes makes an item of an answer, and reports whether there is room for it.
func (p *page) takes(item any, most int) (json.RawMessage, bool) {
	text, _ := json.Marshal(item) // of plain fields: cannot fail
	if p.items > 0 && (p.items == most || p.bytes+len(text) > mostBytes) {
		return nil, false
	}
	p.items, p.bytes = p.items+1, p.bytes+len(text)+1
	return text, true
}

// among makes a test of names, for which all pass where there are none.
func among(names []string) func(name string) bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return func(name string) bool { return len(set) == 0 || set[name] }
}

// NodeStatus is what a station knows of a node.
type NodeStatus struct {
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels,omitempty"`
	Address  string            `json:"address,omitempty"`
	Key      string            `json:"key,omitempty"`
	Presence string            `json:"presence"`
	LastSeen time.Time         `json:"lastSeen,omitzero"`
	// Agents are those that live under the node's name: all of a duplicate, and
	// in a NodeDetail that of every node that sends heartbeats.
	Agents  []Instance `json:"agents,omitempty"`
	Version string     `json:"version,omitempty"` // the agent's

	Sync             string `json:"sync"`
	DesiredRevision  uint64 `json:"desiredRevision"`
	DesiredDigest    string `json:"desiredDigest,omitempty"`
	ObservedRevision uint64 `json:"observedRevision"`
	RunningDigest    string `json:"runningDigest,omitempty"`
	Waiting          int    `json:"waiting"` // commands without a final answer
	// Drained is who took the node out of selections and rollouts; nil where it is in.
	Drained *Drain `json:"drained,omitempty"`
	// LinkToday is how many bytes the node's link carried on this UTC day; 0 where
	// it did not tell.
	LinkToday uint64 `json:"linkTodayBytes,omitempty"`
	// Expiring is the certificate of the node that expires first.
	Expiring *nginx.ServedCertificate `json:"expiring,omitempty"`
	// JWTUntil is when the node's own JWT ends, by what it said last.
	JWTUntil time.Time `json:"jwtUntil,omitzero"`
	// AsOf is when the node was there last, where it is not: the rest is what it said till then.
	AsOf time.Time `json:"asOf,omitzero"`
	// Message says why the node is not in sync.
	Message string `json:"message,omitempty"`
}

// Stale reports whether a node was in sync when it was there last, and is not there now.
func (n NodeStatus) Stale() bool {
	return n.Sync == InSync && (n.Presence == Offline || n.Presence == NeverWas)
}

// There reports whether somebody lives under the node's name.
func (n NodeStatus) There() bool { return n.Presence == Online || n.Presence == Duplicate }

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
	Facts     *fleet.Facts      `json:"facts,omitempty"` // what the node says of itself
	Health    json.RawMessage   `json:"health,omitempty"`
	Rollout   *NodeRollout      `json:"rollout,omitempty"`  // that is under way on it
	Renamed   *Renamed          `json:"renamed,omitempty"`  // how it got its name, if it had another before
	Commands  []Waiting         `json:"commands,omitempty"` // the first of those that wait
	Recent    []Ended           `json:"recent,omitempty"`
	Now       time.Time         `json:"now"`
}

// DesiredSummary is a desired state without its resources.
type DesiredSummary struct {
	Revision  uint64    `json:"revision"`
	Digest    string    `json:"digest"`
	By        string    `json:"by,omitempty"`
	Message   string    `json:"message,omitempty"` // why, in the words of who changed it
	Cause     uint64    `json:"cause,omitempty"`   // the revision of a resource that made it another
	Rollout   string    `json:"rollout,omitempty"` // that made it another instead
	At        time.Time `json:"at"`
	Resources []string  `json:"resources"`
	// Unfit are those that select the node and that it cannot take.
	Unfit []nginx.Unfit `json:"unfit,omitempty"`
}

// CompiledQuestion waits until the fleet bucket's sequence is compiled, and
// asks for nodes, a page at a time.
type CompiledQuestion struct {
	Sequence uint64   `json:"sequence"`
	Names    []string `json:"names,omitempty"` // only these
	After    string   `json:"after,omitempty"` // the last name of the page before
}

// CompiledAnswer says what the nodes should be since then, by name, and by
// which command each was told.
type CompiledAnswer struct {
	Nodes []CompiledNode `json:"nodes"`
	More  bool           `json:"more"`
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

// KeyQuestion asks whose key it is that signs for people or stations.
type KeyQuestion struct {
	Key string `json:"key"`
}

// KeyAnswer says so; Name is empty for a key that the station does not trust.
type KeyAnswer struct {
	Name  string        `json:"name,omitempty"`
	Role  subjects.Role `json:"role,omitempty"`
	Ended time.Time     `json:"ended,omitzero"` // since when the key is not trusted any more
	// Limited is who may command some nodes only, or not by nginxconfig, and so
	// may write no resource.
	Limited bool `json:"limited,omitempty"`
}

// AnswerFor is what is told of the owner of a key.
func AnswerFor(owner message.Trusted) KeyAnswer {
	limited := len(owner.Nodes) > 0 || !owner.May(handlers.MethodNginxConfig)
	return KeyAnswer{owner.Name, owner.Role, owner.Ended, limited}
}

func (s *Station) answerKey(_ context.Context, q KeyQuestion) (KeyAnswer, error) {
	owner, _ := s.trust.Find(q.Key)
	return AnswerFor(owner), nil
}

func (s *Station) queries() []bus.Endpoint {
	return []bus.Endpoint{
		endpoint(QueryNodes, s.answerNodes),
		endpoint(QuerySummary, s.answerSummary),
		endpoint(QueryNode, s.answerNode),
		endpoint(QueryCompiled, s.answerCompiled),
		endpoint(QueryCommand, s.answerCommand),
		endpoint(QueryWaiting, s.answerWaiting),
		endpoint(QueryKey, s.answerKey),
		endpoint(QueryCurve, s.answerCurve),
		endpoint(QueryReseal, s.answerReseal),
		endpoint(QueryRollouts, s.answerRollouts),
		endpoint(QueryRemoved, s.answerRemoved),
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

func (s *Station) answerNode(_ context.Context, q NodeQuestion) (NodeDetail, error) {
	if s.register.key(q.Name) == "" {
		if now := s.register.renamedTo(q.Name); now != "" {
			return NodeDetail{}, fleet.Errorf(fleet.Unknown, "no node %q: it is %s now", q.Name, now)
		}
		hint := ""
		if near := fleet.Nearest(q.Name, s.register.names()); near != "" {
			hint = fmt.Sprintf("did you mean %q? ", near)
		}
		return NodeDetail{}, fleet.Errorf(fleet.Unknown, "no node %q: %s`fairlead nodes` lists those there are", q.Name, hint)
	}
	now := s.clock.Now()
	d := NodeDetail{NodeStatus: s.status(q.Name, now), Recent: s.ledger.ends(q.Name), Now: now}
	d.Commands, d.Waiting = s.ledger.waiting(q.Name, mostCommands)
	desired, _ := s.compiler.of(q.Name)
	d.Desired = DesiredSummary{Revision: desired.Revision, Digest: desired.Digest, By: desired.By, Message: desired.Message, Cause: desired.Cause, Rollout: desired.Rollout, At: desired.At}
	d.Desired.Resources = desired.made.ids()
	n := s.register.get(q.Name)
	d.Agents = s.presence.of(q.Name, n, now).alive
	d.Renamed = n.record.Renamed
	d.Reported, d.Lifecycle, d.Facts = n.reported, n.lifecycle, n.facts
	d.Desired.Unfit = s.compiler.unfitOf(q.Name)
	d.Rollout = s.rollouts.rolloutOf(q.Name)
	if health := n.health.Body(); len(health) <= mostHealth {
		d.Health = health
	}
	return d, nil
}

func (s *Station) answerCompiled(ctx context.Context, q CompiledQuestion) (CompiledAnswer, error) {
	if err := s.compiler.until(ctx, q.Sequence); err != nil {
		return CompiledAnswer{}, err
	}
	answer := CompiledAnswer{Now: s.clock.Now()}
	asked := among(q.Names)
	var size page
	for _, record := range s.register.records() {
		if record.Name <= q.After || !asked(record.Name) {
			continue
		}
		d, fault := s.compiler.of(record.Name)
		n := CompiledNode{Name: record.Name, Revision: d.Revision, Digest: d.Digest, Fault: fault}
		if d.Revision > 0 {
			n.Command = CommandFor(record.Name, d.Desired).ID
		}
		_, fits := size.takes(n, mostNodes)
		if answer.More = !fits; answer.More {
			break
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
	return s.statusOf(s.register.get(name), now)
}

func (s *Station) statusOf(n node, now time.Time) NodeStatus {
	name := n.record.Name
	desired, fault := s.compiler.of(name)
	_, waiting := s.ledger.waiting(name, 0)
	present := s.presence.of(name, n, now)
	st := NodeStatus{
		Name: name, Labels: n.record.Labels, Address: n.record.Address, Key: n.record.Key,
		Presence: present.word, LastSeen: present.seen, Version: n.lifecycle.Version,
		DesiredRevision: desired.Revision, DesiredDigest: desired.Digest,
		ObservedRevision: n.reported.ObservedRevision, RunningDigest: n.reported.RunningDigest, Waiting: waiting,
		Drained: n.record.Drained,
	}
	if present.word == Offline {
		st.AsOf = present.seen
	}
	if present.word == Duplicate {
		st.Agents = present.alive
	}
	if n.linkDay != "" && n.linkDay == now.UTC().Format(time.DateOnly) {
		st.LinkToday = n.linkBytes
	}
	if n.facts != nil {
		st.JWTUntil = n.facts.JWTUntil
	}
	for _, c := range n.reported.Certificates {
		if st.Expiring == nil || c.NotAfter.Before(st.Expiring.NotAfter) {
			st.Expiring = &c
		}
	}
	st.Sync, st.Message = inSync(desired, fault, n)
	if unfit := s.compiler.unfitOf(name); len(unfit) > 0 && (st.Sync == InSync || st.Sync == NoneDue) {
		st.Sync, st.Message = Unfit, leftOut(unfit)
	}
	if st.Sync == InSync && st.Message == "" {
		st.Message = n.servers
	}
	return st
}

// leftOut is what a node cannot take, for people.
func leftOut(unfit []nginx.Unfit) string {
	text := fmt.Sprintf("it cannot take %s: %s", unfit[0].Resource, unfit[0].Reason)
	if more := len(unfit) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return clip(text)
}

func inSync(desired desiredEntry, fault string, n node) (word, why string) {
	switch {
	case fault != "":
		return Unfit, fault
	case desired.Revision == 0:
		return NoneDue, ""
	case !n.said:
		return Unsaid, "the node has not said yet what it runs"
	}
	return Compared(desired.Desired, n.reported)
}

// Compared says in words how what a node reported stands to what it should be.
func Compared(desired nginx.Desired, r handlers.Reported) (word, why string) {
	switch {
	case r.Revision == desired.Revision && r.Status == handlers.StatusFailed:
		return FailedIn, r.Message
	case r.ObservedRevision < desired.Revision && r.Paused != nil:
		return Pending, r.Paused.String()
	case r.Revision == desired.Revision && r.Status == handlers.StatusPartial:
		return Partial, r.Message
	case r.ObservedRevision < desired.Revision:
		return Pending, "the node has not taken the newest revision yet"
	case r.RunningDigest != desired.Digest:
		return Drifted, "nginx runs something else than the node proved"
	case r.Drift.Now() && r.Drift.State != nginx.DriftAdopted:
		return Drifted, "changed by hand: " + r.Drift.Summary()
	case r.Paused != nil:
		return InSync, r.Paused.String()
	case r.Drift.Now():
		return InSync, "changed by hand: " + r.Drift.Summary()
	}
	return InSync, ""
}
