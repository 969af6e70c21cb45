package nginx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Outcome is what became of a desired state: a verdict on what serves now, and
// each resource's part in it.
type Outcome struct {
	Verdict
	// Resources are those that are desired, sorted by name.
	Resources []ResourceState `json:"resources,omitempty"`
}

// Whole says whether every resource serves as it is desired.
func (o Outcome) Whole() bool { return len(o.Held()) == 0 }

// Held are the resources that do not serve as they are desired.
func (o Outcome) Held() (held []ResourceState) {
	for _, r := range o.Resources {
		if r.State != Serving {
			held = append(held, r)
		}
	}
	return held
}

// Summary is "999 of 1000 resources serve revision 7; VirtualHost/x: kept at
// revision 6: …", with the first held resources.
func (o Outcome) Summary() string {
	held := o.Held()
	if len(held) == 0 {
		return fmt.Sprintf("revision %d serves", o.Revision)
	}
	text := fmt.Sprintf("%d of %d resources serve revision %d", len(o.Resources)-len(held), len(o.Resources), o.Revision)
	const most = 10
	for i, r := range held {
		if i == most {
			return text + fmt.Sprintf("; and %d more", len(held)-most)
		}
		text += "; " + r.String()
	}
	return text
}

// String is "VirtualHost/x: kept at revision 6: why", "" for no resource.
func (r ResourceState) String() string {
	if r.Resource == "" {
		return ""
	}
	text := r.Resource + ": " + r.State
	if r.State == Kept {
		text += fmt.Sprintf(" at revision %d", r.Revision)
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}

// Converge makes nginx serve a desired state, or as much of it as can be: a
// resource that is to blame for a failure does not hold the others back. In its
// place serves the version of it that served last on this node, where that fits
// the others, else none; and what needs a resource that is left out is held
// with it. The whole is tried first. Who is to blame is what a check, nginx or
// a probe names; where nobody is named, halves of what changed are given to
// nginx -t until it is found. nginx is reloaded once, with what has passed.
//
// The error is that of Apply where nobody can be blamed; the node serves what
// it served before. A partial outcome is no error.
func (e *Engine) Converge(ctx context.Context, d Desired) (Outcome, error) {
	names, resolvers := d.names()
	e.care.names.look(ctx, resolvers, names, fresh)
	unlock, err := e.enter(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	good := e.good
	s := newSift(d, func() []lastGood { return e.store.served(good) })
	for {
		b, err := s.render()
		if err == nil {
			verdict, failure := e.apply(ctx, d.Revision, e.wholeOf(s), b)
			if failure == nil {
				return e.converged(s, verdict), nil
			}
			err = failure
		}
		again, blamed := e.isolate(ctx, s, b, err)
		if !again {
			return Outcome{}, blamed
		}
	}
}

// names are those that upstreams hold, and who is to be asked for them.
func (d Desired) names() (names, resolvers []string) {
	upstreams := map[string]local{}
	for _, r := range d.Resources {
		switch spec := r.Spec.(type) {
		case *fleet.Upstream:
			upstreams[r.Metadata.Name] = local{Spec: spec}
		case *fleet.NodePolicy:
			resolvers = spec.Resolvers
		}
	}
	return namesIn(upstreams), resolvers
}

// converged remembers what serves.
func (e *Engine) converged(s *sift, verdict Verdict) Outcome {
	_, states := s.compose()
	o := Outcome{Verdict: verdict, Resources: states}
	if err := e.store.setServed(e.good, s.record()); err != nil {
		e.log.Warn("a later revision may fall back on less", "error", err)
	}
	if !o.Whole() {
		e.log.Warn("a revision serves in part", "revision", o.Revision, "summary", o.Summary())
	}
	return o
}

// wholeOf is the newest revision of which everything serves, once s does.
func (e *Engine) wholeOf(s *sift) uint64 {
	if s.wholly() {
		return s.desired.Revision
	}
	return e.good.Manifest.Whole
}

// isolate holds back whoever is to blame for a failure. When nobody is, the
// error says why; it is the failure, unless looking for the culprit failed.
func (e *Engine) isolate(ctx context.Context, s *sift, b Bundle, failure error) (again bool, err error) {
	if ctx.Err() != nil {
		return false, failure
	}
	var faults fleet.Faults
	if errors.As(failure, &faults) {
		return s.clash(faults), failure
	}
	s.fresh = nil
	var blame Blame
	if errors.As(failure, &blame) && len(blame.Owners()) > 0 {
		for _, id := range blame.Owners() {
			again = s.blame(id, reasonOf(failure)) || again
		}
		return again, failure
	}
	var refused *refusal
	if !errors.As(failure, &refused) {
		return false, failure
	}
	before := s.heldNow()
	failed := e.bisect(ctx, s, failure)
	if failed != nil && ctx.Err() != nil {
		return false, failed
	}
	var found []string
	if failed == nil {
		found = except(s.heldNow(), before)
	}
	if err := e.quarantine.blame(e.trying(b), found); err != nil {
		e.log.Warn("the quarantine is not on disk", "error", err)
	}
	if failed != nil {
		return false, failed
	}
	return len(found) > 0, failure
}

// mostTries bounds a search; one culprit in a thousand takes some twenty.
const mostTries = 200

// bisect finds out with nginx -t alone whom it refuses, when it does not say.
// It begins with what serves and adds what changed by halves, so that what
// clashes with something that serves already is what is held back.
func (e *Engine) bisect(ctx context.Context, s *sift, failure error) error {
	tries := 0
	try := func() error {
		if tries++; tries > mostTries || ctx.Err() != nil {
			return fleet.Errorf(fleet.Failed, "%w\nand after %d tries it is not known which resource is to blame", failure, tries-1)
		}
		b, err := s.render()
		if err == nil {
			err = e.try(ctx, s.desired.Revision, b)
		}
		return err
	}
	var add func(ids []string) error
	add = func(ids []string) error {
		for _, id := range ids {
			delete(s.held, id)
			delete(s.why, id)
		}
		err := try()
		if err == nil || !isRefusal(err) {
			return err
		}
		for _, id := range ids {
			s.blame(id, reasonOf(err))
		}
		if len(ids) > 1 {
			if err := add(ids[:len(ids)/2]); err != nil {
				return err
			}
			return add(ids[len(ids)/2:])
		}
		if err := try(); err == nil || !isRefusal(err) {
			return err
		}
		s.blame(ids[0], "") // its last good version is refused too
		return nil
	}
	suspects := except(s.changed(), s.heldNow())
	for _, id := range suspects {
		s.blame(id, "")
	}
	if err := try(); err != nil {
		if !isRefusal(err) {
			return err
		}
		suspects = except(s.all(), s.heldNow()) // what serves is refused now: the node changed
		for _, id := range suspects {
			s.held[id] = LeftOut
		}
		if err := try(); err != nil {
			return failure
		}
	}
	raw := func(id string) bool { return strings.HasPrefix(id, "ConfigFile/") }
	if i := slices.IndexFunc(suspects, raw); i > 0 { // those can hold anything: most of the time it is one of them
		if err := add(suspects[:i]); err != nil {
			return err
		}
		suspects = suspects[i:]
	}
	return add(suspects)
}

// except is the IDs that are not among others.
func except(ids, others []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(others, id) })
}

func (s *sift) heldNow() []string { return slices.Sorted(maps.Keys(s.held)) }

func (s *sift) all() []string {
	ids := make([]string, len(s.desired.Resources))
	for i, r := range s.desired.Resources {
		ids[i] = r.ID()
	}
	return ids
}

// render renders what is to serve, and inspects it.
func (s *sift) render() (Bundle, error) {
	list, _ := s.compose()
	b, err := Render(s.desired.Address, list)
	if err != nil {
		return b, err
	}
	s.fresh = nil
	if s.wholly() && b.Digest != s.desired.Digest {
		return b, fleet.Errorf(fleet.Failed,
			"this agent renders the desired state to %.12s and the station to %.12s: bring both to the same version", b.Digest, s.desired.Digest)
	}
	return b, nil
}

// try has a bundle checked and forgets it.
func (e *Engine) try(ctx context.Context, revision uint64, b Bundle) error {
	v, err := e.stage(revision, b)
	if err != nil {
		return err
	}
	defer e.discard(v)
	return e.check(ctx, v, b)
}

// isRefusal says whether a check refused what it was given.
func isRefusal(err error) bool {
	var refused *refusal
	var faults fleet.Faults
	return errors.As(err, &refused) || errors.As(err, &faults)
}

// refusal is nginx -t's no.
type refusal struct {
	error
	said string
}

func (r *refusal) Unwrap() error { return r.error }

// reasonOf is why, for a message that names the resource already.
func reasonOf(err error) string {
	var refused *refusal
	var before *quarantined
	switch {
	case errors.As(err, &refused) && refused.said != "":
		return strings.ReplaceAll(refused.said, "\n", "; ")
	case errors.As(err, &before):
		return strings.ReplaceAll(before.reason, "\n", "; ")
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
