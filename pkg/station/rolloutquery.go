package station

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/subjects"
)

// RolloutsQuestion asks for rollouts, the newest first.
type RolloutsQuestion struct {
	// Open leaves out those that are over.
	Open bool `json:"open,omitempty"`
	// ID is one of them, by its id or the end or the beginning of it.
	ID string `json:"id,omitempty"`
	// Nodes asks where each released node is, as far as it is not well; at most mostSights.
	Nodes bool `json:"nodes,omitempty"`
}

// RolloutsAnswer gives them.
type RolloutsAnswer struct {
	Rollouts []RolloutStatus `json:"rollouts"`
	More     bool            `json:"more,omitempty"` // older ones are left out
	Now      time.Time       `json:"now"`
}

// RolloutStatus is what a station knows of a rollout.
type RolloutStatus struct {
	ID       string             `json:"id"`
	By       string             `json:"by"`
	At       time.Time          `json:"at"`
	Message  string             `json:"message,omitempty"`
	Undoes   string             `json:"undoes,omitempty"`
	Strategy rollout.Strategy   `json:"strategy"`
	Steps    []rollout.Step     `json:"steps"`
	Size     int                `json:"size"` // nodes of the expected set
	Changes  []rollout.Change   `json:"changes"`
	State    rollout.State      `json:"state"`
	Progress string             `json:"progress"` // in words
	Nodes    []RolloutNodeSight `json:"nodes,omitempty"`
}

// RolloutNodeSight is a released node that is not well.
type RolloutNodeSight struct {
	Name   string `json:"name"`
	Is     string `json:"is"` // "on its way", "failed", "pending" or "gone"
	Reason string `json:"reason,omitempty"`
}

// mostSights bounds the nodes that an answer names, mostRollouts the rollouts.
const (
	mostSights   = 200
	mostRollouts = 100
)

func (s *Station) answerRollouts(_ context.Context, q RolloutsQuestion) (RolloutsAnswer, error) {
	answer := RolloutsAnswer{Now: s.clock.Now()}
	r := s.rollouts
	r.mu.Lock()
	all := r.known()
	slices.Reverse(all)
	var size page
	for _, t := range all {
		whole := t.id == q.ID
		if q.ID != "" && !whole && !strings.HasPrefix(t.id, q.ID) && !strings.HasSuffix(t.id, q.ID) || q.Open && !t.open() {
			continue
		}
		status := t.status()
		if _, fits := size.takes(status, mostRollouts); !fits {
			answer.More = true
			break
		}
		if whole {
			answer.Rollouts = nil
		}
		answer.Rollouts = append(answer.Rollouts, status)
		if whole {
			break
		}
	}
	r.mu.Unlock()
	if len(answer.Rollouts) != 1 || q.ID == "" {
		if q.ID != "" && len(answer.Rollouts) == 0 {
			return answer, fleet.Errorf(fleet.Unknown, "no rollout %q: `fairlead rollout ls` lists those there are", q.ID)
		}
		return answer, nil
	}
	if q.Nodes {
		s.look(&answer.Rollouts[0], answer.Now)
	}
	return answer, nil
}

// status is a rollout without its nodes. The lock is held.
func (t *travel) status() RolloutStatus {
	st := RolloutStatus{ID: t.id, By: t.author, At: t.at, Message: t.plan.Message, Undoes: t.plan.Undoes, Strategy: t.plan.Strategy, Steps: t.plan.Steps,
		Size: t.size, Changes: t.plan.Changes, State: t.state, Progress: t.state.Progress(t.plan)}
	if st.State.Phase == "" {
		st.State.Phase, st.Progress = rollout.Queued, "planned; no station has taken it up yet"
	}
	return st
}

// look finds the released nodes of a rollout that are not well. Of one that is
// complete it counts anew: those that were away may have come back.
func (s *Station) look(st *RolloutStatus, now time.Time) {
	s.rollouts.mu.Lock()
	t := s.rollouts.byID[st.ID]
	trimmed, names := t.trimmed, t.plan.Nodes
	s.rollouts.mu.Unlock()
	if trimmed { // as it was when it ended
		return
	}
	against := without
	if st.State.Overlays() {
		against = with
	} else if st.State.Phase == rollout.Complete {
		against = after
	}
	var counts rollout.Counts
	for _, name := range names[:min(st.State.Released, len(names))] {
		sight, _ := s.seen(t, name, against, st.State.Sequence, now)
		is := ""
		switch sight.State {
		case rollout.Applied:
			counts.Applied++
			continue
		case rollout.Working:
			is = "on its way"
			counts.Working++
		case rollout.FailedToApply:
			is = "failed"
			counts.Failed++
		case rollout.Away:
			is = "pending"
			counts.Pending++
		case rollout.Gone:
			is = "gone"
			counts.Gone++
		}
		if len(st.Nodes) < mostSights {
			st.Nodes = append(st.Nodes, RolloutNodeSight{name, is, sight.Reason})
		}
	}
	slices.SortStableFunc(st.Nodes, func(a, b RolloutNodeSight) int { return cmp.Compare(a.Is, b.Is) })
	if st.State.Phase == rollout.Complete {
		st.State.Counts = counts
		st.Progress = st.State.Progress(t.plan)
	}
}

// NodeRollout is what a rollout that is under way has to do with a node.
type NodeRollout struct {
	ID       string        `json:"id"`
	By       string        `json:"by"`
	Phase    rollout.Phase `json:"phase"`
	Progress string        `json:"progress"`
	Wave     int           `json:"wave"` // the node's
	Released bool          `json:"released"`
	Reason   string        `json:"reason,omitempty"`
}

// rolloutOf is the rollout that is under way on a node, nil for none.
func (r *rollouts) rolloutOf(name string) *NodeRollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.known() {
		at := -1
		if t.open() {
			at = slices.Index(t.plan.Nodes, name)
		}
		if at < 0 {
			continue
		}
		st := t.status()
		n := &NodeRollout{ID: t.id, By: t.author, Phase: st.State.Phase, Progress: st.Progress, Reason: t.state.Reason, Released: at < t.state.Released}
		for n.Wave < len(t.plan.Steps) && t.plan.Steps[n.Wave].Upto <= at {
			n.Wave++
		}
		n.Wave++
		return n
	}
	return nil
}

// SignRollout makes the documents of a rollout, to be stored in one step:
// resources as changes says, which a person has signed, and the plan over them.
func SignRollout(id string, plan rollout.Plan, changes []bus.Change, from string, signer message.Signer) ([]bus.Change, error) {
	if err := plan.Validate(); err != nil {
		return nil, err
	}
	var all []bus.Change
	for _, c := range changes {
		m, err := message.SignBody(subjects.RolloutSubject(id, subjects.RolloutDoc), from, "", document{c.Document.Headers(), c.Document.Wire()}, signer)
		if err != nil {
			return nil, err
		}
		all = append(all, bus.Change{Key: subjects.RolloutDocKey(id, c.Key), Document: m})
	}
	body, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	if len(body) > rollout.MaxPlan {
		return nil, fleet.Errorf(fleet.Invalid, "the plan of a rollout over %d nodes takes %d KiB: at most %d; select fewer nodes", len(plan.Nodes), len(body)>>10, rollout.MaxPlan>>10)
	}
	m := message.Message{Subject: subjects.RolloutSubject(id, subjects.RolloutPlan), ID: message.NewID(), From: from, Body: body}
	if err := m.Sign(signer); err != nil {
		return nil, err
	}
	return append(all, bus.Change{Key: subjects.RolloutKey(id, subjects.RolloutPlan), Document: m}), nil
}

// SignOrder makes the document of an order.
func SignOrder(id string, o rollout.Order, from string, signer message.Signer) (bus.Change, error) {
	m, err := message.SignBody(subjects.RolloutSubject(id, subjects.RolloutOrder), from, "", o, signer)
	return bus.Change{Key: subjects.RolloutKey(id, subjects.RolloutOrder), Document: m, Expect: bus.Any}, err
}
