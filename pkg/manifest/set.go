package manifest

import (
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Document is one resource and where it stands.
type Document struct {
	Resource fleet.Resource
	File     string // as it was given; "stdin" for standard input
	Line     int    // of its first field, from 1

	lines map[string]int // path → line
}

// LineOf is the line of a path such as "spec.listen[0].port", or of the
// nearest part around it that is in the file; at last the document's own.
func (d Document) LineOf(path string) int {
	for path != "" {
		if line, found := d.lines[path]; found {
			return line
		}
		path = parent(path)
	}
	return d.Line
}

// parent cuts the last segment, ".name" or "[3]", off a path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// Set is what a number of files hold, in the order in which it was read. It
// does not change and may be used from many goroutines.
type Set struct {
	documents []Document
	keys      map[string]func() []byte // by resource ID, after ReadFiles
}

// Of is a set of resources that stand in no file.
func Of(resources ...fleet.Resource) Set {
	var s Set
	for _, r := range resources {
		s.documents = append(s.documents, Document{Resource: r})
	}
	return s
}

// Documents lists the documents in the order in which they were read.
func (s Set) Documents() []Document { return slices.Clone(s.documents) }

// Resources lists the resources in the order in which they were read.
func (s Set) Resources() []fleet.Resource {
	resources := make([]fleet.Resource, len(s.documents))
	for i, d := range s.documents {
		resources[i] = d.Resource
	}
	return resources
}

// Find is the document of a resource by its ID, "<Kind>/<name>".
func (s Set) Find(id string) (Document, bool) {
	i := slices.IndexFunc(s.documents, func(d Document) bool { return d.Resource.ID() == id })
	if i < 0 {
		return Document{}, false
	}
	return s.documents[i], true
}

// Locate returns a copy of faults in which each that names a resource of the
// set, and has no file yet, has the file and line of its path.
func (s Set) Locate(faults fleet.Faults) fleet.Faults {
	located := slices.Clone(faults)
	byID := map[string]Document{}
	for _, d := range slices.Backward(s.documents) {
		byID[d.Resource.ID()] = d // the first of equals, as in Find
	}
	for i, f := range located {
		if f.File != "" {
			continue
		}
		if d, found := byID[f.Subject]; found {
			located[i].File, located[i].Line = d.File, d.LineOf(f.Path)
		}
	}
	return located
}

// unique adds a fault for every resource that is in the set twice.
func (s Set) unique(faults *fleet.Faults) {
	first := map[string]Document{}
	for _, d := range s.documents {
		id := d.Resource.ID()
		if before, found := first[id]; found {
			*faults = append(*faults, fleet.Fault{
				File: d.File, Line: d.LineOf("metadata.name"), Subject: id, Path: "metadata.name",
				Message: fmt.Sprintf("is also defined at %s:%d: keep one or rename one", before.File, before.LineOf("metadata.name")),
			})
			continue
		}
		first[id] = d
	}
}
