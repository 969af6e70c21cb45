package station

import (
	"slices"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// pulse is what a node's heartbeats and its connections tell. All times are by a
// clock of the station that never jumps (presence.now): neither a node's clock
// decides anything, nor a step of the broker's.
type pulse struct{ instances []instance }

// instance is one start of an agent: a node has one, and two only where its
// identity was copied.
type instance struct {
	id      string
	host    string // address of its connection, by the broker's word
	last    message.Heartbeat
	first   time.Time     // when its first heartbeat was sent; zero before that
	seen    time.Time     // when its last one was sent
	lag     time.Duration // the least by which its heartbeats came after their own time
	gone    time.Time     // when the broker saw its connection end; zero while it stands
	stopped bool          // it said farewell
	back    time.Time     // when a connection began by which it has not spoken; zero for none
	before  time.Time     // what was heard until then it said by another one
	links   []connection  // of each broker that it was told of by, the last that was told last
	touched time.Time
}

// connection is the newest of an agent's with one broker that was told of.
type connection struct {
	server string    // the broker, another one after its start
	id     uint64    // grows there with each connection
	since  time.Time // about when it began
	up     bool
}

const (
	// missedBeats is how many heartbeats, or health reports of an agent without
	// them, may be missed before a node counts as not there.
	missedBeats = 2
	missedTells = 3
	// lateBeat is what a heartbeat may take beyond that, at most.
	lateBeat = 5 * time.Second
	// mostEvery bounds the time between heartbeats that an agent may claim.
	mostEvery = 5 * time.Minute
	// mostLag is the most by which a node's idea of the broker's clock, or the
	// station's, can be wrong: an older heartbeat of an instance that was not
	// heard before is taken to be that old.
	mostLag = 2 * time.Minute
	// drift is how much clocks may run apart in each second.
	drift = 1000
	// overlap is how long an agent has to live beside another before the two
	// are taken for two: heartbeats of one that ended may be on their way.
	overlap = time.Second
	// speaks is what an agent takes at most that has connected until it is heard: it says
	// at once that it lives. Some ends of connections are told by nobody: where the broker
	// ends one before it knows whose it is, it tells of its beginning alone.
	speaks = 10 * time.Second
	// returning is what an agent takes at most that connects anew to a broker that
	// is there: a second and its jitter, and the handshake.
	returning = 5 * time.Second
	// mostInstances and mostLinks bound what is remembered of a node.
	mostInstances = 4
	mostLinks     = 4
)

func limitOf(every time.Duration) time.Duration {
	every = min(every, mostEvery)
	return missedBeats*every + min(every, lateBeat)
}

// alive reports whether the agent lives at a moment, as far as it is known.
// Nothing but signed heartbeats makes it so; the broker's word can end it.
func (i instance) alive(now time.Time) bool {
	if i.seen.IsZero() || i.stopped || !i.gone.IsZero() && !i.seen.After(i.gone.Add(overlap)) {
		return false
	}
	if i.mute(now) {
		return false
	}
	return now.Sub(i.seen) <= limitOf(i.last.Every)
}

// beat takes a heartbeat whose signature is proven. What came is as old as it
// says by the node's idea of the broker's clock, corrected by the least delay that
// the instance's heartbeats had: who keeps one back, or sends it again to a
// station that does not know it, makes nobody live longer. The error is Refused for
// one that was heard before.
//
// skew is what the broker's clock is before now.
func (p *pulse) beat(h message.Heartbeat, now time.Time, skew time.Duration) error {
	lag := now.Sub(h.At)
	i := p.find(h.Instance)
	if i == nil {
		i = p.add(h.Instance, now)
	}
	switch {
	case i.first.IsZero():
		i.lag = min(lag, mostLag-skew)
	case h.Counter <= i.last.Counter:
		return fleet.Errorf(fleet.Refused, "heartbeat %d of instance %s was heard before", h.Counter, h.Instance)
	default:
		i.lag = min(i.lag+now.Sub(i.touched)/drift, lag)
	}
	sent := now.Add(i.lag - lag)
	if i.first.IsZero() {
		i.first = sent
	}
	if sent.After(i.seen) {
		i.seen = sent
	}
	i.spoken()
	h.Instance = i.id // h's texts are pieces of all that came
	if h.BootID == i.last.BootID {
		h.BootID = i.last.BootID
	} else {
		h.BootID = strings.Clone(h.BootID)
	}
	i.last, i.touched = h, now
	return nil
}

// linked takes the broker's word of a connection. It makes nobody live, but what was
// heard of an agent holds again, until it must have spoken by its new connection.
func (p *pulse) linked(l bus.Link, now time.Time) {
	i := p.find(l.Instance)
	if i == nil {
		i = p.add(l.Instance, now)
	}
	c, news := i.told(l, now)
	switch {
	case !news:
	case l.Up:
		i.before = i.gone
		if i.gone.IsZero() {
			i.before = now.Add(-overlap)
		}
		i.host, i.gone, i.back, i.touched = l.Host, time.Time{}, now, now
		i.spoken()
	case !i.elsewhere(c):
		i.gone = now
	}
}

// told remembers what a broker says of a connection. It is no news where a newer
// one with that broker is known, whose number is larger, or where the end was told already:
// the end of an older connection may be noticed after the next has begun, and a broker that ends
// one while it lets it in may tell of the end first.
func (i *instance) told(l bus.Link, now time.Time) (c connection, news bool) {
	c = connection{l.Server, l.ID, now.Add(-l.Lasted), l.Up}
	at := slices.IndexFunc(i.links, func(known connection) bool { return known.server == l.Server })
	if at >= 0 && (l.ID < i.links[at].id || l.ID == i.links[at].id && (l.Up || !i.links[at].up)) {
		return c, false
	}
	if at < 0 && len(i.links) == mostLinks {
		at = 0
	}
	if at >= 0 {
		i.links = slices.Delete(i.links, at, at+1)
	}
	i.links = append(i.links, c)
	return c, true
}

// elsewhere reports whether the agent has a connection to another broker than one
// that ended. That of a broker which was killed is never told to have ended: what is clearly
// older than the one that ended was left before it, since an agent has one at a time. Two brokers tell by different ways, so
// what began at about the same time counts.
func (i *instance) elsewhere(ended connection) bool {
	return slices.ContainsFunc(i.links, func(c connection) bool {
		return c.up && c.server != ended.server && !c.since.Add(lateBeat).Before(ended.since)
	})
}

// left is when the last connection of the node ended; zero while one stands, and
// where none was told of.
func (p *pulse) left() (at time.Time) {
	for _, i := range p.instances {
		if i.gone.IsZero() && len(i.links) > 0 {
			return time.Time{}
		}
		if i.gone.After(at) {
			at = i.gone
		}
	}
	return at
}

// spoken takes note where the agent was heard since its connection began.
func (i *instance) spoken() {
	if i.seen.After(i.before) {
		i.back = time.Time{}
	}
}

// mute reports whether the agent should have spoken by its new connection and has not.
func (i instance) mute(now time.Time) bool { return !i.back.IsZero() && now.Sub(i.back) > speaks }

// stop takes an agent's farewell.
func (p *pulse) stop(id string, now time.Time) {
	i := p.find(id)
	if i == nil {
		i = p.add(id, now)
	}
	i.stopped = true
}

func (p *pulse) find(id string) *instance {
	for n := range p.instances {
		if p.instances[n].id == id {
			return &p.instances[n]
		}
	}
	return nil
}

// add makes an instance, in the place of the one that was not heard of for the
// longest time.
func (p *pulse) add(id string, now time.Time) *instance {
	if len(p.instances) == mostInstances {
		oldest := 0
		for n, i := range p.instances {
			if o := p.instances[oldest]; o.alive(now) && !i.alive(now) || o.alive(now) == i.alive(now) && i.touched.Before(o.touched) {
				oldest = n
			}
		}
		p.instances = slices.Delete(p.instances, oldest, oldest+1)
	}
	p.instances = append(p.instances, instance{id: strings.Clone(id), touched: now})
	return &p.instances[len(p.instances)-1]
}

// living are the agents that live at a moment, the oldest first.
func (p *pulse) living(now time.Time) (all []instance) {
	for _, i := range p.instances {
		if i.alive(now) {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b instance) int { return a.first.Compare(b.first) })
	return all
}

// twins are the agents that live at a moment beside another: one spoke after the
// other had begun to. An agent that was started anew is none, since the one before
// it speaks no more.
func (p *pulse) twins(now time.Time) []instance {
	if len(p.instances) < 2 {
		return nil
	}
	all := p.living(now)
	for n := 1; n < len(all); n++ {
		for _, older := range all[:n] {
			if older.seen.After(all[n].first.Add(overlap)) {
				return all
			}
		}
	}
	return nil
}

// newest is the instance that was heard last; ok is false where none was.
func (p *pulse) newest() (found instance, ok bool) {
	for _, i := range p.instances {
		if !i.seen.IsZero() && (!ok || i.seen.After(found.seen)) {
			found, ok = i, true
		}
	}
	return found, ok
}
