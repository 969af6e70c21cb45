package rollout

import (
	"fmt"
	"strings"
	"time"
)

// Sight is what is known of a node that was released.
type Sight struct {
	State  SightState
	Reason string
	// Waited is how long the node has been there and has not proven it.
	Waited time.Duration
}

// SightState is where a node is.
type SightState int

// A node that is Away is not there, or paused: it is told, and not waited for.
const (
	Working SightState = iota
	Applied
	FailedToApply
	Away
	Gone // not registered any more
)

// World is what Next is told of everything else. Its functions are asked only
// while it runs.
type World struct {
	Now time.Time
	// Node is what is known of a released node: whether it has what the rollout
	// says, or, back, what it had without.
	Node   func(name string, back bool) Sight
	Online func(name string) bool    // of one that is to be released
	Gates  func(now State) []Reading // asked where all released nodes are well
	Orders []Order                   // newer than the state's, the oldest first
	Behind string                    // the rollout ahead that has something in common with it
	Shares string                    // what that is
	// Conflict is why its resources cannot be written any more, Author why its
	// author is not believed any more.
	Conflict string
	Author   string
	// Written is the sequence with which all of its resources were written, 0
	// while they are not.
	Written uint64
	// Planned is when the plan was stored.
	Planned time.Time
}

// Next decides what follows. Where it is nothing, the state comes back as it
// was, but for counts and readings.
func Next(p Plan, s State, w World) State {
	if s.Phase.Ended() {
		return s
	}
	if s.Phase == "" {
		s.Phase = Queued
	}
	for _, o := range w.Orders {
		s = s.obey(p, o, w.Now)
	}
	switch s.Phase {
	case Queued:
		return s.start(p, w)
	case Completing:
		switch {
		case w.Written > 0:
			s.Sequence, s.Reason = w.Written, ""
			s.count(p, w)
			return s.end(Complete, w.Now)
		case w.Conflict != "":
			return s.back(RolledBack, w.Conflict, w.Now)
		}
		return s
	case RollingBack:
		if s.count(p, w); s.Counts.Working == 0 {
			return s.end(s.Then, w.Now)
		}
		return s
	case Running, Waiting, Paused:
		return s.run(p, w)
	}
	return s
}

// start begins what is queued, when nothing is ahead of it.
func (s State) start(p Plan, w World) State {
	switch {
	case w.Author != "":
		s.Reason = w.Author
		return s.end(Failed, w.Now)
	case w.Behind != "":
		s.Behind, s.Shares, s.Reason = w.Behind, w.Shares, "behind "+w.Behind+", which has "+w.Shares+" too"
		return s
	case w.Conflict != "":
		s.Reason = w.Conflict
		return s.end(Failed, w.Now)
	}
	s.Behind, s.Shares = "", ""
	s.Phase, s.Wave, s.Started, s.Since = Running, 1, w.Now, w.Now
	return s.run(p, w)
}

// run looks at the nodes, and goes on where they are well.
func (s State) run(p Plan, w World) State {
	if s.Phase == Paused && s.Wave == 0 {
		return s
	}
	s.count(p, w)
	switch {
	case w.Author != "":
		return s.back(RolledBack, w.Author, w.Now)
	case w.Conflict != "":
		return s.back(RolledBack, w.Conflict, w.Now)
	case !w.Planned.IsZero() && w.Now.Sub(w.Planned) > MaxLife:
		return s.back(RolledBack, fmt.Sprintf("it took more than %d days", int(MaxLife.Hours()/24)), w.Now)
	case s.Phase == Paused:
		return s
	}
	if why := s.tooMany(p); why != "" {
		return s.fail(p, why, w.Now)
	}
	if s.release(p, w) {
		return s
	}
	step := p.Steps[s.Wave-1]
	if s.Released < step.Upto || s.Counts.Working > 0 {
		s.Phase, s.Good, s.Unsure, s.Gates = Running, time.Time{}, time.Time{}, nil
		s.Reason = fmt.Sprintf("%s on the way", nodes(s.Counts.Working))
		return s
	}
	return s.gates(p, w, step)
}

// gates goes on to the next wave when everything that must hold has held for
// long enough.
func (s State) gates(p Plan, w World, step Step) State {
	s.Phase, s.Reason = Running, ""
	if s.Wave > s.Promoted {
		s.Gates = nil
		if w.Gates != nil {
			s.Gates = w.Gates(s)
		}
		for _, says := range []string{Refuses, Unknown} {
			for _, g := range s.Gates {
				switch {
				case g.Says != says:
				case says == Refuses:
					return s.fail(p, "gate "+g.Gate+" refuses: "+g.Reason, w.Now)
				default:
					return s.unsure(p, g, w.Now)
				}
			}
		}
		s.Unsure = time.Time{}
		if s.Good.IsZero() {
			s.Good = w.Now
		}
		if over := s.Good.Add(time.Duration(p.Strategy.Bake)); w.Now.Before(over) {
			s.Reason = "bakes until " + over.UTC().Format(time.DateTime) + "Z"
			return s
		}
		if step.Approve && s.Approved < s.Wave {
			s.Phase, s.Reason = Waiting, "for a person: `fairlead rollout approve`"
			return s
		}
	}
	if s.Wave == len(p.Steps) {
		s.Phase, s.Reason = Completing, ""
		return s
	}
	s.Wave++
	s.Since, s.Good, s.Unsure, s.Gates = w.Now, time.Time{}, time.Time{}, nil
	return s.run(p, w)
}

// unsure waits for a gate that cannot be asked, and not for ever.
func (s State) unsure(p Plan, g Reading, now time.Time) State {
	if s.Unsure.IsZero() {
		s.Unsure = now
	}
	s.Good = time.Time{}
	limit := time.Duration(p.Strategy.GateTimeout)
	if now.Sub(s.Unsure) >= limit {
		return s.fail(p, fmt.Sprintf("gate %s said nothing for %v: %s", g.Gate, limit, g.Reason), now)
	}
	s.Phase, s.Reason = Waiting, "for gate "+g.Gate+": "+g.Reason
	return s
}

// release tells more nodes of the wave, as many as may be on their way at once.
// It reports whether it did.
func (s *State) release(p Plan, w World) bool {
	upto, room := p.Steps[s.Wave-1].Upto, len(p.Nodes)
	if most := p.Strategy.MaxUnavailable; !most.IsZero() {
		room = max(1, most.Down(len(p.Nodes))) - s.Counts.Working
	}
	before := s.Released
	for s.Released < upto && room > 0 {
		if w.Online(p.Nodes[s.Released]) {
			room--
		}
		s.Released++
	}
	if s.Released == before {
		return false
	}
	s.Phase, s.Since, s.Good, s.Unsure, s.Gates = Running, w.Now, time.Time{}, time.Time{}, nil
	s.Reason = ""
	s.count(p, w)
	return true
}

// count looks at every released node.
func (s *State) count(p Plan, w World) {
	s.Counts, s.Failures = Counts{}, nil
	for _, name := range p.Nodes[:s.Released] {
		sight := judged(p, w.Node(name, s.Phase == RollingBack))
		switch sight.State {
		case Applied:
			s.Counts.Applied++
		case Away:
			s.Counts.Pending++
		case Gone:
			s.Counts.Gone++
		case Working:
			s.Counts.Working++
		case FailedToApply:
			s.Counts.Failed++
			if len(s.Failures) < mostFailures {
				s.Failures = append(s.Failures, Failure{name, sight.Reason})
			}
		}
	}
}

// judged takes a node for failed that has been there for long and says nothing.
func judged(p Plan, sight Sight) Sight {
	limit := time.Duration(p.Strategy.NodeTimeout)
	if sight.State == Working && sight.Waited >= limit {
		return Sight{State: FailedToApply, Reason: fmt.Sprintf("it is there and has not proven it for %v", limit)}
	}
	return sight
}

// tooMany is why so many failures are too many, "" where they are not.
func (s State) tooMany(p Plan) string {
	failed := s.Counts.Failed
	if failed == 0 || failed <= s.Forgiven {
		return ""
	}
	most := p.Strategy.MaxFailed.Down(s.Released)
	why := ""
	switch {
	case failed > most && failed == 1:
	case failed > most:
		why = fmt.Sprintf("%d of %d nodes failed, more than %d: ", failed, s.Released, most)
	case s.Counts.Working == 0 && s.Counts.Applied == 0:
		why = "no node took it: "
	default:
		return ""
	}
	return why + s.Failures[0].Node + " failed: " + s.Failures[0].Reason
}

// fail does what the strategy says.
func (s State) fail(p Plan, why string, now time.Time) State {
	if p.Strategy.OnFailure == OnFailurePause {
		s.Phase, s.Reason, s.Good, s.Unsure = Paused, why, time.Time{}, time.Time{}
		return s
	}
	return s.back(RolledBack, why, now)
}

// back has the released nodes return; then is what it ends as.
func (s State) back(then Phase, why string, now time.Time) State {
	s.Phase, s.Then, s.Reason = RollingBack, then, why
	s.Since, s.Good, s.Unsure, s.Gates = now, time.Time{}, time.Time{}, nil
	s.Counts = Counts{}
	return s
}

func (s State) end(as Phase, now time.Time) State {
	s.Phase, s.Ended, s.Then, s.Behind, s.Shares = as, now, "", "", ""
	return s
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// oneLine keeps what nodes say on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
