// Package fleet holds the words that every other package speaks: the
// resources that people write, the selectors that choose nodes, and the kinds
// of error that decide how a thing ended.
//
// It imports the standard library alone and does no I/O, so that station,
// agent and command line cannot disagree about what a resource means.
package fleet
