package rollout

import (
	"encoding/json"
	"fmt"
	"time"

	"fairlead/pkg/fleet"
)

// Phase is where a rollout is.
type Phase string

// The phases. The last four are ends.
const (
	Queued      Phase = "queued"       // another one touches the same nodes or resources
	Running     Phase = "running"      // nodes take the change, or it bakes
	Waiting     Phase = "waiting"      // for a gate or for a person
	Paused      Phase = "paused"       // by a person, or by itself
	Completing  Phase = "completing"   // every wave is through; its resources are about to be written
	RollingBack Phase = "rolling back" // nodes return to what the resources say
	Complete    Phase = "complete"
	RolledBack  Phase = "rolled back"
	Aborted     Phase = "aborted"
	Failed      Phase = "failed" // before a node was released
)

// Ended reports whether nothing follows.
func (p Phase) Ended() bool {
	return p == Complete || p == RolledBack || p == Aborted || p == Failed
}

// State is how far a rollout has come. A station signs it; each is written over
// the one before it and over no other.
type State struct {
	Number uint64 `json:"number"` // grows by one with each
	Epoch  uint64 `json:"epoch"`  // of the station that drove it then
	By     string `json:"by"`     // its name
	Phase  Phase  `json:"phase"`
	// Wave is the one that is under way, from 1; 0 before the first.
	Wave int `json:"wave"`
	// Released is how many of the plan's nodes, in its order, were told.
	Released int    `json:"released"`
	Reason   string `json:"reason,omitempty"` // for people: what it waits for, or why it ended so
	Behind   string `json:"behind,omitempty"` // the rollout that it is queued behind
	Shares   string `json:"shares,omitempty"` // what it has in common with it

	Started time.Time `json:"started,omitzero"` // by the broker's clock, as all others
	Since   time.Time `json:"since,omitzero"`   // of the last release
	Good    time.Time `json:"good,omitzero"`    // since when the wave is well: it bakes from here
	Unsure  time.Time `json:"unsure,omitzero"`  // since when a gate cannot be asked
	Ended   time.Time `json:"ended,omitzero"`

	Approved int `json:"approved,omitempty"` // waves that a person approved
	Promoted int `json:"promoted,omitempty"` // waves whose bake and gates a person cut short
	Forgiven int `json:"forgiven,omitempty"` // failures that were there when a person resumed it

	Order     uint64 `json:"order,omitempty"`     // sequence of the last order that was taken
	OrderSaid string `json:"orderSaid,omitempty"` // why that one could not be followed
	// Then is what follows when it is rolled back.
	Then Phase `json:"then,omitempty"`

	Counts   Counts    `json:"counts"`
	Failures []Failure `json:"failures,omitempty"` // the first few
	Gates    []Reading `json:"gates,omitempty"`    // as they were asked last
	// Sequence of the bucket of resources with which they were written.
	Sequence uint64 `json:"sequence,omitempty"`
}

// Counts are of the released nodes.
type Counts struct {
	Applied int `json:"applied"` // they have proven it
	Working int `json:"working"` // they are there and on their way
	Failed  int `json:"failed"`
	Pending int `json:"pending"` // not there, or paused: nobody waits for them
	Gone    int `json:"gone,omitempty"`
}

// Failure is a node that could not take the change.
type Failure struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// mostFailures bounds the failures that a state names.
const mostFailures = 10

// DecodeState reads a state.
func DecodeState(body []byte) (s State, err error) {
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fleet.Errorf(fleet.Invalid, "state of a rollout: %w", err)
	}
	return s, nil
}

// Overlays reports whether the released nodes are to have the rollout's
// resources although these are not among the fleet's yet.
func (s State) Overlays() bool {
	switch s.Phase {
	case Running, Waiting, Completing:
		return true
	case Paused:
		return s.Wave > 0
	}
	return false
}

// Under reports whether it holds its nodes and resources: a later one that
// wants one of them waits.
func (s State) Under() bool { return !s.Phase.Ended() && s.Phase != "" }

// Progress is a line for people: "running: wave 2 of 4, 5 of 20 nodes released, 4 serve it".
func (s State) Progress(p Plan) string {
	c := s.Counts
	pending := ""
	if c.Pending > 0 {
		pending = fmt.Sprintf(", %d pending", c.Pending)
	}
	if c.Failed > 0 {
		pending += fmt.Sprintf(", %d failed", c.Failed)
	}
	switch s.Phase {
	case Queued:
		return fmt.Sprintf("queued behind %s", s.Behind)
	case Failed, Completing:
		return string(s.Phase)
	case Complete, RolledBack, Aborted, RollingBack:
		return string(s.Phase) + pending
	}
	if s.Wave == 0 {
		return string(s.Phase)
	}
	text := fmt.Sprintf("%s: wave %d of %d, %d of %d nodes released, %d serve it", s.Phase, s.Wave, len(p.Steps), s.Released, len(p.Nodes), c.Applied)
	if c.Working > 0 {
		text += fmt.Sprintf(", %d on their way", c.Working)
	}
	return text + pending
}
