package station

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/rollout"
	"fairlead/subjects"
)

// desiredDomain is the one domain of nginx that this version compiles for.
const desiredDomain = "nginx"

// compiler turns resources and register into every node's desired state and
// the commands that go with it.
type compiler struct {
	station *Station
	wakes   chan struct{} // somebody wants a change
	nodes   chan struct{} // a node came, or is another than before

	mu        sync.Mutex
	resources map[string]resource      // by key in the fleet bucket
	sequence  uint64                   // of the fleet bucket, as read
	halfway   time.Time                // when a part of a step was read that is not its last, zero where all is read
	causes    map[string]cause         // by key in the fleet bucket: the change that made it what it is, or removed it
	last      map[string]uint64        // by key in the fleet bucket: the sequence that it is at, whoever wrote there
	spoils    map[string]spoil         // entries that are not believed, by key
	desired   map[string]desiredEntry  // by node
	faults    map[string]string        // by node: why the newest resources do not fit it
	unfit     map[string][]nginx.Unfit // by node: those that it cannot take
	covers    map[string]string        // by node: the rollout by which it was compiled, none where that is ""
	compiled  uint64                   // sequence up to which desired states are written
	moved     chan struct{}            // closed when compiled moves
	begun     uint64                   // compilations so far
	ended     uint64                   // the last of them by which all is written

	sent map[string]sentDesired // by node: what this station has written and not read back

	making making

	strange     map[string]bool // parts that somebody wrote over, by key
	partsRead   uint64          // of the bucket Desired, by followParts; its alone
	partsTidied time.Time       // when all parts were looked at last; of the sweep alone

	told map[string]uint64 // by node: the revision whose command is published; of run alone
}

type resource struct {
	resource fleet.Resource
	by       string    // name of who wrote it
	signed   signature // and their key
	document message.Message
}

// cause is a change of a resource.
type cause struct {
	sequence uint64 // of the fleet bucket
	id       string // of the document
	by       string // name of who made it
	note     string // why
}

// desiredState is what a station keeps of a node's desired state: all but its
// resources, which made stands for.
type desiredState struct {
	nginx.Desired        // without resources
	made          *made  // nil where they are not known
	parts         string // the digests of its parts, "" where it is whole
}

type desiredEntry struct {
	sequence uint64 // of the desired bucket
	own      bool   // this station wrote it
	lacks    bool   // parts of it are not there
	desiredState
}

// sentDesired is a desired state as this station signed it.
type sentDesired struct {
	document message.Message
	desiredState
}

// is reports whether an entry holds it, to the byte: then there is nothing to prove.
func (s sentDesired) is(e bus.Entry) bool {
	if s.document.ID == "" || e.Deleted || !bytes.Equal(e.Body, s.document.Wire()) {
		return false
	}
	for name, values := range s.document.Headers() {
		if !slices.Equal(values, e.Headers[name]) {
			return false
		}
	}
	return true
}

func newCompiler(s *Station) *compiler {
	return &compiler{station: s, wakes: make(chan struct{}, 1), nodes: make(chan struct{}, 1), resources: make(map[string]resource), causes: make(map[string]cause), last: make(map[string]uint64), spoils: make(map[string]spoil),
		desired: make(map[string]desiredEntry), faults: make(map[string]string), moved: make(chan struct{}),
		sent: make(map[string]sentDesired), strange: make(map[string]bool), told: make(map[string]uint64)}
}

// wake has everything compiled soon, since somebody wants a change.
func (c *compiler) wake() {
	select {
	case c.wakes <- struct{}{}:
	default:
	}
}

// wakeForNode has everything compiled when there is time, since a node came or says
// something else of itself: as ten thousand do that come at once.
func (c *compiler) wakeForNode() {
	select {
	case c.nodes <- struct{}{}:
	default:
	}
}

func (c *compiler) followResources(ctx context.Context, caughtUp func()) error {
	return c.station.conn.Watch(ctx, subjects.Fleet, caughtUp, func(e bus.Entry) error {
		c.station.clock.Observe(e.At)
		c.mu.Lock()
		defer c.mu.Unlock()
		defer c.station.rollouts.wake()
		c.halfway = time.Time{}
		if e.Halfway() {
			c.halfway = time.Now()
		} else {
			defer c.wake()
		}
		c.last[e.Key] = max(c.last[e.Key], e.Sequence)
		r, err := c.read(e)
		if err != nil {
			c.station.log.Error("ignored a resource", "key", e.Key, "error", err)
			if kind, name, ok := strings.Cut(e.Key, "."); ok {
				c.spoils[e.Key] = c.station.spoilOf(e, message.ResourceSubject(kind, name))
			}
			err = c.keep(ctx, e.Key)
			c.sequence = max(c.sequence, e.Sequence)
			return err
		}
		c.sequence = max(c.sequence, e.Sequence)
		c.causes[e.Key] = cause{e.Sequence, r.document.ID, r.by, r.document.Note}
		delete(c.spoils, e.Key)
		if e.Deleted {
			delete(c.resources, e.Key)
		} else {
			c.resources[e.Key] = r
		}
		return nil
	})
}

// keep leaves the last good revision of a resource in force. A station that
// starts looks for it among the older ones. The lock is held.
func (c *compiler) keep(ctx context.Context, key string) error {
	if r, known := c.resources[key]; known {
		if _, err := c.mayWrite(r.resource.Kind, r.signed); err == nil {
			return nil
		}
		delete(c.resources, key)
	}
	return c.station.conn.History(ctx, subjects.Fleet, key, func(e bus.Entry) error {
		r, err := c.read(e)
		switch {
		case err != nil:
			return nil
		case e.Deleted:
			delete(c.resources, key)
		default:
			c.resources[key] = r
		}
		c.causes[key] = cause{e.Sequence, r.document.ID, r.by, r.document.Note}
		return nil
	})
}

// read proves who wrote a resource and that they may.
func (c *compiler) read(e bus.Entry) (r resource, err error) {
	kind, name, ok := strings.Cut(e.Key, ".")
	if !ok {
		return r, fleet.Errorf(fleet.Invalid, "key %s is not <kind>.<name>", e.Key)
	}
	m, err := e.Message(message.ResourceSubject(kind, name))
	if err == nil {
		err = m.CheckSignature()
	}
	if err == nil && e.Deleted != (m.Operation == bus.Delete) {
		err = fleet.Errorf(fleet.Refused, "whether it is a removal is said otherwise than it was signed")
	}
	if err != nil {
		return r, err
	}
	r.signed, r.document = signature{m.Key, m.Since(e.At, c.station.trust.Find)}, m
	owner, err := c.mayWrite(kind, r.signed)
	r.by = owner.Name
	if err != nil || e.Deleted {
		return r, err
	}
	if err = m.Unpack(); err == nil { // r.document stays as it travels
		r.resource, err = DecodeResource(m.Body)
	}
	if err == nil && (r.resource.Kind != kind || r.resource.Metadata.Name != name) {
		err = fleet.Errorf(fleet.Invalid, "key %s holds %s", e.Key, r.resource.ID())
	}
	return r, err
}

// WritersOf are the roles that may write a resource of a kind.
func WritersOf(kind string) []subjects.Role {
	if kind == "ConfigFile" || kind == "NodePolicy" { // either has nginx do as root what it says
		return []subjects.Role{subjects.Admin}
	}
	return []subjects.Role{subjects.Admin, subjects.Operator}
}

// mayWrite decides whether who signed a resource may write one of its kind. Who
// is limited to some nodes may write none: a resource chooses its nodes itself.
func (c *compiler) mayWrite(kind string, by signature) (owner message.Trusted, err error) {
	owner, err = message.Stands(by.key, by.at, c.station.trust.Find, WritersOf(kind)...)
	switch {
	case err != nil:
	case len(owner.Nodes) > 0:
		err = fleet.Errorf(fleet.Refused, "%s may command some nodes only, and a resource chooses its nodes itself", owner.Name)
	case !owner.May(handlers.MethodNginxConfig):
		err = fleet.Errorf(fleet.Refused, "%s may not send %s, and so write no resource", owner.Name, handlers.MethodNginxConfig)
	}
	return owner, err
}

func (c *compiler) followDesired(ctx context.Context, caughtUp func()) error {
	states := bus.ReadOptions{Filter: subjects.KeySubject(subjects.Desired, subjects.StateKey("*", "*", "*")), Latest: true, Follow: true, CaughtUp: caughtUp}
	return c.station.conn.Read(ctx, subjects.BucketStream(subjects.Desired), states, func(i bus.Item) error {
		e := bus.EntryOf(subjects.Desired, i.Stored)
		c.station.clock.Observe(e.At)
		name, method, domain, ok := splitStateKey(e.Key)
		if !ok || method != handlers.MethodNginxConfig || domain != desiredDomain {
			return nil
		}
		if c.wroteIt(name, e) {
			return c.lookAgain(ctx, name)
		}
		d, lacks, err := c.readDesired(ctx, e, name)
		if k := fleet.KindOf(err); k == fleet.Unavailable || k == fleet.Timeout || ctx.Err() != nil {
			return err
		}
		if known, _ := c.of(name); err == nil && e.Sequence > known.sequence && d.Revision < known.Revision {
			err = fleet.Errorf(fleet.Refused, "revision %d was written behind revision %d: somebody wrote an old one again", d.Revision, known.Revision)
		}
		refused := err != nil
		if refused {
			c.station.log.Error("a desired state is not a station's and will be written anew", "node", name, "error", err)
			if d.Revision, err = c.lastRevision(ctx, e.Key, name); err != nil {
				return err
			}
			defer c.wake()
		}
		c.mu.Lock()
		if known := c.desired[name].sequence; e.Sequence > known || refused && e.Sequence == known {
			c.desired[name] = desiredEntry{e.Sequence, false, lacks, d}
		}
		c.mu.Unlock()
		return c.lookAgain(ctx, name)
	})
}

// wroteIt takes an entry that this station has just written, and reports whether it is.
func (c *compiler) wroteIt(name string, e bus.Entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.sent[name]
	if !own.is(e) {
		return false
	}
	delete(c.sent, name) // the same again, later, is somebody else's doing
	if e.Sequence > c.desired[name].sequence {
		c.desired[name] = desiredEntry{e.Sequence, true, false, own.desiredState}
	}
	return true
}

// provenDesired proves that a station wrote a node's desired state: one that is
// believed now, or at a moment at which the state was stored.
func (c *compiler) provenDesired(e bus.Entry, at time.Time, name string) (d storedDesired, document []byte, err error) {
	m, err := e.Message(message.DesiredSubject(name, handlers.MethodNginxConfig, desiredDomain))
	if err != nil {
		return d, nil, err
	}
	if _, err := message.VerifyStored(&m, at, c.station.trust.Find, subjects.Station); err != nil {
		return d, nil, err
	}
	if e.Deleted {
		return d, nil, fleet.Errorf(fleet.Invalid, "it was deleted")
	}
	if err := json.Unmarshal(m.Body, &d); err != nil {
		return storedDesired{}, nil, err
	}
	return d, m.Body, nil
}

// readDesired reads a node's desired state with its parts; lacks says that some are not there.
func (c *compiler) readDesired(ctx context.Context, e bus.Entry, name string) (d desiredState, lacks bool, err error) {
	stored, document, err := c.provenDesired(e, time.Time{}, name)
	if err != nil {
		return d, false, err
	}
	parts, err := message.PartsOf(document)
	if err != nil {
		return d, false, err
	}
	digests := ""
	if parts != nil {
		digests = string(parts.Digests)
		whole, lacks, err := c.wholeOf(ctx, e, name, document)
		if err != nil || lacks {
			return c.kept(stored.Desired, nil, digests), lacks, err
		}
		if err := json.Unmarshal(whole, &stored); err != nil {
			return d, false, err
		}
	}
	is, err := c.making.from(stored.Resources)
	if err != nil {
		return d, false, err
	}
	return c.kept(stored.Desired, is, digests), false, nil
}

// kept is a desired state as a station keeps it.
func (c *compiler) kept(d nginx.Desired, is *made, parts string) desiredState {
	s := &c.station.shared
	d.Resources, d.Digest, d.Address, d.By, d.Message, d.Rollout = nil, s.text(d.Digest), s.text(d.Address), s.text(d.By), s.text(d.Message), s.text(d.Rollout)
	return desiredState{d, is, parts}
}

// lastRevision is the newest revision that a station ever gave a node, as far
// as the bucket remembers: revisions grow, whatever became of a document.
func (c *compiler) lastRevision(ctx context.Context, key, name string) (revision uint64, err error) {
	known, _ := c.of(name)
	revision = known.Revision
	err = c.station.conn.History(ctx, subjects.Desired, key, func(e bus.Entry) error {
		if d, _, err := c.provenDesired(e, e.At, name); err == nil {
			revision = max(revision, d.Revision)
		}
		return nil
	})
	return revision, err
}

// calmTime is how long no change may come before a compilation: an apply of
// several resources is one change.
const calmTime = 20 * time.Millisecond

// nodeCalm is how long a compilation waits for more nodes: calmShare times what the
// last one took, so that a fleet which joins is not compiled all the time, once for
// each of its nodes.
func nodeCalm(took time.Duration) time.Duration {
	return min(max(calmTime, calmShare*took), mostCalm)
}

const (
	calmShare = 5
	mostCalm  = 2 * time.Second
)

// stepTime bounds the wait for the rest of a step: what was written in one step is
// stored at once and read one after the other, and each node is to hear of it once.
const stepTime = 5 * time.Second

// reconcileEvery is the pause between looks for desired revisions whose
// command was never published, because a station ended between the two.
const reconcileEvery = 30 * time.Second

func (c *compiler) run(ctx context.Context) {
	c.wake()
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	took := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.wakes:
			pause(ctx, calmTime)
		case <-c.nodes:
			c.calm(ctx, nodeCalm(took))
		}
		for _, wakes := range []chan struct{}{c.wakes, c.nodes} {
			select {
			case <-wakes:
			default:
			}
		}
		for {
			began := time.Now()
			again, err := c.compile(ctx)
			took = time.Since(began)
			if err != nil && ctx.Err() == nil {
				c.station.log.Warn("the desired state cannot be written, trying again", "error", err)
				pause(ctx, connectPause)
				continue
			}
			if !again || ctx.Err() != nil {
				break
			}
			pause(ctx, calmTime)
		}
	}
}

// calm waits for more nodes, but not when somebody wants a change.
func (c *compiler) calm(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-c.wakes:
		pause(ctx, calmTime)
	}
}

// compile writes what changed. It reports true when another station wrote
// first: then its work is to be read before looking again.
func (c *compiler) compile(ctx context.Context) (again bool, err error) {
	c.mu.Lock()
	c.begun++
	mine := c.begun
	c.mu.Unlock()
	nodes := c.station.register.records()
	c.mu.Lock()
	if time.Since(c.halfway) < stepTime { // the last of it wakes this
		c.mu.Unlock()
		return false, nil
	}
	sequence, stored, causes := c.sequence, maps.Clone(c.resources), maps.Clone(c.causes)
	c.mu.Unlock()
	faults, unfit := make(map[string]string), make(map[string][]nginx.Unfit)
	secrets := c.station.secrets()
	defer secrets.forget()
	covers := make(map[string]string)
	var all []due
	for _, l := range c.station.rollouts.layers(nodes, stored, causes, sequence) {
		plans, err := Compile(l.resources, l.nodes)
		if err != nil { // every resource was validated when it was read
			return false, err
		}
		for _, plan := range plans {
			covers[plan.Node] = l.id
			if len(plan.Unfit) > 0 {
				unfit[plan.Node] = plan.Unfit
			}
			if plan.Err != nil {
				faults[plan.Node] = plan.Err.Error()
				continue
			}
			all = append(all, due{plan, l.causes})
		}
	}
	again, err = c.write(ctx, all, sequence, secrets, faults)
	if err != nil {
		return false, err
	}
	if again {
		return true, nil
	}
	if err := c.announce(ctx, nodes); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults, c.unfit, c.covers = faults, unfit, covers
	c.station.rollouts.wake()
	c.compiled, c.ended = sequence, mine
	close(c.moved)
	c.moved = make(chan struct{})
	return false, nil
}

// due is what a node should be, and the changes that may have made it so.
type due struct {
	Plan
	causes map[string]cause
}

// write stores the desired states that are others than before, many under way at
// once, and adds to faults why a node cannot have its own. It reports true when
// another station wrote one of them first.
func (c *compiler) write(ctx context.Context, all []due, sequence uint64, secrets *secrets, faults map[string]string) (again bool, err error) {
	var sent []desiredState
	changes := func(yield func(bus.Change) bool) {
		for _, one := range all {
			if err != nil {
				return
			}
			change, d, parts, failed := c.renewed(ctx, one, sequence, secrets)
			if failed == nil && len(parts) > 0 { // before what names them
				failed = c.station.conn.PutParts(ctx, change.Key, parts)
			}
			var unfit fleet.Faults
			switch {
			case errors.As(failed, &unfit):
				faults[one.Node] = unfit.Error()
			case failed != nil:
				err = failed
			case d.Revision > 0:
				sent = append(sent, d)
				if !yield(change) {
					return
				}
			}
		}
	}
	c.station.conn.PutEach(ctx, subjects.Desired, changes, func(change bus.Change, written uint64, failed error) {
		d := sent[0]
		sent = sent[1:]
		switch {
		case fleet.KindOf(failed) == fleet.Conflict:
			again = true
		case failed != nil:
			err = failed
		default:
			name, _, _, _ := splitStateKey(change.Key)
			c.wrote(name, written, d)
		}
	})
	return again, err
}

// wrote takes what this station has written.
func (c *compiler) wrote(name string, sequence uint64, d desiredState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sequence > c.desired[name].sequence { // else it was read back, and looked at, by now
		c.desired[name] = desiredEntry{sequence, true, false, d}
	}
	c.station.log.Info("desired state", "node", name, "revision", d.Revision, "digest", nginx.Short(d.Digest), "by", d.By)
}

// renewed is a node's next desired state, and the parts of it that it did not have; its
// revision is 0 where it is what it was.
// The error is fleet.Faults where the node cannot have it.
func (c *compiler) renewed(ctx context.Context, plan due, sequence uint64, secrets *secrets) (change bus.Change, d desiredState, parts [][]byte, err error) {
	if owner, _ := c.station.trust.Find(c.station.register.key(plan.Node)); owner.Why != "" {
		return change, d, nil, fleet.Faults{{Path: plan.Node, Message: owner.Why}}
	}
	c.mu.Lock()
	before, compiled := c.desired[plan.Node], c.compiled
	c.mu.Unlock()
	key := stateKey(plan.Node)
	if c.station.register.tried(plan.Node) > before.Revision {
		// The node has seen a newer one and takes none that is older. Either
		// another station has just written it, and the write is refused, or
		// somebody has put an old one in its place.
		revision, err := c.lastRevision(ctx, key, plan.Node)
		if err != nil {
			return change, d, nil, err
		}
		before.desiredState = desiredState{Desired: nginx.Desired{Revision: max(revision, c.station.register.tried(plan.Node))}}
	}
	curve := ""
	sealed := hasSecrets(plan.Resources)
	if sealed {
		curve = c.station.register.curve(ctx, plan.Node)
	}
	same := before.Digest == plan.Bundle.Digest && slices.Equal(before.Unfit, plan.Unfit) && !before.made.outdated(curve) && !before.lacks
	if same || before.Revision == 0 && len(plan.Resources) == 0 {
		return change, d, nil, nil
	}
	var former map[string]fleet.Resource
	if sealed {
		former = c.former(ctx, plan.Node, before)
	}
	resources, err := secrets.forNode(plan.Node, curve, plan.Resources, former)
	if err != nil {
		return change, d, nil, err
	}
	is, pieces, raw, err := c.making.of(resources)
	if err != nil {
		return change, d, nil, err
	}
	// What was compiled already makes no difference now: the register does.
	why := causeOf(before.made, is, plan.causes, max(before.Fleet, compiled))
	next := nginx.Desired{
		Revision: before.Revision + 1, Digest: plan.Bundle.Digest, Address: plan.Address, Unfit: plan.Unfit,
		By: why.by, Message: why.note, Fleet: sequence, Cause: why.sequence,
		At: c.station.clock.Now().UTC().Truncate(time.Millisecond),
	}
	if why.sequence == newest { // it is no revision of the fleet's
		next.Cause, next.Rollout = 0, why.id
	}
	stored, digests := storedDesired{Desired: next}, ""
	if parts, err = stored.cut(pieces, raw); err != nil {
		return change, d, nil, err
	}
	if stored.Parts != nil {
		digests, stored.Made = string(stored.Parts.Digests), changesOf(before.made, is)
		if !before.lacks {
			parts = before.unnamed(parts)
		}
	}
	body, err := json.Marshal(stored)
	if err != nil {
		return change, d, nil, err
	}
	m, err := c.station.sign(message.Message{
		Subject: message.DesiredSubject(plan.Node, handlers.MethodNginxConfig, desiredDomain), ID: message.NewID(), Body: body})
	if err != nil {
		return change, d, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d = c.kept(next, is, digests)
	c.sent[plan.Node] = sentDesired{m, d}
	return bus.Change{Key: key, Document: m, Expect: before.sequence}, d, parts, nil
}

// causeOf is the newest change of a resource since a sequence that makes a node's
// resources others than before, zero where none does: then its labels, facts or
// address did.
func causeOf(before, after *made, causes map[string]cause, since uint64) (why cause) {
	differences(before, after, func(p print, _ string) {
		if made := causes[p.key()]; made.sequence > max(since, why.sequence) {
			why = made
		}
	})
	return why
}

// announce publishes the command for every desired revision of which its node
// has said nothing. Its id follows from node and revision, so it is created
// once, whoever finds that it is missing.
func (c *compiler) announce(ctx context.Context, nodes []NodeRecord) error {
	var due []message.Message
	var revisions []uint64
	for _, node := range nodes {
		d, _ := c.of(node.Name)
		if d.Revision <= max(c.told[node.Name], c.station.register.tried(node.Name)) {
			continue
		}
		m := CommandFor(node.Name, d.Desired)
		known, err := c.published(ctx, m, d.own)
		if err != nil {
			return err
		}
		if known {
			c.told[node.Name] = d.Revision
			continue
		}
		if m, err = c.station.sign(m); err != nil {
			return err
		}
		due, revisions = append(due, m), append(revisions, d.Revision)
	}
	errs := c.station.conn.PublishAll(ctx, due)
	for i, m := range due {
		if errs[i] == nil {
			c.told[m.Subject.Node] = revisions[i]
		}
	}
	return errors.Join(errs...)
}

// published reports whether a revision's command is in the mailbox, or was and
// has ended. Past its time it is of no use: the node converges by itself when
// it returns. What this station has just written nobody can have answered.
func (c *compiler) published(ctx context.Context, m message.Message, own bool) (bool, error) {
	if !c.station.clock.Now().Before(m.Expires) || c.station.ledger.holds(ledgerKey(m.Subject.Node, m.Subject.Method, m.Subject.Domain, m.ID)) {
		return true, nil
	}
	if own {
		return false, nil
	}
	end, err := c.station.conn.Last(ctx, subjects.Events, subjects.FinalAnswer(m.Subject, message.AnswerID(m.ID, m.Subject.Domain, message.Succeeded)))
	return end != nil, err
}

// CommandFor is the command that wakes a node for a revision, unsigned.
func CommandFor(name string, d nginx.Desired) message.Message {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name+"\x00"+d.Digest+"\x00"), d.Revision))
	body, _ := json.Marshal(handlers.NginxConfigBody{Revision: d.Revision, Digest: d.Digest, By: d.By}) // of plain fields: cannot fail
	return message.Message{
		Subject: subjects.Subject{Node: name, Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: desiredDomain},
		ID:      message.DerivedID(d.At, seed[:]),
		Expires: d.At.Add(message.DefaultExpiry),
		Note:    d.Message,
		Body:    body,
	}
}

// of is a node's desired state and why the newest resources do not fit it.
func (c *compiler) of(name string) (desiredEntry, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desired[name], c.faults[name]
}

// until waits for desired states to be written up to a sequence of the fleet
// bucket.
func (c *compiler) until(ctx context.Context, sequence uint64) error {
	for {
		c.mu.Lock()
		compiled, moved := c.compiled, c.moved
		c.mu.Unlock()
		if compiled >= sequence {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fleet.Errorf(fleet.Timeout, "the station has not compiled the change yet: %w", ctx.Err())
		}
	}
}

// anew has everything compiled, and waits until that is written.
func (c *compiler) anew(ctx context.Context) error {
	c.mu.Lock()
	before := c.begun
	c.mu.Unlock()
	c.wake()
	for {
		c.mu.Lock()
		ended, moved := c.ended, c.moved
		c.mu.Unlock()
		if ended > before {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fleet.Errorf(fleet.Timeout, "the station has not compiled the change yet: %w", ctx.Err())
		}
	}
}

// stale says why a node's desired state is not what it was compiled to last, "" where
// it is.
func (c *compiler) stale(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.desired[name].Revision == 0 {
		return ""
	}
	return c.faults[name]
}

// tried is the newest revision that a node reported about.
func (r *register) tried(name string) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := r.nodes[name]; ok && n.said {
		return n.reported.Revision
	}
	return 0
}

func splitStateKey(key string) (node, method, domain string, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// unfitOf are the resources that a node cannot take.
func (c *compiler) unfitOf(name string) []nginx.Unfit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unfit[name]
}

// compiledNode is what a node was compiled to last.
type compiledNode struct {
	desired desiredEntry
	fault   string
	unfit   []nginx.Unfit
	rollout string // by which it was, "" for none
	known   bool   // this station has compiled it
	upto    uint64 // from resources up to this sequence of the fleet bucket
}

func (c *compiler) compiledFor(name string) (is compiledNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is.upto = c.compiled
	is.rollout, is.known = c.covers[name]
	is.desired, is.fault, is.unfit = c.desired[name], c.faults[name], c.unfit[name]
	return is
}

// conflict is why the resources of a rollout cannot be written any more, "" while
// each of them is what the plan was made over.
func (c *compiler) conflict(t *travel) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range t.plan.Changes {
		if c.hasWritten(change) {
			continue
		}
		is := c.resources[change.Key].document.ID
		if slices.Contains(change.Bases, is) {
			continue
		}
		why, did := c.causes[change.Key], "changed"
		if is == "" {
			did = "removed"
		}
		return noted(change.Resource() + " was " + did + " by " + why.by + " meanwhile" + map[bool]string{true: " (" + why.note + ")"}[why.note != ""])
	}
	return ""
}

// hasWritten reports whether a rollout's change is the newest of its resource. The
// lock is held.
func (c *compiler) hasWritten(change rollout.Change) bool {
	return c.causes[change.Key].id == change.Document
}

// written is the sequence with which all of a rollout's resources were written, 0
// while they are not.
func (c *compiler) written(t *travel) (sequence uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range t.plan.Changes {
		if !c.hasWritten(change) {
			return 0
		}
		sequence = max(sequence, c.causes[change.Key].sequence)
	}
	return sequence
}

// unwritten are the resources of a rollout that are to be written, over what this
// station knows and nothing else.
func (c *compiler) unwritten(t *travel) (due []bus.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range t.plan.Changes {
		if !c.hasWritten(change) {
			due = append(due, bus.Change{Key: change.Key, Document: t.docs[change.Key].document, Expect: c.last[change.Key]})
		}
	}
	return due
}
