package rollout_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/rollout"
)

// trip is a rollout over nodes n1, n2, … that a test leads.
type trip struct {
	t        *testing.T
	plan     rollout.Plan
	state    rollout.State
	world    rollout.World
	sights   map[string]rollout.Sight
	returned map[string]rollout.Sight // the same on the way back
	readings []rollout.Reading
	orders   uint64
}

// start makes a trip; online nodes are on their way when they are released.
func start(t *testing.T, nodes int, waves string, change func(*rollout.Strategy)) *trip {
	t.Helper()
	s := rollout.Strategy{Waves: amounts(t, waves)}
	if change != nil {
		change(&s)
	}
	s, err := s.Complete()
	if err != nil {
		t.Fatal(err)
	}
	tr := &trip{t: t, sights: make(map[string]rollout.Sight), returned: make(map[string]rollout.Sight)}
	tr.plan = rollout.Plan{Strategy: s, Steps: s.Steps(nodes, 0), Changes: []rollout.Change{{Key: "VirtualHost.x", Document: "1", Bases: []string{""}}}}
	for i := range nodes {
		tr.plan.Nodes = append(tr.plan.Nodes, fmt.Sprintf("n%d", i+1))
	}
	tr.world = rollout.World{Now: time.Unix(1e9, 0), Planned: time.Unix(1e9, 0),
		Node: func(name string, back bool) rollout.Sight {
			if back {
				return tr.returned[name]
			}
			return tr.sights[name]
		},
		Online: func(name string) bool { return tr.sights[name].State != rollout.Away },
		Gates:  func(rollout.State) []rollout.Reading { return tr.readings },
	}
	return tr
}

// step lets it go on, after a while.
func (tr *trip) step(after time.Duration) *trip {
	tr.world.Now = tr.world.Now.Add(after)
	tr.state = rollout.Next(tr.plan, tr.state, tr.world)
	tr.world.Orders = nil
	return tr
}

// order gives an order with the next step.
func (tr *trip) order(o rollout.Order) *trip {
	tr.orders++
	o.Sequence, o.By = tr.orders, "bob"
	tr.world.Orders = append(tr.world.Orders, o)
	return tr
}

// nodes have become something.
func (tr *trip) nodes(state rollout.SightState, names ...string) *trip {
	for _, name := range names {
		tr.sights[name] = rollout.Sight{State: state, Reason: map[bool]string{true: "emerg"}[state == rollout.FailedToApply]}
	}
	return tr
}

// all nodes prove the change, or have when they are released.
func (tr *trip) all() *trip { return tr.nodes(rollout.Applied, tr.plan.Nodes...) }

// back has nodes become something on the way back.
func (tr *trip) back(state rollout.SightState, names ...string) *trip {
	for _, name := range names {
		tr.returned[name] = rollout.Sight{State: state}
	}
	return tr
}

func (tr *trip) is(phase rollout.Phase, wave, released int, reason string) *trip {
	tr.t.Helper()
	s := tr.state
	if s.Phase != phase || s.Wave != wave || s.Released != released || !strings.Contains(s.Reason, reason) {
		tr.t.Errorf("it is %s at wave %d with %d released, %q; not %s at wave %d with %d, %q", s.Phase, s.Wave, s.Released, s.Reason, phase, wave, released, reason)
	}
	return tr
}

func (tr *trip) completes() *trip {
	tr.t.Helper()
	tr.step(0).is(rollout.Completing, len(tr.plan.Steps), len(tr.plan.Nodes), "")
	tr.step(0).is(rollout.Completing, len(tr.plan.Steps), len(tr.plan.Nodes), "")
	tr.world.Written = 77
	tr.step(0).is(rollout.Complete, len(tr.plan.Steps), len(tr.plan.Nodes), "")
	if tr.state.Sequence != 77 || tr.state.Ended.IsZero() || tr.state.Overlays() {
		tr.t.Errorf("the end is %+v", tr.state)
	}
	return tr
}

const second = time.Second

func TestWavesFollowEachOtherWhenTheirNodesAreWell(t *testing.T) {
	tr := start(t, 20, "1,5%,25%,100%", nil)
	tr.step(0).is(rollout.Running, 1, 1, "") // 5 % of 20 is the same wave
	tr.step(second).is(rollout.Running, 1, 1, "1 node on the way")
	tr.nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 2, 5, "")
	tr.step(second).is(rollout.Running, 2, 5, "4 nodes on the way")
	tr.nodes(rollout.Applied, "n2", "n3", "n4").step(second).is(rollout.Running, 2, 5, "1 node on the way")
	tr.nodes(rollout.Applied, "n5").step(second).is(rollout.Running, 3, 20, "")
	tr.all().completes()
	if c := tr.state.Counts; c != (rollout.Counts{Applied: 20}) {
		t.Errorf("the counts are %+v", c)
	}
}

func TestNothingFollowsAnEnd(t *testing.T) {
	tr := start(t, 2, "100%", nil)
	tr.step(0).all().completes()
	end := tr.state
	tr.nodes(rollout.FailedToApply, "n1").order(rollout.Order{Do: rollout.OrderAbort}).step(second)
	if fmt.Sprint(tr.state) != fmt.Sprint(end) {
		t.Errorf("%+v became %+v", end, tr.state)
	}
}

func TestAWaveBakesUntilItWasWellForLongEnough(t *testing.T) {
	tr := start(t, 2, "1,100%", func(s *rollout.Strategy) { s.Bake = rollout.Duration(30 * second) })
	tr.step(0).nodes(rollout.Applied, "n1")
	tr.step(second).is(rollout.Running, 1, 1, "bakes until")
	tr.step(29*second).is(rollout.Running, 1, 1, "bakes until")
	tr.nodes(rollout.Working, "n1").step(second).is(rollout.Running, 1, 1, "on the way") // it left the good path: anew
	tr.nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 1, 1, "bakes until")
	tr.step(30*second).is(rollout.Running, 2, 2, "")
	tr.all().step(second).is(rollout.Running, 2, 2, "bakes until") // the last wave bakes too
	tr.step(30*second).is(rollout.Completing, 2, 2, "")
}

func TestAFailureRollsBackOrPauses(t *testing.T) {
	for _, c := range []struct {
		name, maxFailed, onFailure string
		fail                       []string
		phase                      rollout.Phase
		reason                     string
	}{
		{"one is too many", "0", "rollback", []string{"n2"}, rollout.RollingBack, "n2 failed: emerg"},
		{"or pauses", "0", "pause", []string{"n2"}, rollout.Paused, "n2 failed: emerg"},
		{"one is allowed", "1", "rollback", []string{"n2"}, rollout.Running, "on the way"},
		{"two are too many", "1", "rollback", []string{"n2", "n3"}, rollout.RollingBack, "2 of 5 nodes failed, more than 1: n2 failed"},
		{"a share of those released", "20%", "rollback", []string{"n2"}, rollout.Running, "on the way"},
		{"more than the share", "20%", "rollback", []string{"n2", "n3"}, rollout.RollingBack, "2 of 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := start(t, 20, "1,25%,100%", func(s *rollout.Strategy) { s.MaxFailed, s.OnFailure = amounts(t, c.maxFailed)[0], c.onFailure })
			tr.step(0).nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 2, 5, "")
			tr.nodes(rollout.FailedToApply, c.fail...).step(second).is(c.phase, 2, 5, c.reason)
		})
	}
}

func TestTheCanaryStopsItWhateverShareMayFail(t *testing.T) {
	tr := start(t, 100, "1,100%", func(s *rollout.Strategy) { s.MaxFailed = amounts(t, "50%")[0] })
	tr.step(0).nodes(rollout.FailedToApply, "n1").step(second).is(rollout.RollingBack, 1, 1, "n1 failed: emerg")

	tr = start(t, 100, "2,100%", func(s *rollout.Strategy) { s.MaxFailed = amounts(t, "2")[0] })
	tr.step(0).nodes(rollout.FailedToApply, "n1", "n2").step(second).is(rollout.RollingBack, 1, 2, "no node took it")
}

func TestARollBackEndsWhenTheNodesThatAreThereAreBack(t *testing.T) {
	tr := start(t, 3, "100%", nil)
	tr.step(0).nodes(rollout.FailedToApply, "n1").nodes(rollout.Applied, "n2").step(second).is(rollout.RollingBack, 1, 3, "n1 failed")
	if tr.state.Overlays() {
		t.Error("the nodes keep it")
	}
	tr.back(rollout.Working, "n1", "n2").back(rollout.Away, "n3").step(second).is(rollout.RollingBack, 1, 3, "n1 failed")
	tr.order(rollout.Order{Do: rollout.OrderResume}).step(second).is(rollout.RollingBack, 1, 3, "n1 failed")
	if !strings.Contains(tr.state.OrderSaid, "goes on to its end") {
		t.Errorf("the order's answer is %q", tr.state.OrderSaid)
	}
	tr.back(rollout.Applied, "n1", "n2").step(second).is(rollout.RolledBack, 1, 3, "n1 failed")
	if got := tr.state.Progress(tr.plan); got != "rolled back, 1 pending" {
		t.Error(got)
	}
}

func TestOfflineNodesNeverBlockAndCountWhenTheyReturn(t *testing.T) {
	tr := start(t, 6, "2,4,100%", func(s *rollout.Strategy) { s.MaxFailed = amounts(t, "1")[0] })
	tr.nodes(rollout.Away, "n2", "n3", "n6").step(0).is(rollout.Running, 1, 2, "")
	tr.nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 2, 4, "")
	// One that returns joins the wave that is under way, and this one waits for it.
	tr.nodes(rollout.Applied, "n4").nodes(rollout.Working, "n2").step(second).is(rollout.Running, 2, 4, "1 node on the way")
	tr.nodes(rollout.FailedToApply, "n2").step(second).is(rollout.Running, 3, 6, "")
	tr.nodes(rollout.Applied, "n5").completes()
	if got := tr.state.Progress(tr.plan); got != "complete, 2 pending, 1 failed" {
		t.Error(got)
	}

	tr = start(t, 6, "2,4,100%", nil)
	tr.nodes(rollout.Away, "n2").step(0).nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 2, 4, "")
	tr.nodes(rollout.FailedToApply, "n2").step(second).is(rollout.RollingBack, 2, 4, "n2 failed: emerg")
}

func TestOnlySoManyNodesAreOnTheirWayAtOnce(t *testing.T) {
	tr := start(t, 10, "100%", func(s *rollout.Strategy) { s.MaxUnavailable = amounts(t, "30%")[0] })
	tr.nodes(rollout.Away, "n2", "n3").step(0).is(rollout.Running, 1, 5, "") // those away take no place
	tr.step(second).is(rollout.Running, 1, 5, "3 nodes on the way")
	tr.nodes(rollout.Applied, "n1", "n4").step(second).is(rollout.Running, 1, 7, "")
	tr.nodes(rollout.Applied, "n5", "n6", "n7").step(second).is(rollout.Running, 1, 10, "")
	tr.nodes(rollout.Applied, "n8", "n9", "n10").completes()
	if tr.state.Counts.Pending != 2 {
		t.Errorf("the counts are %+v", tr.state.Counts)
	}
}

func TestANodeThatSaysNothingForLongHasFailed(t *testing.T) {
	tr := start(t, 2, "1,100%", nil)
	tr.step(0)
	tr.sights["n1"] = rollout.Sight{Waited: rollout.DefaultNodeTimeout - 1}
	tr.step(second).is(rollout.Running, 1, 1, "on the way")
	tr.sights["n1"] = rollout.Sight{Waited: rollout.DefaultNodeTimeout}
	tr.step(second).is(rollout.RollingBack, 1, 1, "n1 failed: it is there and has not proven it for 5m0s")
}

func TestNodesThatLeftTheFleetAreNotWaitedFor(t *testing.T) {
	tr := start(t, 2, "100%", nil)
	tr.step(0).nodes(rollout.Applied, "n1").nodes(rollout.Gone, "n2").completes()
	if tr.state.Counts.Gone != 1 {
		t.Errorf("the counts are %+v", tr.state.Counts)
	}
}

func TestAGateThatRefusesFailsTheWaveAndOneThatSaysNothingHoldsIt(t *testing.T) {
	says := func(tr *trip, says string) *trip {
		tr.readings = []rollout.Reading{{Gate: "ok", Says: rollout.Passes}, {Gate: "5xx<1%", Says: says, Reason: "because"}}
		return tr
	}
	tr := start(t, 2, "1,100%", func(s *rollout.Strategy) {
		s.GateTimeout, s.Bake = rollout.Duration(60*second), rollout.Duration(10*second)
	})
	says(tr, rollout.Refuses).step(0).step(second).is(rollout.Running, 1, 1, "on the way") // not asked before the nodes are well
	says(tr, rollout.Unknown).nodes(rollout.Applied, "n1").step(second).is(rollout.Waiting, 1, 1, "for gate 5xx<1%: because")
	tr.step(59*second).is(rollout.Waiting, 1, 1, "for gate")
	says(tr, rollout.Passes).step(0).is(rollout.Running, 1, 1, "bakes until")
	says(tr, rollout.Unknown).step(9*second).is(rollout.Waiting, 1, 1, "for gate") // the time counts anew
	says(tr, rollout.Passes).step(59*second).is(rollout.Running, 1, 1, "bakes until")
	tr.step(10*second).is(rollout.Running, 2, 2, "")
	says(tr, rollout.Unknown).nodes(rollout.Applied, "n2").step(second).is(rollout.Waiting, 2, 2, "for gate")
	tr.step(60*second).is(rollout.RollingBack, 2, 2, "gate 5xx<1% said nothing for 1m0s: because")

	tr = start(t, 2, "1,100%", nil)
	says(tr, rollout.Refuses).step(0).nodes(rollout.Applied, "n1").step(second).is(rollout.RollingBack, 1, 1, "gate 5xx<1% refuses: because")
}

func TestAPersonIsWaitedForAndHerWordIsForTheWaveThatSheSaw(t *testing.T) {
	tr := start(t, 3, "1,2,100%", func(s *rollout.Strategy) { s.Gates = []string{"approval"} })
	tr.step(0).nodes(rollout.Applied, "n1").step(second).is(rollout.Waiting, 1, 1, "for a person")
	tr.step(1000*time.Hour/2).is(rollout.Waiting, 1, 1, "for a person") // as long as it takes
	tr.order(rollout.Order{Do: rollout.OrderApprove, Wave: 1}).step(second).is(rollout.Running, 2, 2, "")
	tr.order(rollout.Order{Do: rollout.OrderApprove, Wave: 1}).step(second).is(rollout.Running, 2, 2, "on the way")
	if !strings.Contains(tr.state.OrderSaid, "wave 1 is over") {
		t.Errorf("the order's answer is %q", tr.state.OrderSaid)
	}
	// In advance, and a failure is one nevertheless.
	tr.order(rollout.Order{Do: rollout.OrderApprove, Wave: 2}).nodes(rollout.FailedToApply, "n2").step(second).is(rollout.RollingBack, 2, 2, "n2 failed")
}

func TestPauseHoldsWhatIsThereAndResumeForgivesWhatFailed(t *testing.T) {
	tr := start(t, 4, "1,2,100%", func(s *rollout.Strategy) { s.OnFailure = rollout.OnFailurePause })
	tr.step(0).order(rollout.Order{Do: rollout.OrderPause, Why: "lunch\nbreak"}).nodes(rollout.Applied, "n1").step(second).
		is(rollout.Paused, 1, 1, "by bob: lunch break")
	if !tr.state.Overlays() {
		t.Error("the released nodes lose it")
	}
	tr.step(second).is(rollout.Paused, 1, 1, "by bob")
	tr.order(rollout.Order{Do: rollout.OrderPromote}).step(second).is(rollout.Paused, 1, 1, "by bob")
	tr.order(rollout.Order{Do: rollout.OrderResume}).step(second).is(rollout.Running, 2, 2, "")
	tr.order(rollout.Order{Do: rollout.OrderResume}).nodes(rollout.FailedToApply, "n2").step(second).is(rollout.Paused, 2, 2, "n2 failed")
	tr.order(rollout.Order{Do: rollout.OrderResume}).step(second).is(rollout.Running, 3, 4, "")
	tr.nodes(rollout.FailedToApply, "n3").step(second).is(rollout.Paused, 3, 4, "2 of 4 nodes failed")
	tr.order(rollout.Order{Do: rollout.OrderAbort}).step(second).is(rollout.RollingBack, 3, 4, "by bob")
	tr.all().step(second).is(rollout.RollingBack, 3, 4, "by bob") // what they took is not what they are to return to
	tr.back(rollout.Applied, tr.plan.Nodes...).step(second).is(rollout.Aborted, 3, 4, "by bob")
}

func TestPromoteCutsBakeGatesAndApprovalShortButNoFailure(t *testing.T) {
	tr := start(t, 4, "1,2,3,100%", func(s *rollout.Strategy) {
		s.Bake, s.Gates = rollout.Duration(time.Hour), []string{"approval"}
	})
	tr.readings = []rollout.Reading{{Gate: "g", Says: rollout.Unknown}}
	tr.step(0).order(rollout.Order{Do: rollout.OrderPromote, Wave: 1}).step(second).is(rollout.Running, 1, 1, "on the way")
	tr.nodes(rollout.Applied, "n1").step(second).is(rollout.Running, 2, 2, "")
	tr.nodes(rollout.Applied, "n2").step(second).is(rollout.Waiting, 2, 2, "gate g")
	tr.order(rollout.Order{Do: rollout.OrderPromote, All: true}).step(second).is(rollout.Running, 3, 3, "")
	tr.nodes(rollout.FailedToApply, "n3").step(second).is(rollout.RollingBack, 3, 3, "n3 failed")
}

func TestWhatIsQueuedStartsWhenNothingIsAhead(t *testing.T) {
	tr := start(t, 2, "100%", nil)
	tr.world.Behind, tr.world.Shares, tr.world.Conflict = "R1", "node n1", "not so"
	tr.step(0).is(rollout.Queued, 0, 0, "behind R1, which has node n1 too")
	tr.order(rollout.Order{Do: rollout.OrderPause}).step(0).is(rollout.Paused, 0, 0, "by bob")
	tr.order(rollout.Order{Do: rollout.OrderApprove}).step(0).is(rollout.Paused, 0, 0, "by bob")
	if tr.state.Overlays() || !tr.state.Under() {
		t.Errorf("%+v", tr.state)
	}
	tr.order(rollout.Order{Do: rollout.OrderResume}).step(0).is(rollout.Queued, 0, 0, "behind R1")
	tr.world.Behind, tr.world.Conflict = "", ""
	tr.step(0).is(rollout.Running, 1, 2, "")

	tr = start(t, 2, "100%", nil)
	tr.world.Behind = "R1"
	tr.step(0).order(rollout.Order{Do: rollout.OrderAbort}).step(0).is(rollout.Aborted, 0, 0, "by bob")
}

func TestAConflictOrAnAuthorWhoIsNotBelievedEndsIt(t *testing.T) {
	for _, set := range []func(*rollout.World){
		func(w *rollout.World) { w.Conflict = "VirtualHost/x was changed by eve" },
		func(w *rollout.World) { w.Author = "VirtualHost/x was changed by eve" },
	} {
		tr := start(t, 2, "1,100%", nil)
		set(&tr.world)
		tr.step(0).is(rollout.Failed, 0, 0, "changed by eve")

		tr = start(t, 2, "1,100%", func(s *rollout.Strategy) { s.OnFailure = rollout.OnFailurePause })
		tr.step(0).order(rollout.Order{Do: rollout.OrderPause}).step(0)
		set(&tr.world)
		tr.step(second).is(rollout.RollingBack, 1, 1, "changed by eve")
	}
	tr := start(t, 1, "100%", nil)
	tr.step(0).all().step(0).is(rollout.Completing, 1, 1, "")
	tr.world.Conflict = "VirtualHost/x was changed by eve"
	tr.order(rollout.Order{Do: rollout.OrderAbort}).step(0).is(rollout.RollingBack, 1, 1, "changed by eve")
	if tr.state.OrderSaid == "" {
		t.Error("it was aborted while it was being written")
	}
}

func TestARolloutThatNobodyEndsIsRolledBack(t *testing.T) {
	tr := start(t, 2, "1,100%", nil)
	tr.step(0).order(rollout.Order{Do: rollout.OrderPause}).step(0).step(rollout.MaxLife).is(rollout.Paused, 1, 1, "by bob")
	tr.step(second).is(rollout.RollingBack, 1, 1, "more than 30 days")
}

func TestARolloutForNoNodeIsCompleteAtOnce(t *testing.T) {
	tr := start(t, 0, "1,100%", nil)
	tr.step(0).is(rollout.Completing, 1, 0, "")
	tr.world.Written = 1
	tr.step(0).is(rollout.Complete, 1, 0, "")
}

func TestNothingNewIsNoOtherState(t *testing.T) {
	tr := start(t, 5, "1,100%", func(s *rollout.Strategy) { s.Bake = rollout.Duration(second) })
	for range 4 {
		tr.step(0)
		once := fmt.Sprintf("%+v", tr.step(0).state)
		if got := fmt.Sprintf("%+v", tr.step(0).state); got != once {
			t.Errorf("%s became %s", once, got)
		}
		tr.nodes(rollout.Applied, tr.plan.Nodes[:tr.state.Released]...)
	}
}

// What is written again and again stays small, however many nodes there are and
// whatever they say; their names are in the plan alone.
func TestARolloutOverTenThousandNodesCountsThemAll(t *testing.T) {
	const nodes = 10000
	tr := start(t, nodes, "1,5%,25%,100%", func(s *rollout.Strategy) { s.MaxFailed = amounts(t, "1%")[0] })
	for i := range tr.plan.Nodes {
		tr.plan.Nodes[i] = fmt.Sprintf("harbour-of-%09d", i)
	}
	reason := strings.Repeat("e", 500)
	for i, name := range tr.plan.Nodes {
		switch {
		case i%1000 == 999:
			tr.sights[name] = rollout.Sight{State: rollout.FailedToApply, Reason: reason}
		case i%10 == 5:
			tr.sights[name] = rollout.Sight{State: rollout.Away}
		default:
			tr.sights[name] = rollout.Sight{State: rollout.Applied}
		}
	}
	seen, largest := []int{0}, 0
	for range 20 {
		tr.step(time.Second)
		if tr.state.Released != seen[len(seen)-1] {
			seen = append(seen, tr.state.Released)
		}
		data, err := json.Marshal(tr.state)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data))
		if tr.state.Phase == rollout.Completing {
			tr.world.Written = 7
		}
	}
	want := rollout.Counts{Applied: 8990, Failed: 10, Pending: 1000}
	if tr.state.Phase != rollout.Complete || tr.state.Counts != want {
		t.Errorf("%s %s: %+v, want %+v", tr.state.Phase, tr.state.Reason, tr.state.Counts, want)
	}
	if fmt.Sprint(seen) != "[0 1 500 2500 10000]" {
		t.Errorf("released were %v", seen)
	}
	if largest > 8<<10 {
		t.Errorf("a state takes %d bytes", largest)
	}
	plan, err := json.Marshal(tr.plan)
	if err != nil || len(plan) > rollout.MaxPlan/3 {
		t.Errorf("the plan takes %d bytes, %v", len(plan), err)
	}
	if read, err := rollout.DecodePlan(plan); err != nil || len(read.Nodes) != nodes {
		t.Errorf("%d nodes are read, %v", len(read.Nodes), err)
	}
}
