package subjects

import (
	"strconv"
	"strings"
)

// Subjects that are spoken and not kept. They begin with a reserved word, so
// no node name can meet them.

// Sync is where a node asks for its waiting commands.
func Sync(node string) string { return "live.sync." + node }

// SyncAll is where stations listen for those questions.
const SyncAll = "live.sync.*"

// NodeOfSync is the node that asks on a Sync subject.
func NodeOfSync(subject string) string { return strings.TrimPrefix(subject, "live.sync.") }

// Where stations listen for those who want to become nodes, and for nodes that
// want a new JWT.
const (
	JoinAll  = "live.join.*"
	RenewAll = "live.renew.*"
)

// JoinWith is where the holder of a token asks to become a node.
func JoinWith(token string) string { return "live.join." + token }

// TokenOfJoin is the token on a JoinWith subject.
func TokenOfJoin(subject string) string { return strings.TrimPrefix(subject, "live.join.") }

// RenewOf is where a node asks for a new JWT.
func RenewOf(node string) string { return "live.renew." + node }

// NodeOfRenew is the node that asks on a RenewOf subject.
func NodeOfRenew(subject string) string { return strings.TrimPrefix(subject, "live.renew.") }

// TrustShown is where the trust set is heard once it is stored, and JWTsShown
// the renewed JWTs of all users.
const (
	TrustShown = "live.trust.set"
	JWTsShown  = "live.trust.jwt.*"
)

// JWTShown is where one user's renewed JWT is heard.
func JWTShown(user string) string { return "live.trust.jwt." + user }

// Nudge tells a node to ask Sync now.
func Nudge(node string) string { return "live.nudge." + node }

// Heartbeat is where a node says that it lives.
func Heartbeat(node string) string { return "live.heartbeat." + node }

// Ask is where people ask nodes whether they are there. Their answers are heartbeats
// that name the question.
const Ask = "live.ask"

// HeartbeatAll is where stations listen for it.
const HeartbeatAll = "live.heartbeat.*"

// NodeOfHeartbeat is the node that speaks on a Heartbeat subject, "" for another subject.
func NodeOfHeartbeat(subject string) string {
	node, found := strings.CutPrefix(subject, "live.heartbeat.")
	if !found {
		return ""
	}
	return node
}

// Where stations hear which connections of their tenant began and ended, by the
// broker's word. LinkAll is both.
const (
	LinkUp   = "live.link.up"
	LinkDown = "live.link.down"
	LinkAll  = "live.link.*"
)

// What the system account exports, with the account's key as third token: each
// account can import its own and no other's.
const (
	AccountConnects    = "$SYS.ACCOUNT.*.CONNECT"
	AccountDisconnects = "$SYS.ACCOUNT.*.DISCONNECT"
	AccountToken       = 3 // its position in them
)

// OfAccount is one of those subjects for an account.
func OfAccount(subject, account string) string { return strings.Replace(subject, "*", account, 1) }

// Imported is where a tenant hears, or asks for, what another one shares with it.
func Imported(tenant, subject string) string { return "live.import." + tenant + "." + subject }

// Query is where people ask a station: nodes, node, command, pending, settled.
func Query(what string) string { return "live.query." + what }

// What the system account's user asks brokers, as nats-server has it. It is no
// part of any tenant's traffic.
const (
	AccountUpdate = "$SYS.REQ.CLAIMS.UPDATE"
	AccountDelete = "$SYS.REQ.CLAIMS.DELETE"
	BrokerPing    = "$SYS.REQ.SERVER.PING"
)

// Bench is a subject for measurements of the bare bus. What is published below
// BenchStored goes to the stream BenchStream while a measurement runs.
const (
	Bench       = "live.bench.echo"
	BenchStored = "live.bench.stored"
	BenchStream = "BENCH"
)

// DesiredShown is where a node hears its desired keys when they are stored.
func DesiredShown(node string) string { return "live.desired." + node + ".>" }

// Inbox is the prefix of the replies to a person, a station, or who joins.
func Inbox(user string) string { return "_INBOX." + user }

// NodeInbox is the prefix of the replies to a node. It is another than that of
// people, since a node may join under any name, a person's too.
func NodeInbox(node string) string { return "_INBOX_NODE." + node }

// InboxOf is the prefix of the replies to a user of a role.
func InboxOf(role Role, user string) string {
	if role == Node || role == Renew {
		return NodeInbox(user)
	}
	return Inbox(user)
}

// IsInbox reports whether a subject is one for replies. Who asks may name any
// subject for the answer, also one on which only the one who answers may speak.
func IsInbox(subject string) bool {
	return strings.HasPrefix(subject, "_INBOX.") || strings.HasPrefix(subject, "_INBOX_NODE.")
}

// DesiredKey, ReportedKey and the like are keys in their buckets.

// StateKey is a node's key in the desired and reported buckets.
func StateKey(node, method, domain string) string { return node + "." + method + "." + domain }

// StateKeysOf matches all keys of a node in the desired and reported buckets.
func StateKeysOf(node string) string { return node + ".>" }

// PartKey is the key of a part of a desired state, by the state's key and the part's
// digest; "*" is each of them.
func PartKey(state, digest string) string { return state + "." + digest }

// ResourceKey is a resource's key in the fleet bucket.
func ResourceKey(kind, name string) string { return kind + "." + name }

// TrustKey is the trust set's key in its bucket.
const TrustKey = "set"

// RevokedKey is where the bucket Revoked keeps a list of revoked nodes, by its
// place among those that the trust set names.
func RevokedKey(place int) string { return strconv.Itoa(place) }

// JWTKey is where that bucket keeps the renewed JWT of a user's public key.
func JWTKey(user string) string { return "jwt." + user }

// KeySubject is the subject under which a bucket's key is stored.
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// KeyOfSubject is the inverse of KeySubject; "" where it is another bucket's.
func KeyOfSubject(bucket, subject string) string {
	key, ok := strings.CutPrefix(subject, "$KV."+bucket+".")
	if !ok {
		return ""
	}
	return key
}

// BucketStream is the stream behind a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }
