package subjects

// Role says what a user of the broker is for.
type Role string

// The roles. Admin, operator and viewer are people; station and node programs.
// Renew is a node that may ask for a new JWT and do nothing else, and join who
// holds a token and is to become a node.
const (
	Admin    Role = "admin"
	Operator Role = "operator"
	Viewer   Role = "viewer"
	Station  Role = "station"
	Node     Role = "node"
	Renew    Role = "renew"
	Join     Role = "join"
)

// Leaf is a broker that passes on, as a leafnode, what nodes say and hear. It
// has no part in Roles: a tenant has no key that signs all of them, each has its own.
const Leaf Role = "leaf"

// Roles are all roles, the mightiest first.
func Roles() []Role { return []Role{Admin, Operator, Viewer, Station, Node, Renew, Join} }

// Senders are the roles whose signed commands and documents somebody may
// believe, and so those that a trust set can hold.
func Senders() []Role { return []Role{Admin, Operator, Viewer, Station} }

// Row is a line of the table: who may say what, and who may hear it.
//
// In Subject, <node> stands for one node (the holder's own name in the grants
// of node, renew and join, every node in the others'), <user> for the user's
// own name, <sent> for each method that the role may send.
type Row struct {
	Subject     string
	Publishes   []Role
	Subscribes  []Role
	Stream      string // what keeps it, "" for nothing
	Description string
}

var (
	people  = []Role{Admin, Operator, Viewer}
	writers = []Role{Admin, Operator}
)

func roles(groups ...any) []Role {
	var all []Role
	for _, g := range groups {
		switch g := g.(type) {
		case Role:
			all = append(all, g)
		case []Role:
			all = append(all, g...)
		}
	}
	return all
}

// Table is the whole traffic of a tenant.
func Table() []Row {
	return []Row{
		{"fleet.<node>.command.<sent>.*.*", roles(writers, Station), nil, Commands, "a command on its way into the mailbox; the last token is its id"},
		{"<node>.command.>", nil, roles(people, Station, Node), "", "a stored command as the node hears it"},
		{"fleet.<node>.event.>", roles(Station, Node), nil, Events + ", " + Health + ", " + Logs, "an event on its way into its stream: answers, lifecycle, health reports, log batches"},
		{"<node>.event.>", nil, roles(people, Station), "", "a stored event"},
		{OrderSubject("*"), roles(people), nil, Orders, "an order: whom a command to many was meant for when it was sent; it has nothing done by itself"},
		{QueueSubject("*", "*"), roles(people), nil, Orders, "signed commands of an order that stations publish some at a time, or that they are not to be published any more"},
		{Checkpoint, roles(Station), nil, Checkpoints, "what a station signs about the audit so far"},
		{"*.>", nil, roles(Admin), "", "everything of a node, such as ship1.>; the administrator of a tenant may hear all of it"},

		{"$KV.desired.<node>.>", roles(Station), nil, "KV_desired", "what a node should be; one token longer, a part of it by the SHA-256 of what travels, unsigned, since that names it"},
		{"live.desired.<node>.>", nil, roles(Node), "", "a stored desired key as the node hears it"},
		{"$JS.API.DIRECT.GET.KV_desired.$KV.desired.<node>.>", roles(Node), nil, "", "the node reads its own desired keys"},
		{"$KV.reported.<node>.>", roles(Node), nil, "KV_reported", "what a node says it is"},
		// A station writes again, as a person signed it, what was written over; what it
		// signs itself is no resource.
		{"$KV.fleet.VirtualHost.*", roles(writers, Station), nil, "KV_fleet", "a resource"},
		{"$KV.fleet.Upstream.*", roles(writers, Station), nil, "KV_fleet", "a resource"},
		{"$KV.fleet.Certificate.*", roles(writers, Station), nil, "KV_fleet", "a certificate, its key sealed"},
		{"$KV.fleet.Policy.*", roles(writers, Station), nil, "KV_fleet", "a resource"},
		{"$KV.fleet.Split.*", roles(writers, Station), nil, "KV_fleet", "a resource"},
		{"$KV.fleet.Stream.*", roles(writers, Station), nil, "KV_fleet", "a resource"},
		{"$KV.fleet.ConfigFile.*", roles(Admin, Station), nil, "KV_fleet", "raw nginx configuration"},
		{"$KV.fleet.NodePolicy.*", roles(Admin, Station), nil, "KV_fleet", "what nodes allow raw configuration to do, and how agents care for nginx"},
		{"$KV.nodes.<node>", roles(Admin, Station), nil, "KV_nodes", "the register"},
		{"$KV.blobs.*", roles(Admin), nil, "KV_blobs", "a part of a file, or the list of its parts, by the SHA-256 of what it holds; unsigned, since that names it"},
		{"$JS.API.DIRECT.GET.KV_blobs.$KV.blobs.*", roles(Node), nil, "", "a node reads a part of a file"},
		{"$KV.rollouts.>", roles(Admin, Operator, Station), nil, "KV_rollouts", "rollouts: plan, resources and orders by people, state and lease by stations; worthless without their signatures"},

		{"$KV.trust.set", roles(Admin, Station), nil, "KV_trust", "the signed trust set; worthless without the trust key's signature"},
		{"$KV.trust.jwt.*", roles(Admin, Station), nil, "KV_trust", "a user's renewed JWT, by the user's key; worthless without its signature"},
		{"$KV.revoked.*", roles(Admin, Station), nil, "KV_revoked", "a list of revoked nodes; worthless where the trust set does not name its hash"},
		{"live.trust.set", nil, roles(people, Station, Node), "", "the trust set as all hear it once it is stored"},
		{"live.trust.jwt.*", nil, roles(people, Station), "", "a renewed JWT once it is stored"},
		{"$JS.API.DIRECT.GET.KV_trust.$KV.trust.set", roles(Node), nil, "", "the node reads the newest trust set"},
		{"$JS.API.DIRECT.GET.KV_trust", roles(Node), nil, "", "the node reads the older ones that lead from its own to the newest"},

		{"$KV.tokens.*", roles(writers), nil, "KV_tokens", "a token to join with: what it allows, and its public key"},
		{"$KV.tokens.*.use.*", roles(Station), nil, "KV_tokens", "a use of a token, created once"},
		{"$KV.tokens.*.waiting.*", roles(Station), nil, "KV_tokens", "a node that waits for its approval"},
		{"$KV.tokens.*.approved.*", roles(writers), nil, "KV_tokens", "its approval"},
		{"live.join.<node>", roles(Join), roles(Station), "", "the holder of a token asks to become a node; the name is the token's"},
		{"live.renew.<node>", roles(Node, Renew), roles(Station), "", "a node asks for a new JWT"},
		{"live.sync.<node>", roles(Node), roles(Station), "", "a node asks for its waiting commands"},
		{"live.nudge.<node>", roles(Station), roles(Node), "", "a station tells a node to ask now"},
		{"live.heartbeat.<node>", roles(Node), roles(people, Station), "", "a node says, signed, that it lives"},
		{Ask, roles(people), roles(Node), "", "a person asks nodes whether they are there; their next heartbeats name the question"},
		{"live.link.*", nil, roles(Station), "", "the broker's word of a connection that began or ended, imported from the system account"},
		{"live.query.*", roles(people), roles(Station), "", "people ask a station"},
		{"live.import.>", roles(Admin), roles(Admin), "", "what another tenant shares, by command of who holds both"},
		{"live.bench.>", roles(Admin), roles(Admin), "BENCH", "measurements of the bare bus, beside which `fairlead bench` sets its own figures"},
		{"$SRV.>", roles(people), roles(Station), "", "discovery of services"},

		{"$JS.API.CONSUMER.CREATE.COMMANDS.<node>.fleet.<node>.command.>", roles(Node), nil, "", "the node's own short-lived consumer, where no station answers"},
		{"$JS.API.CONSUMER.MSG.NEXT.COMMANDS.<node>", roles(Node), nil, "", "reads of that consumer"},
		{"$JS.API.CONSUMER.DELETE.COMMANDS.<node>", roles(Node), nil, "", "its removal"},

		{"$JS.API.INFO", roles(people, Station), nil, "", "the account's use of JetStream"},
		{"$JS.API.STREAM.INFO.*", roles(people, Station), nil, "", "a stream's state"},
		{"$JS.API.STREAM.NAMES", roles(people, Station), nil, "", "the streams there are"},
		{"$JS.API.STREAM.LIST", roles(people, Station), nil, "", "the streams there are, with their state"},
		{"$JS.API.STREAM.MSG.GET.*", roles(people, Station), nil, "", "one stored message"},
		{"$JS.API.DIRECT.GET.>", roles(people, Station), nil, "", "one stored message, from any replica"},
		{"$JS.API.CONSUMER.CREATE.>", roles(people, Station), nil, "", "reading a stream"},
		{"$JS.API.CONSUMER.INFO.>", roles(people, Station), nil, "", "reading a stream"},
		{"$JS.API.CONSUMER.NAMES.*", roles(people, Station), nil, "", "reading a stream"},
		{"$JS.API.CONSUMER.LIST.*", roles(people, Station), nil, "", "reading a stream"},
		{"$JS.API.CONSUMER.MSG.NEXT.>", roles(people, Station), nil, "", "reading a stream"},
		{"$JS.API.CONSUMER.DELETE.>", roles(people, Station), nil, "", "the end of reading a stream"},
		{"$JS.FC.>", roles(people, Station), nil, "", "flow control of reading a stream"},
		{"$JS.ACK.>", roles(people, Station), nil, "", "acknowledgements of reading a stream"},
		{"$JS.API.STREAM.CREATE.*", roles(Station), nil, "", "making the streams"},
		{"$JS.API.STREAM.CREATE.BENCH", roles(Admin), nil, "", "the begin of a measurement"},
		{"$JS.API.STREAM.UPDATE.*", roles(Station), nil, "", "changing their settings"},
		{"$JS.API.STREAM.DELETE.BENCH", roles(Admin), nil, "", "the end of a measurement"},
		{"$JS.API.STREAM.PURGE.COMMANDS", roles(Station), nil, "", "clearing the mailbox of what has its final answer"},
		{"$JS.API.STREAM.PURGE.KV_desired", roles(Station), nil, "", "removing parts of desired states that no document names"},
		{"$JS.API.STREAM.MSG.DELETE.COMMANDS", roles(Station), nil, "", "clearing the mailbox of what has its final answer"},
		{"$JS.API.STREAM.MSG.DELETE.EVENTS", roles(Station), nil, "", "taking away what nobody proves and is in the place of a final answer"},

		{"_INBOX.<user>.>", roles(Admin), roles(people, Station, Join), "", "replies to one's own requests"},
		{"_INBOX_NODE.<user>.>", nil, roles(Node, Renew), "", "replies to a node's requests: no name of a person leads there"},
		{"_INBOX.>", roles(Station), nil, "", "the station's replies"},
		{"_INBOX_NODE.>", roles(Station), nil, "", "the station's replies to nodes"},
	}
}
