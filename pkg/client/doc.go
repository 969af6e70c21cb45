// Package client is what a person does with a fleet: look, plan, apply, send,
// wait, replay. The command line prints what it returns; tests and examples
// call it directly.
//
// It holds no state of the fleet. What was applied or sent is stored when a
// call returns, and goes on whether or not the caller waits.
package client
