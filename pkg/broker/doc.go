// Package broker runs a NATS server with JetStream inside the process, and is
// the only importer of nats-server.
//
// It never listens without authentication: the server trusts one operator,
// that of Config.Server, and knows only its accounts; there is no default
// user and no anonymous one. Clients connect by TLS 1.3, and hear nothing
// before its handshake; brokers meet each other by mutual TLS. Certificates are
// read again when their files change. The HTTP monitor, which has no authentication,
// is off unless asked for and then bound to this host.
//
// Accounts can change while brokers run: an account's JWT that the system user
// pushes (package bus) reaches all brokers of a cluster, those that were away
// within seconds of their return, and a user that it revokes is disconnected.
//
// What was acknowledged survives as Config.Sync says: with "always", the
// default, a message is on disk before its publisher hears so; with an
// interval a power cut takes what was acknowledged since the last sync, while
// the death of the process alone takes nothing.
//
// A broker that can no longer store, on a full or broken disk, ends with an
// error within seconds instead of taking connections and keeping nothing.
//
// Brokers of one authority can be a cluster (Config.Cluster), whose streams
// and buckets lie on three hosts where their settings say so. What three
// brokers acknowledged outlives the loss of any one of them, its disk included.
//
// One store directory belongs to one broker at a time, by a file lock that
// the kernel releases when the process ends, however it ends.
package broker
