package station

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"weak"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// made is what a station remembers of the resources in a desired state: which they
// were, and not what they said. Nodes with the same resources have one in common.
type made struct {
	prints   []print
	sealedTo []string // curve keys that secrets in them are sealed to
}

// print is one resource, whoever its secrets are sealed to.
type print struct {
	kind, name string
	digest     [sha256.Size]byte
}

func (p print) id() string {
	return fleet.Resource{Kind: p.kind, Metadata: fleet.Metadata{Name: p.name}}.ID()
}

func (p print) key() string { return subjects.ResourceKey(p.kind, p.name) }

// ids are the resources, as people call them.
func (m *made) ids() (all []string) {
	if m != nil {
		for _, p := range m.prints {
			all = append(all, p.id())
		}
	}
	return all
}

// outdated reports whether a secret was sealed to another key than the node has now.
func (m *made) outdated(curve string) bool {
	return m != nil && curve != "" && slices.ContainsFunc(m.sealedTo, func(to string) bool { return to != curve })
}

// differences hands over each resource that is another in after than in before, and what
// became of it, as ResourceMade says it. A nil before had none.
func differences(before, after *made, hand func(p print, action string)) {
	had := make(map[string]print)
	if before != nil {
		for _, p := range before.prints {
			had[p.key()] = p
		}
	}
	for _, p := range after.prints {
		if old, there := had[p.key()]; !there {
			hand(p, "create")
		} else if old.digest != p.digest {
			hand(p, "update")
		}
		delete(had, p.key())
	}
	for _, p := range had {
		hand(p, "delete")
	}
}

func madeOf(resources []fleet.Resource) *made {
	m := &made{prints: make([]print, 0, len(resources))}
	for _, r := range resources {
		shown, _ := json.Marshal(fleet.Shown(r)) // of plain fields: cannot fail
		m.prints = append(m.prints, print{r.Kind, r.Metadata.Name, sha256.Sum256(shown)})
		for _, to := range fleet.SealedTo(r.Spec) {
			if !slices.Contains(m.sealedTo, to) {
				m.sealedTo = append(m.sealedTo, to)
			}
		}
	}
	return m
}

// making finds what is made already from the same bytes. It remembers what somebody
// else holds, and nothing beyond.
type making struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]weak.Pointer[made]
	limit int // how many there may be before those that nobody holds are dropped
}

// makingLeast is how many are kept before the first look for what nobody holds.
const makingLeast = 1024

// from is what a list of resources is, as it lies in a document.
func (m *making) from(raw []byte) (*made, error) {
	key := sha256.Sum256(raw)
	if is := m.find(key); is != nil {
		return is, nil
	}
	var resources []fleet.Resource
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &resources); err != nil {
			return nil, err
		}
	}
	return m.keep(key, madeOf(resources)), nil
}

// of is what resources are that are about to be written, how each is written, and all.
func (m *making) of(resources []fleet.Resource) (is *made, pieces []message.Piece, raw []byte, err error) {
	raw = []byte("[")
	for i, r := range resources {
		text, err := json.Marshal(r)
		if err != nil {
			return nil, nil, nil, err
		}
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(raw, text...)
		pieces = append(pieces, message.Piece{ID: r.ID(), Text: text})
	}
	raw = append(raw, ']')
	key := sha256.Sum256(raw)
	if is = m.find(key); is == nil {
		is = m.keep(key, madeOf(resources))
	}
	return is, pieces, raw, nil
}

func (m *making) find(key [sha256.Size]byte) *made {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[key].Value()
}

func (m *making) keep(key [sha256.Size]byte, is *made) *made {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known, m.limit = make(map[[sha256.Size]byte]weak.Pointer[made]), makingLeast
	}
	if len(m.known) >= m.limit {
		for key, held := range m.known {
			if held.Value() == nil {
				delete(m.known, key)
			}
		}
		m.limit = max(makingLeast, 2*len(m.known))
	}
	m.known[key] = weak.Make(is)
	return is
}
