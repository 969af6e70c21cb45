package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// What happens when a wave fails.
const (
	OnFailureRollback = "rollback"
	OnFailurePause    = "pause"
)

// Defaults of a strategy.
const (
	DefaultNodeTimeout = 5 * time.Minute
	DefaultGateTimeout = 10 * time.Minute
	// MaxLife is how long a rollout may take. Then it is rolled back: what holds it
	// together is kept for longer than that and not for ever.
	MaxLife = 30 * 24 * time.Hour
)

// DefaultWaves are those of a rollout whose strategy names none.
var DefaultWaves = []Amount{{count: 1}, {percent: 5}, {percent: 25}, {percent: 100}}

// Duration is a time.Duration that JSON has as people write it: "1m30s".
type Duration time.Duration

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Strategy is how a change travels.
type Strategy struct {
	Waves  []Amount `json:"waves"`            // of the expected set, each with those before it
	Canary string   `json:"canary,omitempty"` // a selector: these nodes are a wave of their own before the others
	// MaxUnavailable is how many nodes may be on their way at once; zero is a whole wave.
	MaxUnavailable Amount `json:"maxUnavailable,omitzero"`
	// MaxFailed is how many nodes may fail; a percentage is of the nodes released so far.
	MaxFailed Amount `json:"maxFailed,omitzero"`
	// Bake is how long a wave must be well before the next.
	Bake Duration `json:"bake,omitzero"`
	// NodeTimeout is how long a node that is there may take to prove the change.
	NodeTimeout Duration `json:"nodeTimeout,omitzero"`
	Gates       []string `json:"gates,omitempty"`
	// GateTimeout is how long a gate may be impossible to ask.
	GateTimeout Duration `json:"gateTimeout,omitzero"`
	// ApproveAfter are the numbers of waves behind which a person is waited for.
	ApproveAfter []int  `json:"approveAfter,omitempty"`
	OnFailure    string `json:"onFailure"`
}

// Complete is the strategy with what it leaves open. The error is fleet.Faults,
// all of them at once.
func (s Strategy) Complete() (Strategy, error) {
	var faults fleet.Faults
	if len(s.Waves) == 0 {
		s.Waves = DefaultWaves
	}
	if last := s.Waves[len(s.Waves)-1]; last.percent != 100 {
		faults.Addf("waves", "the last one is %s: it must be 100%%", last)
	}
	for _, w := range s.Waves {
		if w.IsZero() {
			faults.Addf("waves", "a wave of no node")
		}
	}
	if _, err := fleet.ParseSelector(s.Canary); err != nil {
		faults.Addf("canary", "%v", err)
	}
	for _, text := range s.Gates {
		if _, err := ParseGate(text); err != nil {
			faults.Addf("gate", "%v", err)
		}
	}
	for _, n := range s.ApproveAfter {
		if n < 1 || n >= s.written() {
			faults.Addf("approveAfter", "%d: there are %d waves, and nothing to approve behind the last", n, s.written())
		}
	}
	if s.OnFailure == "" {
		s.OnFailure = OnFailureRollback
	}
	if s.OnFailure != OnFailureRollback && s.OnFailure != OnFailurePause {
		faults.Addf("onFailure", "%q: use rollback or pause", s.OnFailure)
	}
	if s.NodeTimeout == 0 {
		s.NodeTimeout = Duration(DefaultNodeTimeout)
	}
	if s.GateTimeout == 0 {
		s.GateTimeout = Duration(DefaultGateTimeout)
	}
	if s.Bake < 0 || s.NodeTimeout < 0 || s.GateTimeout < 0 || time.Duration(s.Bake) >= MaxLife {
		faults.Addf("bake", "times are positive, and all of it takes less than %v", MaxLife)
	}
	return s, faults.Err()
}

// written are the waves as the strategy has them, the canary's among them.
func (s Strategy) written() int {
	if s.Canary != "" {
		return len(s.Waves) + 1
	}
	return len(s.Waves)
}

// Step is a wave of a plan.
type Step struct {
	Upto    int  `json:"upto"`              // so many nodes of the order are released with it
	Approve bool `json:"approve,omitempty"` // a person is waited for behind it
}

// Steps are the waves for an expected set of n nodes, the first canary ones of
// which are the canary's. They grow strictly: what is no more than the wave
// before it is one with that.
func (s Strategy) Steps(n, canary int) []Step {
	var steps []Step
	var counts []int
	if s.Canary != "" {
		counts = append(counts, canary)
	}
	for _, w := range s.Waves {
		counts = append(counts, w.Up(n))
	}
	always := slices.Contains(s.Gates, GateApproval)
	for i, upto := range counts {
		approve := always || slices.Contains(s.ApproveAfter, i+1)
		last := len(steps) - 1
		switch {
		case last >= 0 && upto <= steps[last].Upto:
			steps[last].Approve = steps[last].Approve || approve
		case upto > 0:
			steps = append(steps, Step{upto, approve})
		}
	}
	if len(steps) == 0 {
		return []Step{{}}
	}
	steps[len(steps)-1].Approve = false
	return steps
}

// Change is one resource that a rollout writes or removes when it is complete.
type Change struct {
	Key      string `json:"key"`      // in the bucket of resources
	Document string `json:"document"` // id of the signed document that takes its place
	Delete   bool   `json:"delete,omitempty"`
	// Bases are the ids of the documents that it may take the place of: what was
	// there, and what rollouts ahead of it would put there; "" is none.
	Bases []string `json:"bases"`
	// Sequence is where the document before it lies in the bucket, 0 for none.
	Sequence uint64 `json:"sequence,omitempty"`
}

// Resource is "<Kind>/<name>" of the change.
func (c Change) Resource() string { return strings.Replace(c.Key, ".", "/", 1) }

// Plan is a rollout as a person signed it.
type Plan struct {
	Strategy Strategy `json:"strategy"`
	Steps    []Step   `json:"steps"`
	Nodes    []string `json:"nodes"` // the expected set, in the order in which it is released
	Changes  []Change `json:"changes"`
	Message  string   `json:"message,omitempty"`
	// Undoes is the id of the rollout that this one takes back.
	Undoes string `json:"undoes,omitempty"`
}

// MaxPlan bounds a plan's JSON: the broker takes messages of up to 1 MiB.
const MaxPlan = 900 << 10

// DecodePlan reads a plan and holds that it is whole. The error is Invalid.
func DecodePlan(body []byte) (p Plan, err error) {
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fleet.Errorf(fleet.Invalid, "plan of a rollout: %w", err)
	}
	return p, p.Validate()
}

// Validate returns all faults at once.
func (p Plan) Validate() error {
	var faults fleet.Faults
	if _, err := p.Strategy.Complete(); err != nil {
		faults.Addf("strategy", "%v", err)
	}
	upto := 0
	for i, s := range p.Steps {
		if s.Upto <= upto && len(p.Nodes) > 0 {
			faults.Addf(fmt.Sprintf("steps[%d]", i), "%d nodes are no more than the %d before", s.Upto, upto)
		}
		upto = s.Upto
	}
	if len(p.Steps) == 0 || upto != len(p.Nodes) {
		faults.Addf("steps", "they end at %d of %d nodes", upto, len(p.Nodes))
	}
	seen := make(map[string]bool, len(p.Nodes))
	for _, name := range p.Nodes {
		if err := fleet.CheckNode(name); err != nil {
			faults.Addf("nodes", "%v", err)
		}
		if seen[name] {
			faults.Addf("nodes", "%s is there twice", name)
		}
		seen[name] = true
	}
	if len(p.Changes) == 0 {
		faults.Addf("changes", "there are none")
	}
	keys := make(map[string]bool, len(p.Changes))
	for _, c := range p.Changes {
		if c.Document == "" || len(c.Bases) == 0 || strings.Count(c.Key, ".") != 1 || keys[c.Key] {
			faults.Addf("changes", "%q is not whole", c.Key)
		}
		keys[c.Key] = true
	}
	return faults.Err()
}

// Overlap is what two plans have in common, "" for nothing.
func (p Plan) Overlap(other Plan) string {
	keys := make(map[string]bool, len(p.Changes))
	for _, c := range p.Changes {
		keys[c.Key] = true
	}
	for _, c := range other.Changes {
		if keys[c.Key] {
			return c.Resource()
		}
	}
	nodes := make(map[string]bool, len(p.Nodes))
	for _, name := range p.Nodes {
		nodes[name] = true
	}
	for _, name := range other.Nodes {
		if nodes[name] {
			return "node " + name
		}
	}
	return ""
}
