// Package message holds what travels: an envelope in NATS headers, a body, and
// a signature over both.
//
// The signature is Ed25519 over the subject, the id, every Fairlead header and
// the SHA-256 of the body, so a message can neither be changed, nor sent on to
// another node, nor given a longer life by anyone who carries it. Who may have
// signed what is decided by Verify with the caller's set of trusted keys.
package message
