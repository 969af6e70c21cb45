// Package manifest reads the files that people write into resources, and
// writes resources back as YAML.
//
// It finds every fault of every file in one go and gives each its file and
// line, also those that are found later (Set.Locate). Reading is strict: a
// field that is unknown, doubled or of the wrong type is a fault. JSON is read
// as the YAML that it is. Input is bounded in size, depth and alias expansion,
// and nothing that it holds can panic.
//
//	set, err := manifest.Load("site.yaml", "more/")
//	if err != nil { … }            // fleet.Faults, all of them
//	use(set.Resources())
package manifest
