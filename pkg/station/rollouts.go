package station

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/subjects"
)

// rollouts are all that the bucket keeps. Every station reads them, because what
// a node should be follows from them too; one of the stations drives.
type rollouts struct {
	station *Station
	wakes   chan struct{}
	gates   *gates
	me      string // this station, and no other of the same name

	mu      sync.Mutex
	byID    map[string]*travel
	lease   leaseSeen
	epoch   uint64               // of the lease that this station holds, 0 for none
	waiting map[string]waitingOn // by node: since when it is there without proving; of the driver alone
}

// travel is a rollout as a station knows it.
type travel struct {
	id       string
	plan     rollout.Plan
	size     int    // nodes of the plan
	trimmed  bool   // it is long over: the plan's nodes and the documents are forgotten
	planned  uint64 // sequence of the plan, 0 while there is none that counts
	at       time.Time
	signed   signature
	author   string
	parts    map[string][]resource // by key: documents that somebody signed for it
	docs     map[string]resource   // by key: those that the plan names, nil while one is missing
	state    rollout.State
	sequence uint64 // of the state's key, whoever wrote there
	orders   []rollout.Order
	obeyed   map[string]bool // ids of orders: one that is stored again is none
	saved    time.Time       // when this station wrote the state last
}

func newRollouts(s *Station) *rollouts {
	r := &rollouts{station: s, wakes: make(chan struct{}, 1), me: message.NewID(), byID: make(map[string]*travel), waiting: make(map[string]waitingOn)}
	r.gates = &gates{station: s, read: make(map[string]*gateRead)}
	return r
}

func (r *rollouts) wake() {
	select {
	case r.wakes <- struct{}{}:
	default:
	}
}

// follow reads everything that is kept of each key, not what is newest alone: the
// first plan counts, the state with the highest number, and every order. So what
// somebody has JetStream write there again changes nothing.
func (r *rollouts) follow(ctx context.Context, caughtUp func()) error {
	return r.station.conn.WatchAll(ctx, subjects.Rollouts, caughtUp, func(e bus.Entry) error {
		r.station.clock.Observe(e.At)
		if err := r.take(e); err != nil {
			r.station.log.Warn("ignored an entry about a rollout", "key", e.Key, "error", err)
			return nil
		}
		r.wake()
		return nil
	})
}

func (r *rollouts) take(e bus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Key == subjects.RolloutLease {
		return r.takeLease(e)
	}
	id, what, key, ok := subjects.ParseRolloutKey(e.Key)
	switch {
	case !ok:
		return fleet.Errorf(fleet.Invalid, "no such key is made by Fairlead")
	case what == subjects.RolloutDoc:
		return r.takeDoc(id, key, e)
	case what == subjects.RolloutState:
		return r.takeState(id, e)
	}
	m, err := e.Message(subjects.RolloutSubject(id, what))
	if err == nil {
		err = m.CheckSignature()
	}
	if err != nil {
		return err
	}
	by := signature{m.Key, e.At}
	owner, err := r.station.compiler.mayWrite("", by)
	if err != nil {
		return err
	}
	if err := m.Unpack(); err != nil {
		return err
	}
	if what == subjects.RolloutOrder {
		return r.takeOrder(id, e, m, owner)
	}
	plan, err := rollout.DecodePlan(m.Body)
	if err != nil {
		return err
	}
	for _, c := range plan.Changes {
		kind, _, _ := strings.Cut(c.Key, ".")
		if _, err := r.station.compiler.mayWrite(kind, by); err != nil {
			return err
		}
	}
	if t := r.of(id); t.planned == 0 {
		t.size, t.plan, t.planned, t.at, t.signed, t.author = len(plan.Nodes), plan, e.Sequence, e.At, by, owner.Name
		t.gather()
		r.station.compiler.wake()
	}
	return nil
}

// of is what is known of a rollout, made if need be. The lock is held.
func (r *rollouts) of(id string) *travel {
	t, ok := r.byID[id]
	if !ok {
		t = &travel{id: id, parts: make(map[string][]resource), obeyed: make(map[string]bool)}
		r.byID[id] = t
	}
	return t
}

// document is a signed document within another: stored as it is, whoever can have
// JetStream copy it could put it among the fleet's resources.
type document struct {
	Headers map[string][]string `json:"headers"`
	Body    []byte              `json:"body,omitempty"`
}

func (r *rollouts) takeDoc(id, key string, e bus.Entry) error {
	var d document
	if err := json.Unmarshal(e.Body, &d); err != nil {
		return fleet.Errorf(fleet.Invalid, "document of a rollout: %w", err)
	}
	kind, name, _ := strings.Cut(key, ".")
	inner := bus.Entry{Key: key, At: e.At, Headers: d.Headers, Body: d.Body}
	m, err := inner.Message(message.ResourceSubject(kind, name))
	if err != nil {
		return err
	}
	inner.Deleted = m.Operation == bus.Delete
	read, err := r.station.compiler.read(inner)
	if err != nil {
		return err
	}
	t := r.of(id)
	if !t.trimmed && !slices.ContainsFunc(t.parts[key], func(have resource) bool { return have.document.ID == m.ID }) {
		t.parts[key] = append(t.parts[key], read)
		t.gather()
		r.station.compiler.wake()
	}
	return nil
}

// gather finds the documents that the plan names, by whom signed the plan.
func (t *travel) gather() {
	if t.planned == 0 || t.docs != nil {
		return
	}
	docs := make(map[string]resource, len(t.plan.Changes))
	for _, c := range t.plan.Changes {
		at := slices.IndexFunc(t.parts[c.Key], func(have resource) bool {
			return have.document.ID == c.Document && have.signed.key == t.signed.key && (have.document.Operation == bus.Delete) == c.Delete
		})
		if at < 0 {
			return
		}
		docs[c.Key] = t.parts[c.Key][at]
	}
	t.docs = docs
}

func (r *rollouts) takeState(id string, e bus.Entry) error {
	known := false // read before: after each trust set all is read anew
	if t, ok := r.byID[id]; ok {
		known = e.Sequence <= t.sequence
		t.sequence = max(t.sequence, e.Sequence)
	}
	m, err := e.Message(subjects.RolloutSubject(id, subjects.RolloutState))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, r.station.trust.Find, subjects.Station)
	}
	if err != nil {
		return err
	}
	s, err := rollout.DecodeState(m.Body)
	if err != nil {
		return err
	}
	t := r.of(id)
	t.sequence = max(t.sequence, e.Sequence)
	if s.Epoch > r.epoch {
		r.epoch = 0 // another station drives
	}
	switch {
	case s.Number < t.state.Number && !known:
		return fleet.Errorf(fleet.Refused, "state %d was written behind state %d: somebody wrote an old one again", s.Number, t.state.Number)
	case s.Number > t.state.Number:
		r.put(t, s)
	}
	return nil
}

// put takes a newer state. The lock is held.
func (r *rollouts) put(t *travel, s rollout.State) {
	before := t.state
	t.state = s
	if before.Released != s.Released || before.Phase != s.Phase {
		r.station.compiler.wake()
	}
	if s.Phase.Ended() {
		r.trim()
	}
}

// mostWhole is how many rollouts that are over a station knows with all of their
// nodes: ten thousand names are much, and nobody looks at the nodes of old ones.
const mostWhole = 20

// trim forgets most of those that are long over. The lock is held.
func (r *rollouts) trim() {
	whole := 0
	for _, t := range slices.Backward(r.known()) {
		if t.open() || t.trimmed {
			continue
		}
		if whole++; whole > mostWhole {
			t.trimmed, t.plan.Nodes, t.parts, t.docs, t.orders = true, nil, nil, nil, nil
		}
	}
}

func (r *rollouts) takeOrder(id string, e bus.Entry, m message.Message, owner message.Trusted) error {
	o, err := rollout.DecodeOrder(m.Body)
	if err != nil {
		return err
	}
	t := r.of(id)
	if t.obeyed[m.ID] {
		return nil
	}
	t.obeyed[m.ID] = true
	o.Sequence, o.By = e.Sequence, owner.Name
	t.orders = append(t.orders, o)
	return nil
}

// known are the rollouts with a plan, in the order in which they were planned. The
// lock is held.
func (r *rollouts) known() []*travel {
	var all []*travel
	for _, t := range r.byID {
		if t.planned > 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *travel) int { return cmp.Compare(a.planned, b.planned) })
	return all
}

// open reports whether a rollout is not over.
func (t *travel) open() bool { return t.planned > 0 && !t.state.Phase.Ended() }

// layer is some nodes and the resources that they are compiled from.
type layer struct {
	id        string // of the rollout that released them, "" for none
	nodes     []NodeRecord
	resources []fleet.Resource
	causes    map[string]cause
}

// newest is a cause that is newer than all that is stored.
const newest = ^uint64(0)

// layers splits nodes by what they are compiled from: those that a rollout has
// released by its resources over the fleet's. Of a rollout that is complete that
// holds until the fleet's resources were read as far as it wrote them, so that no
// node goes back for a moment.
func (r *rollouts) layers(nodes []NodeRecord, resources map[string]resource, causes map[string]cause, sequence uint64) []layer {
	r.mu.Lock()
	defer r.mu.Unlock()
	base := layer{resources: inOrder(resources), causes: causes}
	var layers []*layer
	owner := make(map[string]*layer)
	for _, t := range r.known() {
		over := t.state.Overlays() || t.state.Phase == rollout.Complete && t.state.Sequence > sequence
		back := t.state.Phase == rollout.RollingBack
		if t.docs == nil || !over && !back {
			continue
		}
		l := &layer{resources: base.resources, causes: maps.Clone(causes)}
		why := cause{sequence: newest, id: t.id, by: t.author, note: t.plan.Message}
		if over {
			changed := maps.Clone(resources)
			for key, doc := range t.docs {
				changed[key] = doc
				if doc.document.Operation == bus.Delete {
					delete(changed, key)
				}
			}
			l.id, l.resources = t.id, inOrder(changed)
		} else {
			why.note = noted("rolled back: " + t.state.Reason)
		}
		for key := range t.docs {
			l.causes[key] = why
		}
		layers = append(layers, l)
		for _, name := range t.plan.Nodes[:min(t.state.Released, len(t.plan.Nodes))] {
			if owner[name] == nil {
				owner[name] = l
			}
		}
	}
	for _, n := range nodes {
		l := owner[n.Name]
		if l == nil {
			l = &base
		}
		l.nodes = append(l.nodes, n)
	}
	all := []layer{base}
	for _, l := range layers {
		all = append(all, *l)
	}
	return all
}

// inOrder are resources by ID.
func inOrder(resources map[string]resource) []fleet.Resource {
	all := make([]fleet.Resource, 0, len(resources))
	for _, r := range resources {
		all = append(all, r.resource)
	}
	slices.SortFunc(all, func(a, b fleet.Resource) int { return compare(a.ID(), b.ID()) })
	return all
}

// noted is a text as a note can carry it.
func noted(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > message.MaxNote {
		text = strings.TrimSpace(string(r[:message.MaxNote-1])) + "…"
	}
	if message.CheckNote(text) != nil {
		return ""
	}
	return text
}
