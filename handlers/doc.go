// Package handlers holds what a node can do: one file for each method.
//
// A handler is a Definition: data and a function. Dispatch, help, permissions,
// metric labels, documentation and the conformance suite follow from it, so
// adding a method is adding one file here.
//
// Rules for a Handle function. It is idempotent. It says honestly whether it
// changed anything. It can be cancelled at any line without leaving half a
// state. Its error has a kind of package fleet, which decides the answer; an
// error without a kind is an internal one. It may panic: the command then ends
// failed and the agent lives.
package handlers
