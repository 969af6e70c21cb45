package nginx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// What became of a resource on a node.
const (
	Serving = "serving"  // as it is desired
	Kept    = "kept"     // its last good version serves instead
	LeftOut = "left out" // nothing of it serves
)

// ResourceState is what became of one resource of a desired state.
type ResourceState struct {
	Resource string `json:"resource"` // "<Kind>/<name>"
	State    string `json:"state"`    // serving, kept or left out
	Message  string `json:"message,omitempty"`
	Revision uint64 `json:"revision,omitempty"` // of the node's desired state that it serves from
}

// sift decides for each resource of a desired state whether it is taken as
// desired, as it served last, or not at all.
type sift struct {
	desired Desired
	last    func() map[string]lastGood // by ID; read when something has to be held back
	held    map[string]string          // by ID: Kept or LeftOut
	why     map[string]string          // of those that are held
	fresh   []string                   // kept since the last bundle that rendered
}

// lastGood is a resource as it was proven to serve.
type lastGood struct {
	Revision uint64         `json:"revision"`
	Resource fleet.Resource `json:"resource"`
}

func newSift(d Desired, served func() []lastGood) *sift {
	last := func() map[string]lastGood {
		all := map[string]lastGood{}
		for _, l := range served() {
			all[l.Resource.ID()] = l
		}
		return all
	}
	return &sift{desired: d, last: sync.OnceValue(last), held: map[string]string{}, why: map[string]string{}}
}

// compose is the resources to render, and what becomes of each that is
// desired. What a kept version needs and nobody desires any longer comes with it;
// what needs something that is left out is held too.
func (s *sift) compose() ([]fleet.Resource, []ResourceState) {
	present := map[string]fleet.Resource{}
	states := map[string]ResourceState{}
	for _, r := range s.desired.Resources {
		s.place(r, s.held[r.ID()], s.why[r.ID()], present, states)
	}
	s.carry(present, states)
	for again := true; again; {
		again = false
		for _, r := range s.desired.Resources {
			id := r.ID()
			placed, ok := present[id]
			if !ok {
				continue
			}
			missing := lacks(placed, present)
			if missing == "" {
				continue
			}
			again = true
			state, why := LeftOut, s.why[id]
			if why == "" {
				why = "needs " + missing + ", which is left out"
			}
			if l, ok := s.last()[id]; ok && states[id].State == Serving && lacks(l.Resource, present) == "" {
				state = Kept
			}
			s.place(r, state, why, present, states)
		}
	}
	list := make([]fleet.Resource, 0, len(present))
	for _, r := range present {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b fleet.Resource) int { return strings.Compare(a.ID(), b.ID()) })
	all := make([]ResourceState, len(s.desired.Resources))
	for i, r := range s.desired.Resources {
		all[i] = states[r.ID()]
	}
	return list, all
}

func (s *sift) place(r fleet.Resource, held, why string, present map[string]fleet.Resource, states map[string]ResourceState) {
	id := r.ID()
	switch held {
	case Kept:
		l := s.last()[id]
		present[id] = l.Resource
		states[id] = ResourceState{id, Kept, why, l.Revision}
	case LeftOut:
		delete(present, id)
		states[id] = ResourceState{id, LeftOut, why, 0}
	default:
		present[id] = r
		states[id] = ResourceState{id, Serving, "", s.desired.Revision}
	}
}

// carry adds what kept versions need and is desired no longer.
func (s *sift) carry(present map[string]fleet.Resource, states map[string]ResourceState) {
	for id, state := range states {
		if state.State != Kept {
			continue
		}
		for _, need := range needs(present[id]) {
			_, desired := states[need.ID()]
			if l, ok := s.last()[need.ID()]; ok && !desired {
				present[need.ID()] = l.Resource
			}
		}
	}
}

func needs(r fleet.Resource) []fleet.Need {
	if spec, ok := r.Spec.(fleet.Needing); ok {
		return spec.Needs()
	}
	return nil
}

// lacks is what a resource needs and is not there.
func lacks(r fleet.Resource, present map[string]fleet.Resource) string {
	for _, need := range needs(r) {
		if _, ok := present[need.ID()]; !ok {
			return need.ID()
		}
	}
	return ""
}

// blame holds a resource back: its last good version is tried in its place
// and, where that is no other or is to blame too, none. False when the
// resource can be held back no further.
func (s *sift) blame(id, why string) bool {
	i := slices.IndexFunc(s.desired.Resources, func(r fleet.Resource) bool { return r.ID() == id })
	if i < 0 {
		return s.blameKeepersOf(id, why)
	}
	if s.why[id] == "" {
		s.why[id] = why
	}
	l, ok := s.last()[id]
	switch {
	case s.held[id] == LeftOut:
		return false
	case s.held[id] == "" && ok && !equal(l.Resource, s.desired.Resources[i]):
		s.held[id] = Kept
		s.fresh = append(s.fresh, id)
	default:
		s.held[id] = LeftOut
	}
	return true
}

// blameKeepersOf leaves out what is kept and needs a resource that is there
// for it alone.
func (s *sift) blameKeepersOf(id, why string) bool {
	found := false
	for keeper, state := range s.held {
		if state == Kept && slices.ContainsFunc(needs(s.last()[keeper].Resource), func(n fleet.Need) bool { return n.ID() == id }) {
			s.held[keeper] = LeftOut
			found = true
		}
	}
	return found
}

// clash handles faults that a render found: a version that was just kept and
// does not fit the others gives way; else the subjects of the faults are to blame.
func (s *sift) clash(faults fleet.Faults) bool {
	kept := s.fresh
	s.fresh = nil
	culprits := map[string]string{} // → why, each once
	for _, f := range faults {
		culprit := f.Subject
		for _, id := range kept {
			if strings.Contains(f.Message+" ", id+" ") {
				culprit = id
			}
		}
		if culprit == "" {
			return false
		}
		if _, known := culprits[culprit]; known {
			continue
		}
		culprits[culprit] = f.Message
		if f.Path != "" {
			culprits[culprit] = f.Path + ": " + f.Message
		}
	}
	progress := false
	for _, id := range slices.Sorted(maps.Keys(culprits)) {
		progress = s.blame(id, culprits[id]) || progress
	}
	return progress
}

// wholly says whether nothing is held back.
func (s *sift) wholly() bool {
	_, states := s.compose()
	return !slices.ContainsFunc(states, func(r ResourceState) bool { return r.State != Serving })
}

// changed are the IDs of the resources that do not serve as they are desired,
// what others need before what needs it, raw configuration last.
func (s *sift) changed() []string {
	var ids []string
	rank := map[string]int{}
	for _, r := range s.desired.Resources {
		id := r.ID()
		if l, ok := s.last()[id]; ok && equal(l.Resource, r) {
			continue
		}
		_, selects := r.Spec.(fleet.Selecting)
		switch {
		case r.Kind == "ConfigFile":
			rank[id] = 2
		case selects:
			rank[id] = 1
		}
		ids = append(ids, id)
	}
	slices.SortStableFunc(ids, func(a, b string) int { return rank[a] - rank[b] })
	return ids
}

// record is what to remember of a state that serves.
func (s *sift) record() []lastGood {
	list, states := s.compose()
	revisions := map[string]uint64{}
	for _, state := range states {
		revisions[state.Resource] = state.Revision
	}
	all := make([]lastGood, len(list))
	for i, r := range list {
		revision, desired := revisions[r.ID()]
		if !desired {
			revision = s.last()[r.ID()].Revision
		}
		all[i] = lastGood{revision, r}
	}
	return all
}

func equal(a, b fleet.Resource) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// servedFile remembers the resources of a version that serves, beside it: what
// a later revision falls back on, one by one.
func (s store) servedFile(name string) string {
	return filepath.Join(s.state, "served", name+".json")
}

// setServed also forgets those of versions that are gone.
func (s store) setServed(v version, all []lastGood) error {
	data, err := json.Marshal(all)
	if err == nil {
		err = os.MkdirAll(filepath.Join(s.state, "served"), 0o700)
	}
	if err == nil {
		err = host.WriteFile(s.servedFile(v.Name), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember what serves: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(s.state, "served"))
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".json")
		if _, gone := os.Lstat(filepath.Join(s.versions(), name)); errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, os.Remove(filepath.Join(s.state, "served", entry.Name())))
		}
	}
	return err
}

// served is what a version serves: what was remembered beside it, or beside
// another version of the same bundle, whose servers this node saw otherwise.
// Where an agent was killed before it could remember, it is what the newest
// version before served: a host is better kept at that than left out.
func (s store) served(v version) []lastGood {
	if v.Name == "" {
		return nil
	}
	names := []string{v.Name}
	siblings, _ := filepath.Glob(s.servedFile("*-" + Short(v.Manifest.Digest) + "*"))
	for _, path := range siblings {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	if r, err := s.record(); err == nil {
		names = append(append(names, r.Version), r.Before...)
	}
	for _, name := range names {
		data, err := os.ReadFile(s.servedFile(name))
		var all []lastGood
		if err == nil && json.Unmarshal(data, &all) == nil {
			return all
		}
	}
	return nil
}
