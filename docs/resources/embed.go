// Package resources holds the pages about the kinds of resource, as people read them:
// the tables of fields are written from the doc comments in pkg/fleet, the examples from
// examples/resources, and tests hold both. `fairlead explain` prints them.
package resources

import "embed"

// Pages are KIND.md in small letters, one for each kind.
//
//go:embed *.md
var Pages embed.FS
