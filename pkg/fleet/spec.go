package fleet

// Spec is the typed content of a resource. Beyond these two methods a spec may
// be Selecting and Needing.
type Spec interface {
	// Kind is the resource's kind as written in YAML.
	Kind() string
	// Validate returns every fault of the spec; paths begin at "spec".
	Validate() Faults
}

// Selecting is a spec that chooses its nodes. One that does not goes where it
// is needed.
type Selecting interface {
	// Selects is the selector as written; empty chooses every node.
	Selects() string
}

// Needing is a spec that is of no use without other resources, which go to
// the same nodes with it.
type Needing interface {
	// Needs lists them in the order of their paths; one may be listed twice.
	Needs() []Need
}

// Need is a resource that another one names.
type Need struct {
	Kind, Name string
	Path       string // of the field that names it, "spec.locations[0].proxy.upstream"
}

// ID is that of the needed resource.
func (n Need) ID() string { return n.Kind + "/" + n.Name }
