package station

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// Desired states that are long are stored in parts (docs/adr/0019): those that a node
// lacks are written before the document that names them, and go some time after the last
// document that did.

// storedDesired is a desired state as it lies in its bucket: with its resources, or with
// the list of their parts.
type storedDesired struct {
	nginx.Desired
	Resources json.RawMessage   `json:"resources,omitempty"`
	Parts     *message.PartList `json:"parts,omitempty"`
	Made      []ResourceMade    `json:"made,omitempty"` // since parts of what was before go
}

// ResourceMade is what became of a resource of a node.
type ResourceMade struct {
	Resource string `json:"resource"` // "<Kind>/<name>"
	Action   string `json:"action"`   // "create", "update", "delete"
}

// mostMade is how many changes a document names; more of them are not told.
const mostMade = 100

// cut puts resources into a document: whole, where they are few, else in parts.
func (d *storedDesired) cut(pieces []message.Piece, raw []byte) (parts [][]byte, err error) {
	d.Resources = raw
	if len(raw) <= message.WholeMost {
		return nil, nil
	}
	list, parts, err := message.Cut(pieces)
	if err != nil {
		return nil, fleet.Faults{{Path: "resources", Message: err.Error()}}
	}
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size <= message.WholeMost {
		return nil, nil
	}
	d.Resources, d.Parts = nil, &list
	return parts, nil
}

// tooLarge is why a node cannot take resources, nil where it can.
func tooLarge(resources []fleet.Resource, bundle nginx.Bundle) error {
	rendered := 0
	for _, f := range bundle.Files {
		rendered += len(f.Content)
	}
	if rendered < message.MaxWhole/8 { // what resources say in JSON is about as long as what they render to
		return nil
	}
	size := 0
	for _, r := range resources {
		text, _ := json.Marshal(r) // it was decoded from that
		size += len(text) + 1
	}
	if size <= message.MaxWhole {
		return nil
	}
	return fleet.Faults{{Path: "resources", Message: fmt.Sprintf("there would be %d MiB of them, and a node can take %d: have it selected by fewer", size>>20, message.MaxWhole>>20)}}
}

// changesOf are the resources that differ, nil where they are many or not known.
func changesOf(before, after *made) (all []ResourceMade) {
	if before == nil {
		return nil
	}
	differences(before, after, func(p print, action string) { all = append(all, ResourceMade{p.id(), action}) })
	if len(all) > mostMade {
		return nil
	}
	slices.SortFunc(all, func(a, b ResourceMade) int { return strings.Compare(a.Resource, b.Resource) })
	return all
}

// names reports whether a desired state has a part of this digest.
func (d desiredState) names(digest string) bool { return message.Digests(d.parts).Has(digest) }

// digests are the names of the parts, in order.
func (d desiredState) digests() []string {
	list := message.Digests(d.parts)
	all := make([]string, list.Count())
	for i := range all {
		all[i] = list.At(i)
	}
	return all
}

// unnamed are the parts that a desired state does not have.
func (d desiredState) unnamed(parts [][]byte) (fresh [][]byte) {
	named := make(map[string]bool)
	for _, digest := range d.digests() {
		named[digest] = true
	}
	for _, p := range parts {
		if !named[message.Digest(p)] {
			fresh = append(fresh, p)
		}
	}
	return fresh
}

// Bounds of the wait for parts that are named and not there: a replica may be behind for
// that long, if the document was written just now.
const (
	behindTime = 2 * time.Second
	behindLook = 100 * time.Millisecond
)

// wholeOf is a document with its resources; lacks says that parts of it are not there, or
// are something else.
func (c *compiler) wholeOf(ctx context.Context, e bus.Entry, name string, document []byte) (whole []byte, lacks bool, err error) {
	for limit := time.Now().Add(behindTime); ; {
		whole, err = c.station.conn.Whole(ctx, e.Key, document)
		k := fleet.KindOf(err)
		if k != fleet.Unknown && k != fleet.Invalid {
			return whole, false, err
		}
		young := c.station.clock.Now().Sub(e.At) < behindTime
		if k == fleet.Invalid || !young || time.Now().After(limit) || ctx.Err() != nil {
			c.station.log.Error("parts of a desired state are not at the broker and will be written anew", "node", name, "error", err)
			return nil, true, ctx.Err()
		}
		pause(ctx, behindLook)
	}
}

// former are a node's resources of before by ID, with what is sealed to it: sealed anew the
// same would be others, and so would the parts. None where they are not in parts.
func (c *compiler) former(ctx context.Context, name string, before desiredEntry) map[string]fleet.Resource {
	if before.parts == "" || before.lacks {
		return nil
	}
	e, err := c.station.conn.Get(ctx, subjects.Desired, stateKey(name))
	var document []byte
	if err == nil {
		_, document, err = c.provenDesired(e, time.Time{}, name)
	}
	if err == nil {
		document, err = c.station.conn.Whole(ctx, e.Key, document)
	}
	var d nginx.Desired
	if err == nil {
		err = json.Unmarshal(document, &d)
	}
	if err != nil {
		c.station.log.Warn("secrets of a node are sealed anew", "node", name, "error", err)
		return nil
	}
	had := make(map[string]fleet.Resource, len(d.Resources))
	for _, r := range d.Resources {
		had[r.ID()] = r
	}
	return had
}

// stateKey is where a node's desired state lies, and allParts matches the parts of all.
func stateKey(name string) string {
	return subjects.StateKey(name, handlers.MethodNginxConfig, desiredDomain)
}

var allParts = subjects.KeySubject(subjects.Desired, subjects.PartKey(stateKey("*"), "*"))

// splitPartKey is the inverse of subjects.PartKey for a node's nginx.
func splitPartKey(key string) (name, digest string) {
	state, digest, _ := cutLast(key, ".")
	name, _, _ = strings.Cut(state, ".")
	return name, digest
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// followParts looks at what is written as parts: whoever may store anything can have
// rubbish stored there, and then they are written anew.
func (c *compiler) followParts(ctx context.Context, caughtUp func()) error {
	if c.partsRead == 0 {
		state, err := c.station.conn.State(ctx, subjects.BucketStream(subjects.Desired))
		if err != nil {
			return err
		}
		c.partsRead = state.Last
	}
	return c.station.conn.Read(ctx, subjects.BucketStream(subjects.Desired), bus.ReadOptions{Filter: allParts, After: c.partsRead, Follow: true, CaughtUp: caughtUp}, func(i bus.Item) error {
		key := subjects.KeyOfSubject(subjects.Desired, i.Subject)
		name, digest := splitPartKey(key)
		if c.note(key, message.Digest(i.Body) != digest) {
			if err := c.look(ctx, name, digest); err != nil {
				return err
			}
		}
		c.partsRead = i.Sequence
		return nil
	})
}

// mostStrange bounds how many parts are remembered that are rubbish.
const mostStrange = 4096

// note remembers whether a part is something else than its name says: the document that
// names it may be about to be written. It returns that.
func (c *compiler) note(key string, strange bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !strange {
		delete(c.strange, key)
		return false
	}
	if len(c.strange) >= mostStrange {
		clear(c.strange)
	}
	c.strange[key] = true
	return true
}

// lookAgain looks at parts of a node's newest document over which somebody wrote before it
// was known here that it names them.
func (c *compiler) lookAgain(ctx context.Context, name string) error {
	c.mu.Lock()
	var due []string
	if len(c.strange) > 0 {
		for _, digest := range c.desired[name].digests() {
			if c.strange[subjects.PartKey(stateKey(name), digest)] {
				due = append(due, digest)
			}
		}
	}
	c.mu.Unlock()
	for _, digest := range due {
		if err := c.look(ctx, name, digest); err != nil {
			return err
		}
	}
	return nil
}

// look has a desired state written anew that names a part which is not there, or is
// something else.
func (c *compiler) look(ctx context.Context, name, digest string) error {
	if d, _ := c.of(name); !d.names(digest) {
		return nil
	}
	_, err := c.station.conn.Part(ctx, stateKey(name), digest)
	if k := fleet.KindOf(err); k != fleet.Unknown && k != fleet.Failed {
		return err
	}
	c.station.log.Error("a part of a desired state is gone, or something else, and will be written anew", "node", name, "error", err)
	c.mu.Lock()
	d := c.desired[name]
	d.lacks = d.names(digest)
	c.desired[name] = d
	c.mu.Unlock()
	c.wake()
	return nil
}

// tidyParts removes what no newest document names, and whatever nodes have that are not
// registered; and it looks for what a document names and nobody has. What is young
// stays: a station may be about to write the document.
func (c *compiler) tidyParts(ctx context.Context) error {
	if time.Since(c.partsTidied) < c.station.cfg.PartsAfter {
		return nil
	}
	c.partsTidied = time.Now()
	c.mu.Lock()
	known := make(map[string]desiredEntry)
	for name, d := range c.desired {
		if d.parts != "" {
			known[name] = d
		}
	}
	c.mu.Unlock()
	due, there, now := make(map[string][]bus.StoredPart), make(map[string]bool), c.station.clock.Now()
	err := c.station.conn.Read(ctx, subjects.BucketStream(subjects.Desired), bus.ReadOptions{Filter: allParts, Latest: true, Bare: true}, func(i bus.Item) error {
		e := bus.EntryOf(subjects.Desired, i.Stored)
		name, digest := splitPartKey(e.Key)
		switch {
		case c.station.register.key(name) != "" && known[name].names(digest):
			there[e.Key] = true
		case now.Sub(e.At) >= c.station.cfg.PartsAfter:
			due[name] = append(due[name], bus.StoredPart{Key: e.Key, Sequence: e.Sequence})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name, parts := range due {
		if err := c.drop(ctx, name, parts); err != nil {
			return err
		}
	}
	for name, d := range known {
		for _, digest := range d.digests() {
			if !there[subjects.PartKey(stateKey(name), digest)] && c.station.register.key(name) != "" {
				if err := c.look(ctx, name, digest); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// drop removes parts of a node, unless this station is behind the newest document.
func (c *compiler) drop(ctx context.Context, name string, parts []bus.StoredPart) error {
	newest, err := c.station.conn.Get(ctx, subjects.Desired, stateKey(name))
	if err != nil && fleet.KindOf(err) != fleet.Unknown {
		return err
	}
	d, _ := c.of(name)
	if newest.Sequence > d.sequence {
		return nil
	}
	removed := c.station.register.key(name) == ""
	parts = slices.DeleteFunc(parts, func(p bus.StoredPart) bool {
		_, digest := splitPartKey(p.Key)
		return !removed && d.names(digest)
	})
	if err := c.station.conn.DropParts(ctx, parts); err != nil {
		return err
	}
	c.station.log.Debug("removed parts of a desired state", "node", name, "parts", len(parts))
	if removed && d.parts != "" { // for one that takes the name
		c.mu.Lock()
		defer c.mu.Unlock()
		if now := c.desired[name]; now.sequence == d.sequence {
			now.lacks = true
			c.desired[name] = now
		}
	}
	return nil
}
