// Package rollout holds what a rollout is: a change that travels through the
// fleet in waves and stops by itself. A Plan is what a person signed, a State
// how far it has come, and Next decides what follows from the two and from what
// is known of the nodes. Next is a pure function: it reads no clock and asks
// nobody, so whichever station drives a rollout comes to the same decision, and
// one that takes over goes on where the other stopped.
package rollout
