// Package join makes a host a node: with a token it asks a station, and keeps
// what that answers as the node's identity.
//
// The host makes its key itself and believes nothing that does not follow from
// the token: the broker by the certificate that the token names, the trust set
// by the keys that may sign it, the station by the trust set, the JWTs by their
// issuers. Whoever stands in between can keep a host from joining and nothing
// more. A join that was cut off at any line goes on when it is tried again with
// the same token and directory.
package join
