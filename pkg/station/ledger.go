package station

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// ledger knows the state of every command that has not been cleared from the
// mailbox. It is rebuilt from the streams at each start.
type ledger struct {
	station *Station
	mu      sync.Mutex
	byKey   map[string]*command   // without a final answer
	over    map[string]uint64     // those that have one and were not cleared away: their sequence, by key
	byNode  map[string][]*command // without a final answer, as they were stored
	nodeOf  map[string]string     // by id: whose command it is, of those in byNode and recent
	ended   []ended               // have one and wait to be cleared
	lastEnd time.Time             // when the last of them ended
	early   map[string]message.Delivery
	order   []string // keys of early, the oldest first
	last    uint64   // sequence of the last command seen
	read    uint64   // sequence up to which commands were handed over here: only those may be cleared
	moved   chan struct{}
	recent  map[string][]Ended // by node, the newest last
	wedges  map[uint64]wedge   // by sequence
	pace    pace               // of answers, as they come
}

type command struct {
	stored  message.Stored
	message message.Message
	state   message.State
	nudged  time.Time
	copies  []uint64 // sequences under which it was published again
}

type ended struct {
	sequence uint64
	key      string
}

// Ended is a command that has its final answer.
type Ended struct {
	ID      string         `json:"id"`
	Subject string         `json:"subject"`
	From    string         `json:"from"`
	State   message.State  `json:"state"`
	Answer  message.Answer `json:"answer"`
	At      time.Time      `json:"at"`
}

const (
	earlyMost  = 8192 // answers kept that came before their command
	recentMost = 8    // ended commands remembered for each node

	// textMost bounds each text of a node that is kept, in bytes: nginx's lines
	// fit, and so does a page of many nodes under the broker's largest payload.
	textMost = 4 << 10
)

func newLedger(s *Station) *ledger {
	return &ledger{station: s, byKey: make(map[string]*command), over: make(map[string]uint64), byNode: make(map[string][]*command), nodeOf: make(map[string]string),
		early: make(map[string]message.Delivery), moved: make(chan struct{}), wedges: make(map[uint64]wedge), recent: make(map[string][]Ended)}
}

// ledgerKey joins a command and its answers: an answer names method and id.
func ledgerKey(node, method, domain, id string) string {
	return node + "." + method + "." + domain + "." + id
}

func (l *ledger) followCommands(ctx context.Context, caughtUp func()) error {
	// What was cleared is not handed over, so the stream's last sequence may be
	// one that no reader ever sees.
	state, err := l.station.conn.State(ctx, subjects.Commands)
	if err != nil {
		return err
	}
	known := func() {
		l.advance(state.Last)
		l.mu.Lock()
		l.read = max(l.read, state.Last)
		l.mu.Unlock()
		caughtUp()
	}
	return l.station.conn.Read(ctx, subjects.Commands, bus.ReadOptions{After: l.seen(), Follow: true, CaughtUp: known}, func(i bus.Item) error {
		l.station.clock.Observe(i.At)
		l.station.signs.news.Store(true)
		l.published(i.Stored)
		return nil
	})
}

func (l *ledger) seen() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *ledger) published(stored message.Stored) {
	d := message.Receive(stored)
	key := ledgerKey(d.Message.Subject.Node, d.Message.Subject.Method, d.Message.Subject.Domain, d.Message.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reached(stored.Sequence)
	l.read = max(l.read, stored.Sequence)
	if l.again(key, stored.Sequence) {
		return
	}
	if d.Message.Subject.Node == "" { // nobody hears it and nobody can answer: the audit has it, and the mailbox has no use for it
		l.station.log.Warn("a command to nobody is cleared away", "subject", stored.Subject, "error", d.Fault)
		l.end(key, stored.Sequence)
		return
	}
	c := &command{stored: stored, message: d.Message, state: message.Published}
	l.byKey[key] = c
	node := l.station.register.nameOf(d.Message.Subject.Node)
	l.byNode[node] = append(l.byNode[node], c)
	l.nodeOf[strings.Clone(d.Message.ID)] = node
	if answer, came := l.early[key]; came {
		delete(l.early, key)
		l.settle(key, c, answer)
	}
}

// reached notes that the stream is known up to a sequence. The lock is held.
func (l *ledger) reached(sequence uint64) {
	if sequence > l.last {
		l.last = sequence
		close(l.moved)
		l.moved = make(chan struct{})
	}
}

func (l *ledger) advance(sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reached(sequence)
}

// again notes that a command that is known was published a second time, under the
// same subject, and reports whether it was. It goes when the first goes. The lock is held.
func (l *ledger) again(key string, sequence uint64) bool {
	if first, over := l.over[key]; over {
		if sequence > first { // and not read again, as after an interruption
			l.end(key, sequence)
		}
		return true
	}
	c, known := l.byKey[key]
	if known && sequence > c.stored.Sequence {
		c.copies = append(c.copies, sequence)
	}
	return known
}

// end has a message cleared away once the audit has it. The lock is held.
func (l *ledger) end(key string, sequence uint64) {
	l.ended, l.lastEnd = append(l.ended, ended{sequence, key}), time.Now()
}

// until waits for the ledger to have seen a sequence.
func (l *ledger) until(ctx context.Context, sequence uint64) error {
	for {
		l.mu.Lock()
		last, moved := l.last, l.moved
		l.mu.Unlock()
		if last >= sequence {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *ledger) followEvents(ctx context.Context, caughtUp func()) error {
	// What ended before the oldest command in the mailbox was stored is of no
	// interest; the register wants each node's last lifecycle event, which
	// health reports tell as well.
	return l.station.conn.Read(ctx, subjects.Events, bus.ReadOptions{Since: l.oldest(), Follow: true, CaughtUp: caughtUp}, func(i bus.Item) error {
		l.station.clock.Observe(i.At)
		l.station.signs.news.Store(true)
		l.event(ctx, i.Stored)
		return nil
	})
}

// lookBack is how far a station that starts reads events, at least.
const lookBack = time.Hour

func (l *ledger) oldest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.station.clock.Now().Add(-lookBack)
	for _, c := range l.byKey {
		if c.stored.At.Before(oldest) {
			oldest = c.stored.At
		}
	}
	return oldest
}

// event takes an answer or a lifecycle event, once its signature is proven.
func (l *ledger) event(ctx context.Context, stored message.Stored) {
	d := message.Receive(stored)
	m := d.Message
	if d.Fault != nil {
		l.wedged(stored, m)
		l.station.log.Warn("ignored a malformed event", "subject", m.Subject.String(), "error", d.Fault)
		return
	}
	if err := l.station.register.proves(ctx, &m, d.StoredAt); err != nil {
		l.wedged(stored, m)
		l.station.log.Warn("ignored an event", "subject", m.Subject.String(), "id", m.ID, "error", err)
		return
	}
	if m.From == m.Subject.Node {
		l.station.register.saw(m.Subject.Node, d.StoredAt)
	}
	if m.Subject.Method == subjects.MethodLifecycle {
		if m.Subject.Domain == message.LifecycleDomain {
			l.station.register.lifecycleEvent(m.Subject.Node, d.StoredAt, m.Body)
		}
		return
	}
	l.answered(d)
}

func (l *ledger) answered(d message.Delivery) {
	key := ledgerKey(d.Message.Subject.Node, d.Message.Subject.Domain, d.Message.AnsweredDomain(), d.Message.Command)
	l.mu.Lock()
	defer l.mu.Unlock()
	c, waits := l.byKey[key]
	_, over := l.over[key]
	switch {
	case waits:
		l.settle(key, c, d)
	case d.Message.State.Final() && !over:
		l.keepEarly(key, d)
	}
}

// keepEarly remembers an end whose command has not been read yet: commands
// and events are two streams.
func (l *ledger) keepEarly(key string, d message.Delivery) {
	body := withoutResult(d.Message) // thousands of results are much to keep
	d.Message.Drop()
	d.Message.Body = body
	if _, known := l.early[key]; !known {
		l.order = append(l.order, key)
	}
	l.early[key] = d
	if len(l.order) > earlyMost {
		delete(l.early, l.order[0])
		l.order = l.order[1:]
	}
}

// settle moves a command on. The lock is held.
func (l *ledger) settle(key string, c *command, d message.Delivery) {
	c.state = d.Message.State
	l.pace.count(l.station.clock.Now())
	if !c.state.Final() {
		return
	}
	if c.message.Order != "" {
		l.station.governor.wake()
	}
	name := l.station.register.nameOf(c.message.Subject.Node)
	delete(l.byKey, key)
	l.over[key] = c.stored.Sequence
	l.byNode[name] = slices.DeleteFunc(l.byNode[name], func(o *command) bool { return o == c })
	if len(l.byNode[name]) == 0 {
		delete(l.byNode, name)
	}
	for _, sequence := range append(c.copies, c.stored.Sequence) {
		l.end(key, sequence)
	}
	answer, err := d.Message.ReadAnswer()
	if err != nil {
		l.station.log.Warn("an answer cannot be read", "id", d.Message.ID, "error", err)
	}
	answer.Result, answer.Message = nil, clip(answer.Message) // the streams have them
	text := &l.station.shared
	recent := append(l.recent[name], Ended{strings.Clone(c.message.ID), c.message.Subject.String(), text.text(c.message.From),
		message.State(text.text(string(c.state))), answer, d.StoredAt})
	if len(recent) > recentMost {
		delete(l.nodeOf, recent[0].ID)
		recent = recent[1:]
	}
	l.recent[name] = recent
}

// withoutResult is an answer's body without what its handler returned.
func withoutResult(m message.Message) []byte {
	answer, err := m.ReadAnswer()
	if err != nil {
		return nil
	}
	answer.Result, answer.Message = nil, clip(answer.Message)
	body, _ := json.Marshal(answer) // of plain fields: cannot fail
	return body
}

// clip shortens a text to what is kept of it.
func clip(text string) string {
	if len(text) <= textMost {
		return text
	}
	return strings.ToValidUTF8(text[:textMost], "") + "…"
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, waiting := range l.byNode {
		n += len(waiting)
	}
	return n
}

// Waiting is a command without a final answer.
type Waiting struct {
	ID      string        `json:"id"`
	Subject string        `json:"subject"`
	From    string        `json:"from"`
	State   message.State `json:"state"`
	At      time.Time     `json:"at"`
	Expires time.Time     `json:"expires,omitzero"`
	Order   string        `json:"order,omitempty"` // the order that it is of
}

func (c *command) waiting() Waiting {
	return Waiting{c.message.ID, c.message.Subject.String(), c.message.From, c.state, c.stored.At, c.message.Expires, c.message.Order}
}

// waiting are the first of a node's commands without a final answer, at most
// that many, and how many there are in all.
func (l *ledger) waiting(name string, most int) (first []Waiting, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.byNode[name]
	for _, c := range all[:min(most, len(all))] {
		first = append(first, c.waiting())
	}
	return first, len(all)
}

// matching are the commands without a final answer that a question is about, as
// they were stored, until a moment of the broker's clock.
func (l *ledger) matching(q WaitingQuestion, until time.Time) (all []sequenced) {
	asked := among(q.Names)
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, waiting := range l.byNode {
		if !asked(name) {
			continue
		}
		for _, c := range waiting {
			if c.stored.Sequence > q.After && (q.Method == "" || c.message.Subject.Method == q.Method) && (q.Order == "" || c.message.Order == q.Order) &&
				!c.stored.At.After(until) {
				all = append(all, sequenced{c.stored.Sequence, c.waiting()})
			}
		}
	}
	slices.SortFunc(all, func(a, b sequenced) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all
}

func (l *ledger) ends(name string) []Ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.recent[name])
}

// find looks for a command by id, among those that wait and those that ended
// not long ago.
func (l *ledger) find(id string) (w Waiting, e Ended, state message.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.nodeOf[id]
	for _, c := range l.byNode[name] {
		if c.message.ID == id {
			return c.waiting(), e, c.state
		}
	}
	for _, e := range l.recent[name] {
		if e.ID == id {
			return w, e, e.State
		}
	}
	return w, e, ""
}

// holds reports whether the mailbox holds a command, ended or not.
func (l *ledger) holds(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, over := l.over[key]
	_, waits := l.byKey[key]
	return over || waits
}
