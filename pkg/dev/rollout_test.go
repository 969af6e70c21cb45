package dev_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// waves are a strategy's.
func waves(t *testing.T, text string) (s rollout.Strategy) {
	t.Helper()
	for one := range strings.SplitSeq(text, ",") {
		a, err := rollout.ParseAmount(one)
		if err != nil {
			t.Fatal(err)
		}
		s.Waves = append(s.Waves, a)
	}
	return s
}

// roll begins a rollout of a set and returns its id.
func (r *rig) roll(s manifest.Set, remove bool, how rollout.Strategy) string {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	plan, err := r.client.Plan(ctx, s, remove)
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := r.client.StartRollout(ctx, plan, how, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// rollout is how far a rollout has come; it may not have been read yet.
func (r *rig) rollout(id string) station.RolloutStatus {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	st, _, err := r.client.Rollout(ctx, id)
	if err != nil && fleet.KindOf(err) != fleet.Unknown && fleet.KindOf(err) != fleet.Unavailable {
		r.t.Fatal(err)
	}
	return st
}

// becomes waits until a rollout is in a phase, with a reason that holds some words.
func (r *rig) becomes(id string, phase rollout.Phase, reason string) (st station.RolloutStatus) {
	r.t.Helper()
	what := fmt.Sprintf("the rollout is %s: %s", phase, reason)
	limit, cancel := patient(r.t)
	defer cancel()
	for {
		if st = r.rollout(id); st.State.Phase == phase && strings.Contains(st.State.Reason, reason) {
			return st
		}
		if st.State.Phase.Ended() || limit.Err() != nil {
			r.t.Fatalf("waited in vain for this: %s; it is %s (%s) with %v", what, st.Progress, st.State.Reason, st.Nodes)
		}
		tick(limit)
	}
}

// tick lets a little time pass between two looks.
func tick(ctx context.Context) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// order gives an order; its error is returned.
func (r *rig) order(id string, o rollout.Order) error {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	_, err := r.client.Steer(ctx, id, o)
	return err
}

// serving are the nodes that answer a text, by their numbers.
func (r *rig) serving(text string) (all []int) {
	for i, n := range r.nodes {
		if _, body := get(n.Address, 8080); body == text {
			all = append(all, i+1)
		}
	}
	return all
}

func (r *rig) serve(text string, want ...int) {
	r.t.Helper()
	if got := r.serving(text); !slices.Equal(got, want) {
		r.t.Errorf("nodes %v serve %q, not %v", got, text, want)
	}
}

// fleetOf is a rig with so many nodes that serve "old".
func fleetOf(t *testing.T, nodes int) *rig {
	t.Helper()
	r := newRig(t, nodes)
	r.station()
	for i := range r.nodes {
		r.agent(i)
	}
	succeeds(t, r.client, set(t, site("s", "", 8080, "old")), false)
	for _, n := range r.nodes {
		inSync(t, r.client, n.Name)
	}
	return r
}

// breaking is a site with a line that nginx does not take where a selector matches.
func breaking(text, selector string) string {
	return site("s", "", 8080, text) + fmt.Sprintf("---\n{apiVersion: fairlead/v1, kind: ConfigFile, metadata: {name: bad}, "+
		"spec: {context: http, selector: %q, content: \"allow no_such_address;\\n\"}}\n", selector)
}

func TestAChangeThatBreaksNginxOnTheSecondWaveIsTakenBackByItself(t *testing.T) {
	t.Parallel()
	r := fleetOf(t, 5)
	before := make(map[string]station.NodeDetail)
	for _, n := range r.nodes {
		before[n.Name] = node(t, r.client, n.Name)
	}
	how := waves(t, "3,100%")
	how.Canary = "index=1"
	id := r.roll(set(t, breaking("new", "index!=1")), false, how)
	st := r.becomes(id, rollout.RolledBack, "no_such_address")
	if st.State.Wave != 2 || st.State.Released != 3 || st.State.Counts != (rollout.Counts{Applied: 3}) || len(st.Steps) != 3 {
		t.Errorf("it ended as %+v", st)
	}
	r.serve("old", 1, 2, 3, 4, 5)
	released := 0
	for _, n := range r.nodes {
		d := inSync(t, r.client, n.Name)
		if d.DesiredDigest != before[n.Name].DesiredDigest || d.RunningDigest != before[n.Name].RunningDigest {
			t.Errorf("%s runs %s, and %s before", n.Name, d.RunningDigest, before[n.Name].RunningDigest)
		}
		switch len(endedOnce(t, r.client, n.Name)) - int(before[n.Name].DesiredRevision) {
		case 2: // there and back
			released++
			past, err := r.client.NodeHistory(t.Context(), n.Name)
			if err != nil || len(past) < 2 {
				t.Fatalf("%+v, %v", past, err)
			}
			for _, h := range past[len(past)-2:] {
				if h.Rollout != id || h.Cause != 0 || h.By != "admin" || !h.Proven {
					t.Errorf("the history of %s has %+v", n.Name, h)
				}
			}
			if d.DesiredRevision != before[n.Name].DesiredRevision+2 || d.Desired.By != "admin" || !strings.Contains(d.Desired.Message, "rolled back") {
				t.Errorf("the desired state of %s is %+v", n.Name, d.Desired)
			}
		case 0: // it saw nothing
			if d.DesiredRevision != before[n.Name].DesiredRevision {
				t.Errorf("%s was not released and has revision %d after %d", n.Name, d.DesiredRevision, before[n.Name].DesiredRevision)
			}
		default:
			t.Errorf("%s was told otherwise than there and back", n.Name)
		}
	}
	if released != 3 {
		t.Errorf("%d nodes saw it", released)
	}
	all, err := r.client.Resources(t.Context(), "", "")
	if err != nil || len(all) != 1 {
		t.Errorf("stored are %v: %v", all, err)
	}
}

func TestPeopleSteerARollout(t *testing.T) {
	t.Parallel()
	r := fleetOf(t, 4)
	byHand := waves(t, "1,2,100%")
	byHand.Gates = []string{rollout.GateApproval}
	text := func(s string) manifest.Set { return set(t, site("s", "", 8080, s)) }
	first := func(id string) (serving int) {
		t.Helper()
		r.becomes(id, rollout.Waiting, "for a person")
		return len(r.serving("new"))
	}

	t.Run("who pauses and aborts it has all nodes return", func(t *testing.T) {
		id := r.roll(text("new"), false, byHand)
		if n := first(id); n != 1 {
			t.Errorf("%d nodes serve the first wave", n)
		}
		if err := r.order(id, rollout.Order{Do: rollout.OrderPause, Why: "lunch"}); err != nil {
			t.Fatal(err)
		}
		r.becomes(id, rollout.Paused, "by admin: lunch")
		kindIs(t, r.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: 1}), fleet.Conflict)
		if n := len(r.serving("new")); n != 1 {
			t.Errorf("%d nodes serve it while it is paused", n)
		}

		// Neither the resource nor a node of it is to be had otherwise meanwhile.
		ctx, cancel := patient(t)
		defer cancel()
		for _, remove := range []bool{false, true} {
			plan, err := r.client.Plan(ctx, text("other"), remove)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = r.client.Apply(ctx, plan); err == nil || !strings.Contains(err.Error(), "VirtualHost/s is under rollout "+id+" by admin") {
				t.Errorf("applied over it: %v", err)
			}
			kindIs(t, err, fleet.Conflict)
		}
		later := r.roll(set(t, site("t", "", 8081, "later")), false, waves(t, "100%"))
		if st := r.becomes(later, rollout.Queued, "behind "+id); !strings.HasPrefix(st.State.Shares, "node node") {
			t.Errorf("it is queued for %q", st.State.Shares)
		}

		if err := r.order(id, rollout.Order{Do: rollout.OrderAbort}); err != nil {
			t.Fatal(err)
		}
		r.becomes(id, rollout.Aborted, "by admin")
		r.becomes(later, rollout.Complete, "")
		for _, n := range r.nodes {
			inSync(t, r.client, n.Name)
			serves(t, n.Address, 8081, "later")
		}
		r.serve("old", 1, 2, 3, 4)
		kindIs(t, r.order(id, rollout.Order{Do: rollout.OrderResume}), fleet.Conflict)
		kindIs(t, r.order("none", rollout.Order{Do: rollout.OrderResume}), fleet.Unknown)
	})

	t.Run("who approves, resumes and promotes it has it complete", func(t *testing.T) {
		revisions := make(map[string]uint64)
		id := r.roll(text("new"), false, byHand)
		first(id)
		for _, o := range []rollout.Order{{Do: rollout.OrderPause}, {Do: rollout.OrderResume}} {
			if err := r.order(id, o); err != nil {
				t.Fatal(err)
			}
		}
		first(id)
		if err := r.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: 1}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the second wave serves it", func() bool { return len(r.serving("new")) == 2 })
		kindIs(t, r.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: 1}), fleet.Conflict)
		first(id)
		for _, n := range r.nodes {
			revisions[n.Name] = inSync(t, r.client, n.Name).DesiredRevision
		}
		if err := r.order(id, rollout.Order{Do: rollout.OrderPromote, Wave: 2}); err != nil {
			t.Fatal(err)
		}
		st := r.becomes(id, rollout.Complete, "")
		r.serve("new", 1, 2, 3, 4)
		if st.State.Counts != (rollout.Counts{Applied: 4}) || st.Progress != "complete" {
			t.Errorf("it ended as %s: %+v", st.Progress, st.State)
		}
		changed := 0
		for _, n := range r.nodes {
			changed += int(inSync(t, r.client, n.Name).DesiredRevision - revisions[n.Name])
		}
		if changed != 2 {
			t.Errorf("%d nodes were told something by the last wave and the end, not 2", changed)
		}
		all, err := r.client.Resources(t.Context(), "VirtualHost", "s")
		if err != nil || len(all) != 1 || all[0].By != "admin" {
			t.Errorf("stored is %+v: %v", all, err)
		}
	})

	t.Run("what is changed beside it takes it back", func(t *testing.T) {
		id := r.roll(text("newer"), false, byHand)
		r.becomes(id, rollout.Waiting, "for a person")
		r.beside(text("beside")) // by who does not ask
		r.becomes(id, rollout.RolledBack, "VirtualHost/s was changed by admin meanwhile (beside)")
		for _, n := range r.nodes {
			inSync(t, r.client, n.Name)
		}
		r.serve("beside", 1, 2, 3, 4)
	})

	t.Run("a removal travels too", func(t *testing.T) {
		id := r.roll(set(t, site("t", "", 8081, "later")), true, byHand)
		r.becomes(id, rollout.Waiting, "for a person")
		gone := func() (n int) {
			for _, node := range r.nodes {
				if code, _ := get(node.Address, 8081); code == 0 {
					n++
				}
			}
			return n
		}
		if n := gone(); n != 1 {
			t.Errorf("%d nodes do not serve it any more after the first wave", n)
		}
		if err := r.order(id, rollout.Order{Do: rollout.OrderPromote, All: true}); err != nil {
			t.Fatal(err)
		}
		r.becomes(id, rollout.Complete, "")
		if n := gone(); n != 4 {
			t.Errorf("%d nodes do not serve it any more at the end", n)
		}
	})
}

// beside writes resources to the bucket as the administrator and asks nobody.
func (r *rig) beside(s manifest.Set) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	for _, x := range s.Resources() {
		body, err := json.Marshal(x)
		if err != nil {
			r.t.Fatal(err)
		}
		m := message.Message{Subject: message.ResourceSubject(x.Kind, x.Metadata.Name), ID: message.NewID(), From: "admin", Note: "beside", Body: body}
		if err := m.Sign(r.creds("admin")); err != nil {
			r.t.Fatal(err)
		}
		key := subjects.ResourceKey(x.Kind, x.Metadata.Name)
		if _, err := r.client.Conn().Put(ctx, subjects.Fleet, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestANodeThatWasAwayAllTheTimeEndsRightWhenItReturns(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.station()
	agents := []*part{r.agent(0), r.agent(1), r.agent(2)}
	succeeds(t, r.client, set(t, site("s", "", 8080, "old")), false)
	for _, n := range r.nodes {
		inSync(t, r.client, n.Name)
	}
	agents[2].stop(t)
	eventually(t, "node3 is away", func() bool { return node(t, r.client, "node3").Presence == station.Offline })

	id := r.roll(set(t, site("s", "", 8080, "new")), false, waves(t, "1,2,100%"))
	st := r.becomes(id, rollout.Complete, "")
	if st.Progress != "complete, 1 pending" || len(st.Nodes) != 1 || st.Nodes[0].Name != "node3" || st.Nodes[0].Is != "pending" {
		t.Errorf("it ended as %s: %+v", st.Progress, st.Nodes)
	}
	r.serve("new", 1, 2)
	r.serve("old", 3)
	r.agent(2)
	inSync(t, r.client, "node3")
	r.serve("new", 1, 2, 3)
	eventually(t, "nobody is pending", func() bool { return r.rollout(id).Progress == "complete" })

	// One that returns in the middle joins the wave, and counts when it fails.
	agents[0].stop(t)
	eventually(t, "node1 is away", func() bool { return node(t, r.client, "node1").Presence == station.Offline })
	how := waves(t, "2,100%")
	how.Canary, how.ApproveAfter = "node=node1", []int{1}
	id = r.roll(set(t, breaking("broken", "index=1")), false, how)
	if st := r.becomes(id, rollout.Waiting, "for a person"); st.State.Counts != (rollout.Counts{Pending: 1}) {
		t.Errorf("the counts are %+v", st.State.Counts)
	}
	if err := r.order(id, rollout.Order{Do: rollout.OrderApprove}); err != nil {
		t.Fatal(err)
	}
	r.becomes(id, rollout.Complete, "")
	r.agent(0)
	eventually(t, "the failure of the one that returned is told", func() bool { return r.rollout(id).Progress == "complete, 1 failed" })
}

func TestKilledStationsAndBrokersInTheMiddleChangeNothingAboutTheEnd(t *testing.T) {
	t.Parallel()
	i := newIslands(t, 3)
	for n := range i.nodes {
		i.agent(n)
	}
	succeeds(t, i.client, set(t, site("s", "", 8080, "old")), false)
	for _, n := range i.nodes {
		inSync(t, i.client, n.Name)
	}
	how := waves(t, "1,2,100%")
	how.Gates = []string{rollout.GateApproval}
	for _, end := range []rollout.Phase{rollout.RolledBack, rollout.Complete} {
		s := set(t, site("s", "", 8080, "new"))
		if end == rollout.RolledBack {
			s, how.Canary = set(t, breaking("new", "index!=1")), "node=node1"
		}
		id := i.roll(s, false, how)
		for wave := 1; ; wave++ {
			// It waits for a person, or is just over; all that knows of it is killed.
			var st station.RolloutStatus
			eventually(t, "a wave is through", func() bool {
				st = i.rollout(id)
				return st.State.Phase == rollout.Waiting && st.State.Wave >= wave || st.State.Phase.Ended()
			})
			i.cutOff(t)
			i.mainland(t)
			if st.State.Phase.Ended() {
				break
			}
			if again := i.rollout(id); again.State.Wave != st.State.Wave || again.State.Released != st.State.Released {
				t.Errorf("it was at %s, and is at %s after all was killed", st.Progress, again.Progress)
			}
			if err := i.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: wave}); err != nil {
				t.Fatal(err)
			}
		}
		i.becomes(id, end, "")
		for _, n := range i.nodes {
			inSync(t, i.client, n.Name)
		}
		i.serve(map[rollout.Phase]string{rollout.RolledBack: "old", rollout.Complete: "new"}[end], 1, 2, 3)
		how.Canary = ""
	}
}
