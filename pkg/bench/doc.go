// Package bench measures the whole system: real broker and station processes,
// real connections, journals and signatures. Every figure stands beside one of
// bare NATS, taken on the same broker in the same run, so that a ratio means
// the same on any machine.
package bench
