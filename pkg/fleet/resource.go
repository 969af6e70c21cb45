package fleet

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// APIVersion is the only version of the resource format so far.
const APIVersion = "fairlead/v1"

// Metadata names a resource. Names follow the node grammar: letters, digits,
// `-` and `_`, at most 63 characters.
type Metadata struct {
	Name string `json:"name"`
}

// Resource is one document that a person applies: what some nodes should be.
type Resource struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// kinds makes an empty spec for each kind; adding a kind is adding a line.
var kinds = map[string]func() Spec{
	"VirtualHost": func() Spec { return new(VirtualHost) },
	"Upstream":    func() Spec { return new(Upstream) },
	"Stream":      func() Spec { return new(Stream) },
	"Certificate": func() Spec { return new(Certificate) },
	"ConfigFile":  func() Spec { return new(ConfigFile) },
	"NodePolicy":  func() Spec { return new(NodePolicy) },
	"Policy":      func() Spec { return new(Policy) },
	"Split":       func() Spec { return new(Split) },
}

// Kinds lists the kinds of resource, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// NewSpec returns an empty spec of a kind; the error names the kinds there are.
func NewSpec(kind string) (Spec, error) {
	make, ok := kinds[kind]
	if !ok {
		return nil, Errorf(Invalid, "unknown kind %q: use one of %s", kind, strings.Join(Kinds(), ", "))
	}
	return make(), nil
}

// ID is "<Kind>/<name>", unique in a fleet.
func (r Resource) ID() string { return r.Kind + "/" + r.Metadata.Name }

// UnmarshalJSON decodes strictly: an unknown, doubled or differently
// capitalised field, an unknown kind and a missing spec are errors of kind
// Invalid that name it. It does not call Validate.
func (r *Resource) UnmarshalJSON(data []byte) error {
	var raw struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Metadata   Metadata        `json:"metadata"`
		Spec       json.RawMessage `json:"spec"`
	}
	if err := decodeStrict(data, &raw, ""); err != nil {
		return Errorf(Invalid, "resource: %w", err)
	}
	id := raw.Kind + "/" + raw.Metadata.Name
	spec, err := NewSpec(raw.Kind)
	if err != nil {
		return err
	}
	if len(raw.Spec) == 0 || string(raw.Spec) == "null" {
		return Errorf(Invalid, "%s: spec is missing", id)
	}
	if err := decodeStrict(raw.Spec, spec, "spec"); err != nil {
		return Errorf(Invalid, "%s: %w", id, err)
	}
	*r = Resource{APIVersion: raw.APIVersion, Kind: raw.Kind, Metadata: raw.Metadata, Spec: spec}
	return nil
}
