package station

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/rollout"
	"fairlead/subjects"
)

// One station drives all rollouts: the one that holds the lease. It renews the
// lease while there is something to drive; where it stops doing so, another one
// takes over, and first writes its own epoch into every state. Each write expects
// the one before it, so whoever held the lease earlier and does not know that it
// lost it finds its next write refused.

// leaseSeen is the lease as it was read last.
type leaseSeen struct {
	lease
	sequence uint64
	at       time.Time // broker's clock
}

// lease says who drives.
type lease struct {
	Holder string `json:"holder"` // "" where nobody does
	Epoch  uint64 `json:"epoch"`  // grows with each holder
}

// leaseLives is how many renewals a holder may miss.
const leaseLives = 3

// takeLease reads the lease. The lock is held.
func (r *rollouts) takeLease(e bus.Entry) error {
	if e.Sequence < r.lease.sequence {
		return nil
	}
	seen := leaseSeen{sequence: e.Sequence, at: e.At}
	seen.Epoch = r.lease.Epoch
	m, err := e.Message(subjects.RolloutSubject(subjects.RolloutLease, subjects.RolloutLease))
	if err == nil {
		_, err = message.VerifyStored(&m, e.At, r.station.trust.Find, subjects.Station)
	}
	var said lease
	if err == nil {
		err = json.Unmarshal(m.Body, &said)
	}
	switch {
	case err != nil || e.Deleted: // nobody's: it is written anew
	case said.Epoch < r.lease.Epoch:
		err = fleet.Errorf(fleet.Refused, "lease %d was written behind lease %d", said.Epoch, r.lease.Epoch)
	default:
		seen.lease = said
	}
	r.lease = seen
	if r.epoch > 0 && seen.Holder != r.me && seen.Holder != "" {
		r.epoch = 0
	}
	return err
}

// run drives while this station holds the lease.
func (r *rollouts) run(ctx context.Context) {
	tick := time.NewTicker(r.station.cfg.RolloutEvery)
	defer tick.Stop()
	defer r.resign()
	defer r.gates.begin(ctx)()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wakes:
		}
		due := r.open()
		if len(due) == 0 {
			clear(r.waiting)
			r.gates.forget()
			continue
		}
		if !r.hold(ctx) {
			continue
		}
		began := time.Now()
		for _, t := range due {
			if err := r.drive(ctx, t); err != nil && ctx.Err() == nil {
				r.station.log.Warn("a rollout cannot go on, trying again", "rollout", t.id, "error", err)
			}
		}
		// A look at ten thousand nodes takes tens of milliseconds, and each of their
		// reports asks for one.
		pause(ctx, min(time.Second, max(calmTime, 4*time.Since(began))))
	}
}

// open are the rollouts that are not over.
func (r *rollouts) open() []*travel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(r.known(), func(t *travel) bool { return !t.open() })
}

// hold reports whether this station drives; it takes the lease where nobody holds
// it, and renews its own.
func (r *rollouts) hold(ctx context.Context) bool {
	r.mu.Lock()
	seen, epoch := r.lease, r.epoch
	r.mu.Unlock()
	every, age := r.station.cfg.LeaseEvery, r.station.clock.Now().Sub(seen.at)
	mine := epoch > 0 && seen.Holder == r.me && seen.Epoch == epoch
	switch {
	case mine && age < every:
		return true
	case mine:
	case seen.Holder != "" && seen.Holder != r.me && age < leaseLives*every:
		return false
	default:
		epoch = seen.Epoch + 1
	}
	sequence, err := r.putLease(ctx, lease{r.me, epoch}, seen.sequence)
	if err != nil {
		r.station.log.Debug("the lease on rollouts is not to be had", "error", err)
		if fleet.KindOf(err) == fleet.Conflict {
			r.lookUp(ctx, subjects.RolloutLease)
			return false
		}
		return mine && age < leaseLives*every
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if sequence > r.lease.sequence {
		r.lease = leaseSeen{lease{r.me, epoch}, sequence, r.station.clock.Now()}
	}
	if !mine {
		r.station.log.Info("this station drives the rollouts", "epoch", epoch)
	}
	r.epoch = epoch
	return true
}

func (r *rollouts) putLease(ctx context.Context, l lease, expect uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseLives*r.station.cfg.LeaseEvery)
	defer cancel()
	m, err := r.station.signAs(subjects.RolloutSubject(subjects.RolloutLease, subjects.RolloutLease), l)
	if err != nil {
		return 0, err
	}
	return r.station.conn.Put(ctx, subjects.Rollouts, bus.Change{Key: subjects.RolloutLease, Document: m, Expect: expect})
}

// resign gives the lease back, so that another station need not wait.
func (r *rollouts) resign() {
	r.mu.Lock()
	seen, epoch := r.lease, r.epoch
	r.epoch = 0
	r.mu.Unlock()
	if epoch == 0 || seen.Holder != r.me || !r.station.conn.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := r.putLease(ctx, lease{"", epoch}, seen.sequence); err != nil {
		r.station.log.Debug("the lease on rollouts stays until it is over", "error", err)
	}
}

// lookUp reads a key now.
func (r *rollouts) lookUp(ctx context.Context, key string) {
	e, err := r.station.conn.Get(ctx, subjects.Rollouts, key)
	if e.Key == "" {
		return
	}
	if err = r.take(e); err != nil {
		r.station.log.Warn("ignored an entry about a rollout", "key", key, "error", err)
	}
}

// driveMost bounds the steps of one rollout before the others have theirs.
const driveMost = 8

// drive has a rollout go on as far as it can now.
func (r *rollouts) drive(ctx context.Context, t *travel) error {
	for range driveMost {
		again, err := r.step(ctx, t)
		if err != nil || !again {
			return err
		}
	}
	r.wake()
	return nil
}

// quietly is how many looks a state is left as it is in which nothing but counts,
// readings and their reason changed.
const quietly = 2

// step decides what follows and writes it. It reports whether more may follow at once.
func (r *rollouts) step(ctx context.Context, t *travel) (again bool, err error) {
	r.mu.Lock()
	state, plan, epoch, expect := t.state, t.plan, r.epoch, t.sequence
	world := r.world(t)
	saved := t.saved
	r.mu.Unlock()
	if epoch == 0 || state.Phase.Ended() {
		return false, nil
	}
	next := rollout.Next(plan, state, world)
	big := state.Epoch != epoch || !sameBut(state, next, true)
	if !big && (sameBut(state, next, false) || time.Since(saved) < quietly*r.station.cfg.RolloutEvery) {
		return r.finish(ctx, t, next, world)
	}
	next.Number, next.Epoch, next.By = state.Number+1, epoch, r.station.cfg.Credentials.UserName()
	m, err := r.station.signAs(subjects.RolloutSubject(t.id, subjects.RolloutState), next)
	if err != nil {
		return false, err
	}
	pctx, cancel := context.WithTimeout(ctx, leaseLives*r.station.cfg.LeaseEvery)
	defer cancel()
	key := subjects.RolloutKey(t.id, subjects.RolloutState)
	sequence, err := r.station.conn.Put(pctx, subjects.Rollouts, bus.Change{Key: key, Document: m, Expect: expect})
	if fleet.KindOf(err) == fleet.Conflict {
		r.lookUp(ctx, key) // by another station, or rubbish
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	t.sequence, t.saved = max(t.sequence, sequence), time.Now()
	if next.Number > t.state.Number {
		r.put(t, next)
	}
	r.mu.Unlock()
	if next.Phase != state.Phase || next.Wave != state.Wave || next.Released != state.Released {
		r.station.log.Info("rollout", "id", t.id, "state", next.Progress(plan), "reason", next.Reason)
	}
	if _, err := r.finish(ctx, t, next, world); err != nil {
		return false, err
	}
	return big, nil
}

// sameBut reports whether nothing changed in a state, or nothing but counts and readings.
func sameBut(a, b rollout.State, counts bool) bool {
	if counts {
		for _, s := range []*rollout.State{&a, &b} {
			s.Counts, s.Gates, s.Failures, s.Reason = rollout.Counts{}, nil, nil, ""
		}
	}
	return reflect.DeepEqual(a, b)
}

// finish writes the resources of a rollout that is completing, as the person
// signed them. It reports whether it did.
func (r *rollouts) finish(ctx context.Context, t *travel, state rollout.State, w rollout.World) (bool, error) {
	if state.Phase != rollout.Completing || w.Written > 0 || w.Conflict != "" {
		return false, nil
	}
	r.mu.Lock()
	changes := r.station.compiler.unwritten(t)
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaseLives*r.station.cfg.LeaseEvery)
	defer cancel()
	_, err := r.station.conn.PutAll(ctx, subjects.Fleet, changes)
	if fleet.KindOf(err) == fleet.Conflict {
		return false, nil // somebody was faster, perhaps this station itself: it reads what is there
	}
	return err == nil && len(changes) > 0, err
}

// world is what Next is told. The lock is held here, and not when Next asks.
func (r *rollouts) world(t *travel) rollout.World {
	s := r.station
	now := s.clock.Now()
	w := rollout.World{Now: now, Planned: t.at,
		Node:   func(name string, back bool) rollout.Sight { return r.sight(t, name, back, now) },
		Online: func(name string) bool { return s.takes(s.register.get(name), now) },
		Gates:  func(at rollout.State) []rollout.Reading { return r.gates.ask(t, at, now) },
	}
	for _, o := range t.orders {
		if o.Sequence > t.state.Order {
			w.Orders = append(w.Orders, o)
		}
	}
	if owner, ok := s.trust.Find(t.signed.key); !ok {
		w.Author = fmt.Sprintf("%s, who began it, is not believed any more: %s", t.author, owner.Why)
	}
	if t.docs == nil {
		w.Conflict = "a part of it is not there"
		return w
	}
	w.Conflict = s.compiler.conflict(t)
	w.Written = s.compiler.written(t)
	if t.state.Wave == 0 {
		w.Behind, w.Shares = r.ahead(t)
	}
	return w
}

// ahead is the first rollout before this one that is not over and has something in
// common with it. The lock is held.
func (r *rollouts) ahead(t *travel) (id, shares string) {
	for _, other := range r.known() {
		if other.planned >= t.planned {
			break
		}
		if !other.open() {
			continue
		}
		if shares = t.plan.Overlap(other.plan); shares != "" {
			return other.id, shares
		}
	}
	return "", ""
}

// waitingOn is a node that is there and has not proven what it should be.
type waitingOn struct {
	revision uint64
	since    time.Time
}

// sight is what is known of a released node: by its own signed report, measured
// against what it should be.
func (r *rollouts) sight(t *travel, name string, back bool, now time.Time) rollout.Sight {
	against := with
	if back {
		against = without
	}
	seen, revision := r.station.seen(t, name, against, 0, now)
	if seen.State != rollout.Working {
		delete(r.waiting, name)
		return seen
	}
	w := r.waiting[name]
	if w.revision != revision || w.since.IsZero() || seen.Reason != "" {
		w = waitingOn{revision, now}
		r.waiting[name] = w
	}
	seen.Waited = now.Sub(w.since)
	return seen
}

// measure is what a node is held against: what it should be with a rollout,
// without it, or after it.
type measure int

const (
	with measure = iota
	without
	after
)

// fits reports whether a node was compiled to what it is to be held against;
// written is the sequence with which the rollout's resources were.
func (m measure) fits(t *travel, is compiledNode, written uint64) bool {
	switch m {
	case with:
		return is.known && is.rollout == t.id
	case without:
		return is.known && is.rollout == ""
	}
	return is.known && (is.rollout == t.id || is.upto >= written)
}

// seen is where a node is with what it should be. A reason to be on its way is one
// that takes as long as it takes.
func (s *Station) seen(t *travel, name string, against measure, written uint64, now time.Time) (rollout.Sight, uint64) {
	n := s.register.get(name)
	if n.record.Key == "" {
		return rollout.Sight{State: rollout.Gone}, 0
	}
	is := s.compiler.compiledFor(name)
	said := n.reported
	failed := n.said && said.Revision == is.desired.Revision && (said.Status == handlers.StatusFailed || said.Status == handlers.StatusPartial)
	state, why := rollout.Working, ""
	switch {
	case !against.fits(t, is, written):
	case is.fault != "":
		state, why = rollout.FailedToApply, is.fault
	case failed:
		state, why = rollout.FailedToApply, said.Message
	case against != without && t.leftOut(is.unfit) != "":
		state, why = rollout.FailedToApply, t.leftOut(is.unfit)
	case is.desired.Revision == 0:
		state = rollout.Applied
	case said.ObservedRevision >= is.desired.Revision && said.RunningDigest == is.desired.Digest:
		state = rollout.Applied
		if said.Bake != nil && said.Bake.Revision == is.desired.Revision && s.mayLive(n, now) {
			state, why = rollout.Working, "it bakes on the node"
		}
	}
	if state == rollout.Working && !s.takes(n, now) {
		return rollout.Sight{State: rollout.Away}, is.desired.Revision
	}
	return rollout.Sight{State: state, Reason: clip(why)}, is.desired.Revision
}

// leftOut is which of its own resources a node cannot take, and why; "" for none.
func (t *travel) leftOut(unfit []nginx.Unfit) string {
	for _, u := range unfit {
		if slices.ContainsFunc(t.plan.Changes, func(c rollout.Change) bool { return c.Resource() == u.Resource }) {
			return leftOut([]nginx.Unfit{u})
		}
	}
	return ""
}

// takes reports whether a node is there and would take a change now.
func (s *Station) takes(n node, now time.Time) bool {
	return s.mayLive(n, now) && n.reported.Paused == nil
}

// mayLive reports whether a node is there, or may be: a station that has just started
// must not take a wave to be over because it has not heard of its nodes, nor any because
// a node connects anew this moment.
func (s *Station) mayLive(n node, now time.Time) bool {
	t := s.presence.of(n.record.Name, n, now)
	return t.word == Online || t.word == Duplicate || t.word == Uncertain || t.returns
}
