package station

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// NodeRecord is a node's entry in the register.
type NodeRecord struct {
	Name string `json:"name"`
	// Key is the node's public nkey, which proves its events.
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels,omitempty"`
	// Address is where the node's virtual hosts listen when they do not say;
	// empty is every address of the node.
	Address string    `json:"address,omitempty"`
	Since   time.Time `json:"since"`
	// Drained takes the node out of selections and rollouts; nil is a node like others.
	Drained *Drain `json:"drained,omitempty"`
	// Former are keys that the node had, the newest first.
	Former []FormerKey `json:"former,omitempty"`
	// Renamed says under which name the host was a node before; nil for none.
	Renamed *Renamed `json:"renamed,omitempty"`

	facts *fleet.Facts // by WithFacts
	able  string       // what of the facts decides which resources the node can take
}

// Drain says who took a node out of selections and rollouts, when and why.
type Drain struct {
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Renamed says what a node was called until it got its name.
type Renamed struct {
	From    string    `json:"from"`
	By      string    `json:"by"`      // who wanted it
	At      time.Time `json:"at"`      // the broker's clock
	Command string    `json:"command"` // id of the command to the node under its former name
}

// WithFacts is the record with what the node said of itself, for Compile. It
// is no part of the entry: nil is a node that has not told.
func (r NodeRecord) WithFacts(f *fleet.Facts) NodeRecord {
	r.facts, r.able = f, ""
	if f != nil {
		r.able = strings.Join(slices.Concat([]string{f.Nginx, strconv.FormatBool(f.Curve != "")}, f.Features, []string{""}, f.Modules), "\x00")
	}
	return r
}

// NodeLabel is the label that every node has by itself: its name, so that a
// selector can choose one node.
const NodeLabel = "node"

// AllLabels are what selectors choose by: the labels that people gave, and the
// node's name as NodeLabel where they gave none of that key.
func (r NodeRecord) AllLabels() map[string]string {
	if _, given := r.Labels[NodeLabel]; given {
		return r.Labels
	}
	all := make(map[string]string, len(r.Labels)+1)
	maps.Copy(all, r.Labels)
	all[NodeLabel] = r.Name
	return all
}

// register knows the nodes and what they last said.
type register struct {
	station  *Station
	mu       sync.RWMutex
	nodes    map[string]*node
	sorted   []string             // their names; nil where that is to be made
	removed  []bus.Entry          // deletions that the audit is to hear of
	gone     map[string]removal   // of nodes whose name nobody took since
	entering map[string]int       // joins that are about to write a name
	heard    uint64               // sequence up to which the bucket was followed
	moved    chan struct{}        // closed when that is another
	spoils   map[string]spoil     // entries that are not believed, by name
	asked    map[string]time.Time // when an entry was looked up, by this host's clock
}

// node is what a station knows of a node.
type node struct {
	record    NodeRecord
	by        signature // of the record
	sequence  uint64    // its
	entered   uint64    // sequence of the first record, as far as it was heard
	seen      time.Time // broker's time of the last event
	asked     time.Time // broker's time of the last question for what waits
	every     time.Duration
	lifecycle message.Lifecycle
	toldAt    time.Time // broker's time of lifecycle
	health    message.Kept
	healthAt  time.Time // broker's time of health
	linkDay   string    // of linkBytes, UTC
	linkBytes uint64    // that the link carried on that day, by health
	servers   string    // of upstreams, that it does not use as written, by health; for people
	reported  handlers.Reported
	said      bool // reported holds something
	facts     *fleet.Facts
}

func newRegister(s *Station) *register {
	return &register{station: s, moved: make(chan struct{}), nodes: make(map[string]*node), asked: make(map[string]time.Time),
		gone: make(map[string]removal), entering: make(map[string]int), spoils: make(map[string]spoil)}
}

// SignRecord makes the signed document of a register entry.
func SignRecord(r NodeRecord, from string, signer message.Signer) (message.Message, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return message.Message{}, err
	}
	m := message.Message{Subject: message.RegisterSubject(r.Name), ID: message.NewID(), From: from, Body: body}
	return m, m.Sign(signer)
}

func (r *register) follow(ctx context.Context, caughtUp func()) error {
	return r.station.conn.Watch(ctx, subjects.Nodes, caughtUp, func(e bus.Entry) error {
		r.station.clock.Observe(e.At)
		r.mu.Lock()
		defer r.mu.Unlock()
		defer r.hears(e.Sequence)
		defer r.station.compiler.wakeForNode()
		if n, known := r.nodes[e.Key]; known && e.Sequence < n.sequence {
			return nil // what this station wrote since is known already
		}
		if e.Deleted {
			by, err := r.removes(e)
			if err != nil {
				r.station.log.Warn("ignored an entry of the register", "node", e.Key, "error", err)
				return r.spoil(ctx, e)
			}
			_, told := r.gone[e.Key]
			r.remove(e, by)
			if !told && e.At.After(r.station.clock.Now().Add(-lookBack)) {
				r.removed = append(r.removed, e)
			}
			return nil
		}
		record, by, err := r.read(e)
		if err != nil {
			r.station.log.Warn("ignored an entry of the register", "node", e.Key, "error", err)
			return r.spoil(ctx, e)
		}
		delete(r.spoils, e.Key)
		r.put(record, by, e.Sequence)
		return nil
	})
}

// keep leaves the last good entry of a node in force. A station that starts
// looks for it among the older ones. The lock is held.
func (r *register) keep(ctx context.Context, name string) error {
	if n, known := r.nodes[name]; known && n.record.Key != "" {
		if _, err := message.Stands(n.by.key, n.by.at, r.station.trust.Find, recordWriters...); err == nil {
			return nil
		}
		n.record, n.by = NodeRecord{Name: name}, signature{}
	}
	return r.station.conn.History(ctx, subjects.Nodes, name, func(e bus.Entry) error {
		if e.Deleted {
			if by, err := r.removes(e); err == nil {
				r.remove(e, by)
			}
		} else if record, by, err := r.read(e); err == nil {
			n := r.node(name)
			n.enters(e.Sequence)
			n.record, n.by, n.sequence = record, by, e.Sequence
			delete(r.gone, name)
		}
		return nil
	})
}

// remove takes a node out. The lock is held.
func (r *register) remove(e bus.Entry, by string) {
	delete(r.nodes, e.Key)
	r.sorted = nil
	r.station.presence.forget(e.Key)
	delete(r.spoils, e.Key)
	if before, told := r.gone[e.Key]; told { // a station wrote it again
		by = before.by
	}
	r.gone[e.Key] = removal{e.At, by}
}

// recordWriters are the roles that may register nodes.
var recordWriters = []subjects.Role{subjects.Admin, subjects.Station}

func (r *register) read(e bus.Entry) (record NodeRecord, by signature, err error) {
	m, err := e.Message(message.RegisterSubject(e.Key))
	if err != nil {
		return record, by, err
	}
	if _, err := message.VerifyStored(&m, e.At, r.station.trust.Find, recordWriters...); err != nil {
		return record, by, err
	}
	if err := json.Unmarshal(e.Body, &record); err != nil {
		return record, by, err
	}
	if record.Name != e.Key {
		return record, by, fleet.Errorf(fleet.Invalid, "the entry of %s says it is %s", e.Key, record.Name)
	}
	s := &r.station.shared
	record.Labels, record.Address = s.labelsOf(record.Labels), s.text(record.Address)
	return record, signature{s.text(m.Key), e.At}, nil
}

// removes proves that who may removed a node, and returns who. A mark of
// deletion alone says nothing: with the help of JetStream's answers many can
// leave one.
func (r *register) removes(e bus.Entry) (by string, err error) {
	m, err := e.Message(message.RegisterSubject(e.Key))
	var owner message.Trusted
	if err == nil {
		owner, err = message.VerifyStored(&m, e.At, r.station.trust.Find, recordWriters...)
	}
	if err == nil && m.Operation != bus.Delete {
		err = fleet.Errorf(fleet.Refused, "the entry is marked as deleted and its signature says nothing of it")
	}
	return owner.Name, err
}

// registered is what the broker's register has of a node this moment.
type registered struct {
	record   NodeRecord // without a key where it is not there
	removed  removal    // zero where it was not
	sequence uint64     // of what was written last, also by who may not
}

// lookUp reads what counts of a node's entries, whatever was written over it.
func (r *register) lookUp(ctx context.Context, name string) (found registered, err error) {
	e, err := r.station.conn.Get(ctx, subjects.Nodes, name)
	found.sequence = e.Sequence
	switch {
	case fleet.KindOf(err) == fleet.Unknown && !e.Deleted:
		return found, nil
	case fleet.KindOf(err) != fleet.Unknown && err != nil:
		return found, err
	case r.count(e, &found):
		return found, nil
	}
	err = r.station.conn.History(ctx, subjects.Nodes, name, func(e bus.Entry) error {
		r.count(e, &found)
		return nil
	})
	if err == nil && found.record.Key == "" && found.removed.at.IsZero() { // all of it was written over
		r.mu.RLock()
		defer r.mu.RUnlock()
		found.record, found.removed = r.knows(name)
	}
	return found, err
}

// count reports whether an entry is by who may write it, and takes it then.
func (r *register) count(e bus.Entry, found *registered) bool {
	if e.Deleted {
		by, err := r.removes(e)
		if err != nil {
			return false
		}
		*found = registered{removed: removal{e.At, by}, sequence: max(found.sequence, e.Sequence)}
		return true
	}
	record, _, err := r.read(e)
	if err == nil {
		*found = registered{record: record, sequence: max(found.sequence, e.Sequence)}
	}
	return err == nil
}

// signature is who signed a document, and when it was stored by the broker's
// clock: what decides whether it still stands under another trust set.
type signature struct {
	key string
	at  time.Time
}

// node returns the entry of a name, made if need be. The lock is held.
func (r *register) node(name string) *node {
	n, ok := r.nodes[name]
	if !ok {
		name = strings.Clone(name)
		n = &node{record: NodeRecord{Name: name}}
		r.nodes[name] = n
		r.sorted = nil
	}
	return n
}

func (r *register) followReported(ctx context.Context, caughtUp func()) error {
	return r.station.conn.Watch(ctx, subjects.Reported, caughtUp, func(e bus.Entry) error {
		r.station.clock.Observe(e.At)
		name, method, domain, ok := splitStateKey(e.Key)
		if !ok || method != handlers.MethodNginxConfig && method != subjects.MethodLifecycle || e.Deleted {
			return nil
		}
		m, err := e.Message(message.ReportedSubject(name, method, domain))
		if err == nil {
			err = r.proves(ctx, &m, e.At)
		}
		switch {
		case err != nil:
		case method == subjects.MethodLifecycle:
			err = r.tellFacts(name, m.Body)
		default:
			err = r.says(name, m.Body)
		}
		if err != nil {
			r.station.log.Warn("ignored a report", "key", e.Key, "error", err)
		}
		return nil
	})
}

// says takes what a node reports of its nginx.
func (r *register) says(name string, body []byte) error {
	var reported handlers.Reported
	if err := json.Unmarshal(body, &reported); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.node(name)
	text := &r.station.shared
	reported.Message = clip(reported.Message)
	reported.Status, reported.Digest = text.text(reported.Status), text.text(reported.Digest)
	reported.RunningDigest, reported.DiskDigest = text.text(reported.RunningDigest), text.text(reported.DiskDigest)
	n.reported, n.said = reported, true
	r.station.rollouts.wake()
	return nil
}

// tellFacts takes what a node says of itself, and has everything compiled anew
// where that is another than before.
func (r *register) tellFacts(name string, body []byte) error {
	facts, err := DecodeFacts(body)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.node(name); !reflect.DeepEqual(n.facts, &facts) {
		s := &r.station.shared
		facts.OS, facts.Arch, facts.Nginx, facts.Link = s.text(facts.OS), s.text(facts.Arch), s.text(facts.Nginx), s.text(facts.Link)
		facts.Features, facts.Modules = s.list(facts.Features), s.list(facts.Modules)
		n.facts = &facts
		r.station.compiler.wakeForNode()
	}
	return nil
}

// mostFact bounds each list of facts, and maxFact each text.
const (
	mostFact = 200
	maxFact  = 253
)

// DecodeFacts reads what a node says of itself. Too long a list or text is an
// error: nobody should have to show it.
func DecodeFacts(body []byte) (f fleet.Facts, err error) {
	if err := json.Unmarshal(body, &f); err != nil {
		return f, fleet.Errorf(fleet.Invalid, "facts: %w", err)
	}
	return f, checkFacts(f)
}

func checkFacts(f fleet.Facts) error {
	for _, text := range slices.Concat([]string{f.Hostname, f.OS, f.Arch, f.Nginx, f.Curve, f.Link}, f.Features, f.Modules) {
		if len(text) > maxFact {
			return fleet.Errorf(fleet.Invalid, "facts: a text has %d bytes, more than %d", len(text), maxFact)
		}
	}
	if f.Curve != "" && !message.ValidCurve(f.Curve) {
		return fleet.Errorf(fleet.Invalid, "facts: %q is not a public curve key", f.Curve)
	}
	if len(f.Features) > mostFact || len(f.Modules) > mostFact {
		return fleet.Errorf(fleet.Invalid, "facts: a list is longer than %d", mostFact)
	}
	return nil
}

func (r *register) followHealth(ctx context.Context, caughtUp func()) error {
	return r.station.conn.Read(ctx, subjects.Health, bus.ReadOptions{Latest: true, Follow: true, CaughtUp: caughtUp}, func(i bus.Item) error {
		r.station.clock.Observe(i.At)
		d := message.Receive(i.Stored)
		s := d.Message.Subject
		err := d.Fault
		if err == nil {
			err = r.proves(ctx, &d.Message, i.At)
		}
		if err != nil {
			r.station.log.Warn("ignored a health report", "subject", i.Subject, "error", err)
			return nil
		}
		var beat struct {
			EverySeconds float64          `json:"everySeconds"`
			Link         handlers.LinkDay `json:"link"`
			Nginx        struct {
				Servers []nginx.ServerStatus `json:"servers"`
			} `json:"nginx"`
		}
		if json.Unmarshal(d.Message.Body, &beat) != nil {
			return nil
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if n, ok := r.nodes[s.Node]; ok {
			n.health, n.healthAt = d.Message.Keep(), i.At
			n.linkDay, n.linkBytes = r.station.shared.text(beat.Link.Day), beat.Link.Bytes()
			n.servers = unused(beat.Nginx.Servers)
			n.every = time.Duration(beat.EverySeconds * float64(time.Second))
			n.see(i.At)
			// Health and lifecycle are two streams: an older report may come later.
			if n.lifecycle.Event == message.LifecycleStopped && i.At.After(n.toldAt) {
				n.lifecycle.Event = message.LifecycleReturned
			}
		}
		return nil
	})
}

// unused is which servers of upstreams a node does not use as written: its files are
// what they should be, and a site may answer 502 all the same.
func unused(servers []nginx.ServerStatus) string {
	if len(servers) == 0 {
		return ""
	}
	text := fmt.Sprintf("Upstream/%s %s: %s", servers[0].Upstream, servers[0].Server, servers[0].Message)
	if more := len(servers) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return clip(text)
}

func (n *node) see(at time.Time) {
	if at.After(n.seen) {
		n.seen = at
	}
}

// lifecycleEvent takes what a node said about its coming and going.
func (r *register) lifecycleEvent(name string, at time.Time, body []byte) {
	var l message.Lifecycle
	if json.Unmarshal(body, &l) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.nodes[name]
	if !ok || at.Before(n.seen) && l.Event == message.LifecycleStopped {
		return
	}
	if l.Event == message.LifecycleStopped {
		r.station.presence.stopped(name, l.Instance)
	}
	if l.Event != message.LifecycleRecovered {
		text := &r.station.shared
		l.Event, l.Version, l.Methods = text.text(l.Event), text.text(l.Version), text.list(l.Methods)
		n.lifecycle, n.toldAt = l, at
	}
	if l.EverySeconds > 0 {
		n.every = time.Duration(l.EverySeconds * float64(time.Second))
	}
	n.see(at)
}

// asks notes that a node asks for what waits for it.
func (r *register) asks(name string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.nodes[name]; ok {
		n.asked = at
	}
}

func (r *register) saw(name string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.nodes[name]; ok {
		n.see(at)
	}
}

// nameOf is a name as the register has it, so that who keeps it keeps no more.
func (r *register) nameOf(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.nodes[name]; ok {
		return n.record.Name
	}
	return strings.Clone(name)
}

func (r *register) key(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.nodes[name]; ok {
		return n.record.Key
	}
	return ""
}

// get is what is known of a node now; it may have left the register.
func (r *register) get(name string) node {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.nodes[name]; ok {
		return *n
	}
	return node{record: NodeRecord{Name: name}}
}

func (r *register) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.nodes)
}

// names are the names of all nodes, sorted. They are not to be changed.
func (r *register) names() []string {
	r.mu.RLock()
	sorted := r.sorted
	r.mu.RUnlock()
	if sorted != nil {
		return sorted
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sorted = slices.Sorted(maps.Keys(r.nodes))
	return r.sorted
}

// records are all nodes that were registered, by name.
func (r *register) records() []NodeRecord {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []NodeRecord
	for _, n := range r.nodes {
		if n.record.Key != "" {
			all = append(all, n.record.WithFacts(r.factsOf(n)))
		}
	}
	slices.SortFunc(all, func(a, b NodeRecord) int { return compare(a.Name, b.Name) })
	return all
}

// factsOf is what a node said of itself. One that got another name this moment is
// the host that it was: what was compiled without knowing it would be something
// else, which its nginx would be made and a moment later not be any more. The
// lock is held.
func (r *register) factsOf(n *node) *fleet.Facts {
	if before := n.record.Renamed; n.facts == nil && before != nil {
		if old, known := r.nodes[before.From]; known && old.record.Key != "" {
			return old.facts
		}
	}
	return n.facts
}

// renamedTo is the node that had a name before, "" for none.
func (r *register) renamedTo(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, n := range r.nodes {
		if b := n.record.Renamed; b != nil && b.From == name && n.record.Key != "" {
			return n.record.Name
		}
	}
	return ""
}

// there reports whether the node speaks, at a moment of the broker's clock.
func (n node) there(now time.Time) bool {
	if n.seen.IsZero() || n.lifecycle.Event == message.LifecycleStopped {
		return false
	}
	every := n.every
	if every <= 0 {
		every = 15 * time.Second
	}
	return now.Sub(n.seen) <= missedTells*every
}
