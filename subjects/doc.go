// Package subjects is the only place where a subject, a stream or a bucket is
// named. One table says what travels on which subject, who publishes it, who
// subscribes to it and which stream keeps it; streams, buckets and every
// role's permissions follow from it.
//
// A message is addressed by four tokens, <node>.<command|event>.<method>.<domain>.
// Streams store it under a prefix and with its id as last token (see Stored)
// and show it on the four tokens once it is stored, so that no subscriber sees
// a message that could still be lost.
package subjects
