// Package adopt reads an nginx configuration that people wrote and turns it
// into resources.
//
// It promises:
//   - What a typed resource says in full becomes one; what it cannot say stays
//     what it was, as a ConfigFile. Nothing is guessed.
//   - Every request gets the same answer from the resources as from the
//     configuration, but for what the notes say. Where that cannot be known of
//     a server, it stays raw.
//   - Reading changes nothing, and runs nothing of what it reads.
//
// Start with Read, then Configuration.Convert.
package adopt
