package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// What a plan does to a resource.
const (
	Create    = "create"
	Update    = "update"
	Remove    = "delete"
	Unchanged = "unchanged"
)

// ResourceChange is what a plan does to one resource.
type ResourceChange struct {
	Resource string `json:"resource"` // "<Kind>/<name>"
	Action   string `json:"action"`
	By       string `json:"by,omitempty"` // who wrote what is there now
	Diff     string `json:"diff,omitempty"`
	// Passwords are the users whose password becomes another.
	Passwords []string `json:"passwords,omitempty"`

	key      string
	sequence uint64
	value    fleet.Resource
}

// NodeChange is what a plan does to one node, or to several for which it is
// the same.
type NodeChange struct {
	Nodes  []string `json:"nodes"`
	Before string   `json:"before,omitempty"` // digest that they should have now, "" for none
	Digest string   `json:"digest"`           // that the nodes must report afterwards
	Diff   string   `json:"diff"`             // of the rendered files, unified

	address   string           // what the first of the nodes would render
	resources []fleet.Resource // and from what
	shape     string           // which resources it had and would have, whatever their variables
}

// Alike groups changes of nodes that have the same resources before and afterwards.
// Those of one group differ by what is the nodes' own: address, labels and facts.
func Alike(changes []NodeChange) (groups [][]NodeChange) {
	index := make(map[string]int)
	for _, n := range changes {
		i, ok := index[n.shape]
		if !ok {
			i = len(groups)
			index[n.shape] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], n)
	}
	return groups
}

// shapeOf names the resources that a node has and would have.
func shapeOf(have nginx.Desired, p station.Plan) string {
	var b strings.Builder
	for _, r := range have.Resources {
		b.WriteString(r.ID() + "\x00")
	}
	b.WriteString("\x01")
	for _, r := range p.Resources {
		b.WriteString(r.ID() + "\x00")
	}
	return b.String()
}

// Plan is what an apply would do. It holds the revisions that it was made
// from, so carrying it out fails if somebody was faster.
type Plan struct {
	Resources []ResourceChange `json:"resources"`
	Nodes     []NodeChange     `json:"nodes"`
	// LeftOut are the resources that some nodes cannot take; the rest goes on.
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	// Warnings are what a person should know and nothing is refused for.
	Warnings []string `json:"warnings,omitempty"`
	// Message says why, in the words of who carries it out; see message.CheckNote.
	Message string `json:"message,omitempty"`
}

// Changes counts the resources that are not unchanged.
func (p Plan) Changes() int {
	n := 0
	for _, r := range p.Resources {
		if r.Action != Unchanged {
			n++
		}
	}
	return n
}

// stored is the fleet as it is.
type stored struct {
	resources map[string]storedResource // by ID
	nodes     []station.NodeRecord
	desired   map[string]heldState
	known     map[string]uint64 // sequences by key, deleted ones included
}

type storedResource struct {
	fleet.Resource
	sequence uint64
	by       string
}

// Plan finds out what applying a set would do, or deleting it. The error is
// fleet.Faults, with file and line, where a node could not take it.
func (c *Client) Plan(ctx context.Context, set manifest.Set, remove bool) (Plan, error) {
	now, err := c.stored(ctx)
	if err != nil {
		return Plan{}, err
	}
	if remove {
		return c.plan(ctx, now, manifest.Set{}, set)
	}
	return c.plan(ctx, now, set, manifest.Set{})
}

// plan is Plan for a fleet as it was read: what is to be there, and what is to go.
func (c *Client) plan(ctx context.Context, now stored, set, gone manifest.Set) (Plan, error) {
	var p Plan
	resources, curve, err := c.sealed(ctx, set, now)
	if err != nil {
		return p, err
	}
	after := make(map[string]fleet.Resource)
	for id, r := range now.resources {
		after[id] = r.Resource
	}
	change := func(r fleet.Resource) (_ ResourceChange, have storedResource, exists bool) {
		key := subjects.ResourceKey(r.Kind, r.Metadata.Name)
		have, exists = now.resources[r.ID()]
		return ResourceChange{Resource: r.ID(), Action: Unchanged, By: have.by, key: key, sequence: now.known[key], value: r}, have, exists
	}
	for _, r := range gone.Resources() {
		change, have, exists := change(r)
		if exists {
			change.Action, change.Diff = Remove, resourceDiff(r.ID(), &have.Resource, nil)
			delete(after, r.ID())
		}
		p.Resources = append(p.Resources, change)
	}
	var faults fleet.Faults
	for _, r := range resources {
		change, have, exists := change(r)
		switch {
		case !exists:
			change.Action, change.Diff = Create, resourceDiff(r.ID(), nil, &r)
		case !same(have.Resource, r):
			change.Action, change.Diff = Update, resourceDiff(r.ID(), &have.Resource, &r)
			change.Passwords = newPasswords(have.Spec, r.Spec)
		}
		if change.Action != Unchanged {
			after[r.ID()] = r
			fault, soon := timeFault(set, r, curve.Now)
			if fault != nil {
				faults = append(faults, *fault)
			}
			for _, warning := range []string{soon, now.selectsNobody(r)} {
				if warning != "" {
					p.Warnings = append(p.Warnings, warning)
				}
			}
		}
		p.Resources = append(p.Resources, change)
	}
	if err := set.Locate(faults).Err(); err != nil {
		return p, err
	}
	before, _ := station.Compile(now.list(), now.nodes)
	plans, err := station.Compile(sorted(after), now.nodes)
	if err != nil {
		return p, located(set, err)
	}
	news, err := newFaults(now, p.Resources, before, plans)
	if err != nil {
		return p, err
	}
	if err := gone.Locate(set.Locate(news)).Err(); err != nil {
		return p, err
	}
	if p.Nodes, err = c.nodeChanges(ctx, now, plans); err != nil {
		return p, err
	}
	p.LeftOut = leftOut(p.Resources, before, plans)
	if p.Changes() > 0 {
		p.Warnings = append(p.Warnings, c.underWay(ctx)...)
	}
	return p, nil
}

func (c *Client) stored(ctx context.Context) (stored, error) {
	s := stored{resources: make(map[string]storedResource), desired: make(map[string]heldState), known: make(map[string]uint64)}
	var spoiled []string
	err := c.conn.Keys(ctx, subjects.Fleet, func(e bus.Entry) error {
		s.known[e.Key] = e.Sequence
		if e.Deleted {
			return nil
		}
		kind, name, _ := strings.Cut(e.Key, ".")
		m, err := e.Message(message.ResourceSubject(kind, name))
		if err == nil {
			err = m.CheckSignature()
		}
		var r fleet.Resource
		if err == nil {
			r, err = resourceIn(m)
		}
		if err == nil && subjects.ResourceKey(r.Kind, r.Metadata.Name) != e.Key {
			err = fleet.Errorf(fleet.Invalid, "it is %s", r.ID())
		}
		if err != nil { // stations ignore it too; whoever applies the resource repairs it
			c.log.Warn("ignored a stored resource", "key", e.Key, "error", err)
			spoiled = append(spoiled, e.Key)
			return nil
		}
		s.resources[r.ID()] = storedResource{r, e.Sequence, m.From}
		return nil
	})
	if err != nil {
		return s, err
	}
	for _, key := range spoiled { // what was there before is in force
		all, err := c.history(ctx, key)
		if err != nil {
			return s, err
		}
		for _, r := range all {
			if value, ok := r.Value(); r.Now && ok {
				s.resources[r.Resource] = storedResource{value, s.known[key], r.By}
			}
		}
	}
	err = c.conn.Entries(ctx, subjects.Nodes, ">", func(e bus.Entry) error {
		var r station.NodeRecord
		if err := json.Unmarshal(e.Body, &r); err != nil {
			c.log.Warn("ignored an entry of the register", "key", e.Key, "error", err)
			return nil
		}
		s.nodes = append(s.nodes, r)
		return nil
	})
	if err != nil {
		return s, err
	}
	slices.SortFunc(s.nodes, func(a, b station.NodeRecord) int { return strings.Compare(a.Name, b.Name) })
	facts, err := c.facts(ctx, s.nodes)
	if err != nil {
		return s, err
	}
	for i, n := range s.nodes {
		s.nodes[i] = n.WithFacts(facts[n.Name])
	}
	return s, c.conn.Entries(ctx, subjects.Desired, subjects.StateKey("*", handlers.MethodNginxConfig, "*"), func(e bus.Entry) error {
		d, err := readDesired(e)
		if err != nil {
			c.log.Warn("ignored a desired state", "key", e.Key, "error", err)
			return nil
		}
		name, _, _ := strings.Cut(e.Key, ".")
		s.desired[name] = d
		return nil
	})
}

// selectsNobody says of a resource whose selector no node matches that it is so.
func (s stored) selectsNobody(r fleet.Resource) string {
	spec, ok := r.Spec.(fleet.Selecting)
	if !ok {
		return ""
	}
	selector, err := fleet.ParseSelector(spec.Selects())
	matches := func(n station.NodeRecord) bool { return selector.Matches(n.AllLabels()) }
	if err != nil || slices.ContainsFunc(s.nodes, matches) { // what is wrong with a selector is a fault
		return ""
	}
	if len(s.nodes) == 0 {
		return fmt.Sprintf("%s selects no node: none is registered", r.ID())
	}
	return fmt.Sprintf("%s selects no node: none matches %q", r.ID(), spec.Selects())
}

func (s stored) list() []fleet.Resource {
	all := make(map[string]fleet.Resource, len(s.resources))
	for id, r := range s.resources {
		all[id] = r.Resource
	}
	return sorted(all)
}

func sorted(byID map[string]fleet.Resource) []fleet.Resource {
	all := make([]fleet.Resource, 0, len(byID))
	for _, r := range byID {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b fleet.Resource) int { return cmp.Compare(a.ID(), b.ID()) })
	return all
}

func same(a, b fleet.Resource) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func (c *Client) nodeChanges(ctx context.Context, now stored, plans []station.Plan) (changes []NodeChange, err error) {
	index := make(map[string]int)
	for _, p := range plans {
		have := now.desired[p.Node]
		if p.Err != nil || have.Digest == p.Bundle.Digest || have.Revision == 0 && len(p.Resources) == 0 {
			continue
		}
		key := have.Digest + p.Bundle.Digest // of what they render: for thousands of nodes alike it is compared once
		i, ok := index[key]
		if !ok {
			i = len(changes)
			index[key] = i
			had, err := c.whole(ctx, p.Node, have)
			if errors.Is(err, errSpoiled) { // as in stored, of no other node is it a matter
				c.log.Warn("a desired state is not whole, all of what comes is shown as new", "node", p.Node, "error", err)
				had, err = nginx.Desired{}, nil
			}
			if err != nil {
				return nil, err
			}
			changes = append(changes, NodeChange{Before: have.Digest, Digest: p.Bundle.Digest, Diff: bundleDiff(had, p), address: p.Address, resources: p.Resources, shape: shapeOf(had, p)})
		}
		changes[i].Nodes = append(changes[i].Nodes, p.Node)
	}
	return changes, nil
}

// bundleDiff compares what a node should render now with what it would then.
func bundleDiff(have nginx.Desired, p station.Plan) string {
	old := make(map[string]string)
	if have.Revision > 0 {
		if bundle, err := nginx.Render(have.Address, have.Resources); err == nil {
			for _, f := range bundle.Files {
				old[f.Path] = shown(f)
			}
		}
	}
	var b strings.Builder
	seen := make(map[string]bool)
	for _, f := range p.Bundle.Files {
		seen[f.Path] = true
		b.Write(unified(f.Path, old[f.Path], shown(f)))
	}
	for _, path := range sortedKeys(old) {
		if !seen[path] {
			b.Write(unified(path, old[path], ""))
		}
	}
	return b.String()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func resourceDiff(id string, a, b *fleet.Resource) string {
	text := func(r *fleet.Resource) string {
		if r == nil {
			return ""
		}
		if c, ok := r.Spec.(*fleet.Certificate); ok {
			return "kind: " + r.Kind + "\nname: " + r.Metadata.Name + "\n" + c.Describe()
		}
		y, err := manifest.Marshal([]fleet.Resource{withoutSecrets(*r)})
		if err != nil {
			return err.Error()
		}
		return string(y)
	}
	return string(unified(id, text(a), text(b)))
}

// shown is a file as a diff shows it: certificates by what is in them. The
// content of a secret file is a stand-in.
func shown(f nginx.File) string {
	if strings.HasSuffix(f.Path, ".crt") {
		return fleet.DescribeChain(f.Content)
	}
	return strings.ReplaceAll(string(f.Content), "{{\t", "{{") // placeholders, which hold a tab so that nobody can write one
}

func unified(name, a, b string) []byte {
	if a == b {
		return nil
	}
	return diff.Diff("before/"+name, []byte(a), "after/"+name, []byte(b))
}
