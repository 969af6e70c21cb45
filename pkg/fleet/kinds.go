package fleet

// VirtualHost is one site: where it listens, which names it answers to, and
// what each location does.
type VirtualHost struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Listen holds at least one address and port.
	Listen []Listen `json:"listen"`
	// ServerNames are exact names, `*.example.org` wildcards, or `_` for the default host of its listeners.
	ServerNames []string `json:"serverNames"`
	// Headers are added to every response of the host; a value holds no `$`.
	Headers map[string]string `json:"headers,omitempty"`
	// Locations are matched as nginx does; at least one.
	Locations []Location `json:"locations"`
}

// Listen is a TCP address and port. Without an address the node's own default
// listen address is used, which is every address unless the node says otherwise.
type Listen struct {
	Address string `json:"address,omitempty"` // IPv4, or IPv6 without brackets
	Port    int    `json:"port"`              // 1 to 65535
}

// Location says what happens below one path. Exactly one of `return`, `root`,
// `proxy` and `redirect` is set.
type Location struct {
	// Path begins with `/` and is compared with the request's decoded path; with match regex it is an
	// expression that Go and PCRE both read, at most 512 bytes, without named groups or repeated repetitions.
	Path string `json:"path"`
	// Match is prefix (default), exact or regex.
	Match string `json:"match,omitempty"`
	// Return answers with a fixed text.
	Return *Return `json:"return,omitempty"`
	// Root is the absolute directory on the node that files are served from.
	Root string `json:"root,omitempty"`
	// Index holds the file names tried for a directory; with `root` only.
	Index []string `json:"index,omitempty"`
	// Proxy passes requests to an upstream.
	Proxy *Proxy `json:"proxy,omitempty"`
	// Redirect sends the client elsewhere.
	Redirect *Redirect `json:"redirect,omitempty"`
	// Headers are added to responses of this location.
	Headers map[string]string `json:"headers,omitempty"`
}

// Return answers with a fixed status and text.
type Return struct {
	Code        int    `json:"code"`                  // 200 to 599
	Text        string `json:"text,omitempty"`        // body, sent as it is; at most 4000 bytes; not with a code that has no body
	ContentType string `json:"contentType,omitempty"` // media type of the text, text/plain when empty
}

// Redirect sends the client elsewhere.
type Redirect struct {
	To   string `json:"to"`             // path, or absolute http or https URL
	Code int    `json:"code,omitempty"` // 301, 302 (default), 303, 307 or 308
	// KeepPath appends the request's path and query, so `to` may then have none.
	KeepPath bool `json:"keepPath,omitempty"`
}

// Proxy passes requests to an Upstream by name.
type Proxy struct {
	Upstream string            `json:"upstream"`          // name of the resource
	Headers  map[string]string `json:"headers,omitempty"` // set on the request to the upstream
}

// Upstream is a named group of servers. It goes to the nodes whose virtual
// hosts use it.
type Upstream struct {
	// Servers holds at least one server that is not a backup.
	Servers []Server `json:"servers"`
	// Strategy is roundRobin (default), leastConn or ipHash.
	Strategy string `json:"strategy,omitempty"`
	// Keepalive is the number of idle connections a worker keeps, at most 10000; 0 is none.
	Keepalive int `json:"keepalive,omitempty"`
}

// Server is one member of an Upstream.
type Server struct {
	Address  string `json:"address"`            // host:port, or unix:/path
	Weight   int    `json:"weight,omitempty"`   // 1 (default) to 1000
	Backup   bool   `json:"backup,omitempty"`   // used when no other is available; not with ipHash
	MaxFails *int   `json:"maxFails,omitempty"` // 0 never marks it down; nginx's default is 1
}

// ConfigFile is raw nginx configuration for one context, for what the typed
// kinds cannot say. Only an admin may apply it.
type ConfigFile struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Context is where the content goes: http or stream.
	Context string `json:"context"`
	// Content is UTF-8 text of at most 1 MiB; LF and CRLF are both fine.
	Content string `json:"content"`
}

// NodePolicy says how agents care for nginx on the nodes that it selects. A
// node follows at most one.
type NodePolicy struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Drift says what becomes of changes made by hand: enforce (default) undoes them and keeps a copy, report tells of
	// them, adopt leaves them until the next revision.
	Drift string `json:"drift,omitempty"`
	// Bake watches a new revision after it was proven, and rolls it back when it serves worse than the one before.
	Bake *Bake `json:"bake,omitempty"`
	// ShutdownTimeout is how long workers of an older generation may finish their connections, "30s" when empty.
	ShutdownTimeout string `json:"shutdownTimeout,omitempty"`
	// Modules are the dynamic modules, by name as in `ngx_http_perl_module`, that a ConfigFile may use. Perl, Lua and
	// njs run code as root, so they are off unless named here.
	Modules []string `json:"modules,omitempty"`
	// Egress bounds where upstreams may lead.
	Egress *Egress `json:"egress,omitempty"`
	// Resolvers are DNS servers as address or address:port; the host's own when empty.
	Resolvers []string `json:"resolvers,omitempty"`
}

// Bake is a time of trial for a revision that serves.
type Bake struct {
	Time string `json:"time"` // "30s", at most "1h"
	// MaxErrorPercent is how many percent of the answers may have a status of 500 or more, in all; 0 is any more than
	// before.
	MaxErrorPercent int `json:"maxErrorPercent,omitempty"`
	// MinRequests is how many answers there must be to judge by, 20 when 0.
	MinRequests int `json:"minRequests,omitempty"`
}

// Egress bounds where upstreams may lead.
type Egress struct {
	// Deny are networks as 169.254.0.0/16. Without an egress, link-local addresses, which cloud metadata services
	// have, are denied.
	Deny []string `json:"deny,omitempty"`
	// AllowSockets are the directories below which unix sockets may be named; without an egress any but
	// container runtimes' own.
	AllowSockets []string `json:"allowSockets,omitempty"`
}

// Kind is "NodePolicy".
func (*NodePolicy) Kind() string { return "NodePolicy" }

// Kind is "VirtualHost".
func (*VirtualHost) Kind() string { return "VirtualHost" }

// Kind is "Upstream".
func (*Upstream) Kind() string { return "Upstream" }

// Kind is "ConfigFile".
func (*ConfigFile) Kind() string { return "ConfigFile" }
