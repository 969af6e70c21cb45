// Package agent is the program on a node: it takes commands, runs each once,
// and says what happened.
//
// A command's way: the inbox takes it from the live subject or from a sync and
// verifies it; the journal knows whether it ran before; its lane runs it after
// those that were stored before it; the outcome and its answer are journalled
// in one transaction; the outbox carries the answer to the broker, where it is
// created once.
//
// What holds whatever happens to the process: a command that was answered is
// not run again; an answer never precedes its effect; commands of one method
// and domain run in the order in which the broker stored them; whatever
// arrives, the agent answers it and goes on.
package agent
