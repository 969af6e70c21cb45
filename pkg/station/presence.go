package station

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// Presence of a node, in words. Unknown is never told as good.
const (
	Online    = "online"
	Offline   = "offline"
	NeverWas  = "never seen"
	Uncertain = "unknown"   // the station listens for too short a time to say
	Duplicate = "duplicate" // two agents live under the node's name
)

// presence is which nodes are there: in memory alone, from their heartbeats and
// from what the broker tells of connections.
type presence struct {
	station *Station
	mu      sync.Mutex
	nodes   map[string]*pulse
	start   time.Time         // when its clock began, by the host's monotonic one
	anchor  time.Time         // what the broker's showed then
	since   time.Time         // when this station began to listen, the last time
	lost    time.Time         // until when it had listened before; zero for never
	refused map[string]string // why the last heartbeat of a node was not taken
	twins   map[string]string // nodes with two agents: which ones were told
	due     map[string][]instance
}

func newPresence(s *Station) *presence {
	return &presence{station: s, nodes: make(map[string]*pulse), refused: make(map[string]string),
		twins: make(map[string]string), due: make(map[string][]instance)}
}

// listen begins to hear heartbeats; run hands them over until its context ends.
func (p *presence) listen() (run func(context.Context), err error) {
	p.mu.Lock()
	p.start, p.anchor = time.Now(), p.station.clock.Now()
	p.mu.Unlock()
	p.restart()
	return p.station.conn.Beats(p.beat, p.linked)
}

// restart says that heartbeats may have been missed before now.
func (p *presence) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, _ = p.now()
}

// deaf says that no heartbeats are heard from now on.
func (p *presence) deaf() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.start.IsZero() && p.lost.Before(p.since) {
		p.lost, _ = p.now()
	}
}

// now is the broker's clock as it was when the station began, and what passed since;
// skew is what the broker's shows beyond it. The lock is held.
func (p *presence) now() (now time.Time, skew time.Duration) {
	return p.nowAt(p.station.clock.Now())
}

// nowAt is now where the broker's clock was read already: of ten thousand nodes it is
// read once.
func (p *presence) nowAt(at time.Time) (now time.Time, skew time.Duration) {
	if p.start.IsZero() {
		return at, 0
	}
	now = p.anchor.Add(time.Since(p.start))
	return now, at.Sub(now)
}

// pulse is a node's; the lock is held.
func (p *presence) pulse(name string) *pulse {
	n, ok := p.nodes[name]
	if !ok {
		n = &pulse{}
		p.nodes[strings.Clone(name)] = n
	}
	return n
}

// beat takes a heartbeat. Each is verified: at 60 µs each, 10,000 nodes at 20 s take 3 % of a core.
func (p *presence) beat(name string, data []byte) {
	h, err := message.ReadHeartbeat(data)
	if err == nil && h.Asked != "" {
		return // for who asked: its proof would cost as much, and the next one comes anyhow
	}
	if err == nil {
		err = p.station.register.provesHeartbeat(name, data, p.station.clock.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, skew := p.now()
	if err == nil {
		err = p.pulse(name).beat(h, now, skew)
	}
	if err != nil {
		if text := err.Error(); p.refused[name] != text && len(p.refused) < askedMost {
			p.refused[name] = text
			p.station.log.Warn("a heartbeat was not taken", "node", clip(name), "error", err)
		}
		return
	}
	delete(p.refused, name)
	p.notice(name, now)
}

// provesHeartbeat checks that a heartbeat is signed by the node's key, or one that it
// had until not long ago.
func (r *register) provesHeartbeat(name string, data []byte, now time.Time) error {
	r.mu.RLock()
	n, known := r.nodes[name]
	var record NodeRecord
	if known {
		record = n.record
	}
	r.mu.RUnlock()
	if record.Key == "" {
		return fleet.Errorf(fleet.Unknown, "no node of this name is registered")
	}
	key := record.Key
	err := message.VerifyHeartbeat(name, data, key)
	for _, f := range record.Former {
		if err != nil && now.Before(f.Until) && message.VerifyHeartbeat(name, data, f.Key) == nil {
			key, err = f.Key, nil
		}
	}
	if owner, ok := r.station.trust.Find(key); err == nil && !ok && owner.Why != "" {
		err = fleet.Errorf(fleet.Refused, "the node's key was taken back: %s", owner.Why)
	}
	return err
}

// linked takes the broker's word of a connection, if it is that of an agent.
func (p *presence) linked(l bus.Link) {
	if _, ok := message.CreatedAt(l.Instance); !ok || !p.station.register.has(l.User, l.Key) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, _ := p.now()
	l.Server, l.Host = p.station.shared.text(l.Server), p.station.shared.text(l.Host)
	p.pulse(l.User).linked(l, now)
}

// has reports whether a key is or was a node's.
func (r *register) has(name, key string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, known := r.nodes[name]
	if !known || key == "" {
		return false
	}
	if n.record.Key == key {
		return true
	}
	for _, f := range n.record.Former {
		if f.Key == key {
			return true
		}
	}
	return false
}

// stopped takes an agent's farewell.
func (p *presence) stopped(name, instance string) {
	if instance == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, _ := p.now()
	p.pulse(name).stop(instance, now)
}

// forget takes a node out.
func (p *presence) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, name)
	delete(p.refused, name)
	delete(p.twins, name)
}

// notice has a node told that lives twice, once. The lock is held.
func (p *presence) notice(name string, now time.Time) {
	twins := p.nodes[name].twins(now)
	if twins == nil {
		return
	}
	var ids []string
	for _, i := range twins {
		ids = append(ids, i.id)
	}
	if pair := strings.Join(ids, " "); p.twins[name] != pair {
		p.twins[name], p.due[name] = pair, twins
	}
}

// tellTwins puts into log and audit which nodes live twice. The event's id follows
// from the agents, so several stations tell it once.
func (p *presence) tellTwins(ctx context.Context) error {
	p.mu.Lock()
	due := p.due
	p.due = make(map[string][]instance)
	p.mu.Unlock()
	for name, twins := range due {
		var which []string
		seed := sha256.New()
		fmt.Fprintf(seed, "duplicate %s", name)
		var newest time.Time
		for _, i := range twins {
			which = append(which, i.String())
			fmt.Fprintf(seed, " %s", i.id)
			if at, _ := message.CreatedAt(i.id); at.After(newest) {
				newest = at
			}
		}
		text := fmt.Sprintf("%d agents live under this name: %s", len(twins), strings.Join(which, "; "))
		p.station.log.Error("a node's identity is used twice: was a disk copied?", "node", name, "agents", text)
		p.station.tellAs(ctx, message.DerivedID(newest, seed.Sum(nil)), name, message.LifecycleDuplicate, text)
	}
	return nil
}

func (i instance) String() string {
	host := i.host
	if host == "" {
		host = "an unknown address"
	}
	return fmt.Sprintf("instance %s at %s, boot %s", i.id, host, i.last.BootID)
}

// Instance is one start of a node's agent that lives.
type Instance struct {
	ID     string    `json:"id"`
	Host   string    `json:"host,omitempty"` // address of its connection, as the broker sees it
	BootID string    `json:"bootId,omitempty"`
	Since  time.Time `json:"since"` // its first heartbeat that this station heard
	Seen   time.Time `json:"seen"`

	Every        float64 `json:"everySeconds"`
	Spool        int     `json:"spool"`              // batches of logs that wait on the node
	Outbox       int     `json:"outbox"`             // answers and events that do
	ClockOffset  float64 `json:"clockOffsetSeconds"` // the node's clock less the broker's
	ObservedTold uint64  `json:"observedRevision"`
}

func (i instance) public(skew time.Duration) Instance {
	return Instance{ID: i.id, Host: i.host, BootID: i.last.BootID, Since: i.first.Add(skew), Seen: i.seen.Add(skew), Every: i.last.Every.Seconds(),
		Spool: i.last.Spool, Outbox: i.last.Outbox, ClockOffset: i.last.Clock.Sub(i.last.At).Seconds(), ObservedTold: i.last.Observed}
}

// there is what a station knows of a node's presence.
type there struct {
	word    string
	seen    time.Time
	alive   []Instance
	returns bool // its connection ended so short a time ago that it may be about to connect anew
}

// of judges a node at this moment, the broker's clock showing the one that is given.
func (p *presence) of(name string, n node, at time.Time) there {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, skew := p.nowAt(at)
	own, known := p.nodes[name]
	if !known {
		own = &pulse{}
	}
	newest, heard := own.newest()
	living := own.living(now)
	if left := own.left(); !heard && !left.IsZero() && !n.seen.IsZero() && left.Add(skew).After(n.seen) { // before its first heartbeat
		return there{word: Offline, seen: n.seen, returns: now.Sub(left) < returning}
	}
	if n.facts != nil && n.facts.HeartbeatSeconds == 0 && len(living) == 0 || n.facts == nil && !heard {
		return there{word: n.byEvents(at), seen: n.seen}
	}
	t := there{seen: newest.seen.Add(skew)}
	if !heard || n.lifecycle.Event == message.LifecycleStopped && n.toldAt.After(t.seen) {
		t.seen = n.seen
	}
	for _, i := range living {
		t.alive = append(t.alive, i.public(skew))
	}
	limit := limitOf(newest.last.Every)
	if !heard {
		limit = limitOf(time.Duration(n.facts.HeartbeatSeconds * float64(time.Second)))
	}
	switch {
	case own.twins(now) != nil:
		t.word = Duplicate
	case len(living) > 0:
		t.word = Online
	case heard && (newest.stopped || !newest.gone.IsZero() || newest.mute(now)), n.lifecycle.Event == message.LifecycleStopped:
		t.word = Offline
		t.returns = heard && !newest.stopped && n.lifecycle.Event != message.LifecycleStopped && now.Sub(newest.gone) < returning
	case !heard && !n.seen.IsZero() && at.Sub(n.seen) <= limit: // as where the account does not let it speak yet
		t.word = Online
	case now.Sub(p.since) <= limit && !(heard && p.lost.Sub(newest.seen) > limit):
		t.word = Uncertain
	default:
		t.word = Offline
	}
	return t
}

// byEvents is the presence of a node whose agent sends no heartbeats.
func (n node) byEvents(now time.Time) string {
	switch {
	case n.seen.IsZero():
		return NeverWas
	case n.there(now):
		return Online
	}
	return Offline
}

// there reports whether a node speaks, at a moment of the broker's clock.
func (s *Station) there(n node, now time.Time) bool {
	return NodeStatus{Presence: s.presence.of(n.record.Name, n, now).word}.There()
}
