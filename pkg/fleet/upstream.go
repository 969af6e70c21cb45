package fleet

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Upstream is a named group of servers. It goes to the nodes whose virtual
// hosts and streams use it.
type Upstream struct {
	// Servers holds at least one server that is not a backup.
	Servers []Server `json:"servers"`
	// Strategy is roundRobin (default), leastConn, ipHash, hash, or random, which takes the less busy of two drawn by lot.
	Strategy string `json:"strategy,omitempty"`
	// Hash says what strategy hash goes by.
	Hash *Hash `json:"hash,omitempty"`
	// Keepalive is the number of idle connections a worker keeps, at most 10000; 0 is none. A Stream keeps none.
	Keepalive int `json:"keepalive,omitempty"`
	// KeepaliveTimeout is how long an idle connection is kept, "60s" when empty; with `keepalive` only.
	KeepaliveTimeout string `json:"keepaliveTimeout,omitempty"`
	// KeepaliveRequests is how many requests one connection serves, 1000 when 0; with `keepalive` only.
	KeepaliveRequests int `json:"keepaliveRequests,omitempty"`
	// Check has the agent ask each server in turn, and mark one that fails as down until it is well again.
	Check *Check `json:"check,omitempty"`
}

// Server is one member of an Upstream.
type Server struct {
	// Address is host:port or unix:/path. A name is resolved by the node's agent, to all its addresses, again and again.
	Address     string `json:"address"`
	Weight      int    `json:"weight,omitempty"`      // 1 (default) to 1000
	Backup      bool   `json:"backup,omitempty"`      // used when no other is available; not with ipHash, hash and random
	Down        bool   `json:"down,omitempty"`        // takes no requests, for maintenance
	MaxFails    *int   `json:"maxFails,omitempty"`    // failed attempts within failTimeout that take it out; 0 never does; nginx's default is 1
	FailTimeout string `json:"failTimeout,omitempty"` // and how long it is out then; nginx's default is "10s"
	MaxConns    int    `json:"maxConns,omitempty"`    // connections at the same time, at most 1000000; 0 is no limit
}

// Hash is what requests are told apart by: those with the same key go to the
// same server, those without one take turns.
type Hash struct {
	By         string `json:"by"`                   // uri, client, host, header or cookie; client alone for a Stream
	Name       string `json:"name,omitempty"`       // of the header or the cookie
	Consistent bool   `json:"consistent,omitempty"` // moves few keys when a server comes or goes
}

// Check is how the agent finds out whether a server is well. Servers are never
// all marked down: when every one fails, requests go on to all of them.
type Check struct {
	Path     string   `json:"path,omitempty"`     // asked for with GET, `/` when empty
	TCP      bool     `json:"tcp,omitempty"`      // connects and asks nothing
	Port     int      `json:"port,omitempty"`     // another port than the server's own
	TLS      bool     `json:"tls,omitempty"`      // speaks TLS; the certificate is not verified, as nginx does not
	Host     string   `json:"host,omitempty"`     // the Host header and the name in TLS; the server's address when empty
	Status   []string `json:"status,omitempty"`   // good answers, as "204" and "200-399", which is the default
	Interval string   `json:"interval,omitempty"` // between two checks of a server: "5s" when empty, "500ms" at least
	Timeout  string   `json:"timeout,omitempty"`  // for one answer: "2s" when empty
	Fails    int      `json:"fails,omitempty"`    // in a row that mark a server down, 3 when 0
	Passes   int      `json:"passes,omitempty"`   // in a row that mark it up again, 2 when 0
}

// Kind is "Upstream".
func (*Upstream) Kind() string { return "Upstream" }

// Bounds of an upstream. nginx has none; these keep a slip of the finger
// (weight: 80000) from taking memory or a file descriptor limit.
const (
	maxWeight    = 1000
	maxServers   = 1000
	maxKeepalive = 10000
	maxCount     = 1000000
)

// strategiesWithoutBackup are those for which nginx has no backup servers.
var strategiesWithoutBackup = []string{"ipHash", "hash", "random"}

// Validate returns every fault of the upstream; paths begin at "spec".
func (u *Upstream) Validate() Faults {
	var faults Faults
	oneOf(&faults, "spec.strategy", u.Strategy, "", "roundRobin", "leastConn", "ipHash", "hash", "random")
	switch {
	case u.Strategy == "hash" && u.Hash == nil:
		faults.Addf("spec.hash", "is missing: say what the strategy goes by, for example {by: client}")
	case u.Strategy != "hash" && u.Hash != nil:
		faults.Addf("spec.hash", "goes with strategy hash alone")
	case u.Hash != nil:
		u.Hash.check(&faults, "spec.hash")
	}
	u.checkKeepalive(&faults)
	switch {
	case len(u.Servers) == 0:
		faults.Addf("spec.servers", "is missing: name at least one server, for example [{address: 127.0.0.1:9000}]")
	case len(u.Servers) > maxServers:
		faults.Addf("spec.servers", "holds %d servers: use at most %d", len(u.Servers), maxServers)
	}
	seen, backups := once{}, 0
	for i := range u.Servers {
		path := item("spec.servers", i)
		s := &u.Servers[i]
		s.check(&faults, path)
		seen.check(&faults, path, strings.ToLower(s.Address))
		if s.Backup {
			backups++
		}
		if s.Backup && slices.Contains(strategiesWithoutBackup, u.Strategy) {
			faults.Addf(path+".backup", "cannot go with strategy %s: nginx has no backup servers there", u.Strategy)
		}
	}
	if backups > 0 && backups == len(u.Servers) {
		faults.Addf("spec.servers", "are all backup: leave at least one that is not")
	}
	if u.Check != nil {
		u.Check.check(&faults, "spec.check")
		for i, s := range u.Servers {
			if u.Check.Port != 0 && strings.HasPrefix(s.Address, "unix:") {
				faults.Addf("spec.check.port", "cannot go with %s, which has no port", item("spec.servers", i))
			}
		}
	}
	return faults
}

func (u *Upstream) checkKeepalive(faults *Faults) {
	bounded(faults, "spec.keepalive", u.Keepalive, maxKeepalive)
	bounded(faults, "spec.keepaliveRequests", u.KeepaliveRequests, maxCount)
	if u.KeepaliveTimeout != "" {
		faults.add("spec.keepaliveTimeout", DurationProblem(u.KeepaliveTimeout, time.Second, time.Hour))
	}
	if u.Keepalive == 0 && (u.KeepaliveTimeout != "" || u.KeepaliveRequests != 0) {
		faults.Addf("spec.keepalive", "is missing: without it no connection is kept, for however long")
	}
}

func (s *Server) check(faults *Faults, at string) {
	faults.add(at+".address", serverAddressProblem(s.Address))
	if s.Weight < 0 || s.Weight > maxWeight {
		faults.Addf(at+".weight", "%d: use 1 to %d", s.Weight, maxWeight)
	}
	if s.MaxFails != nil {
		bounded(faults, at+".maxFails", *s.MaxFails, maxCount)
	}
	if s.FailTimeout != "" {
		faults.add(at+".failTimeout", DurationProblem(s.FailTimeout, time.Second, time.Hour))
	}
	bounded(faults, at+".maxConns", s.MaxConns, maxCount)
}

// check keeps to a closed list: a key is never an expression.
func (h *Hash) check(faults *Faults, at string) {
	oneOf(faults, at+".by", h.By, "uri", "client", "host", "header", "cookie")
	switch named := h.By == "header" || h.By == "cookie"; {
	case !named && h.Name != "":
		faults.Addf(at+".name", "goes with header and cookie alone")
	case named && !hashName.MatchString(h.Name):
		faults.Addf(at+".name", "%s: write the %s's name in letters, digits, '-' and '_'", shown(h.Name), h.By)
	case h.By == "cookie" && strings.Contains(h.Name, "-"):
		faults.Addf(at+".name", "%q holds '-', which nginx cannot read from a cookie's name", clip(h.Name))
	}
}

var hashName = NewPattern(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

func (c *Check) check(faults *Faults, at string) {
	if c.TCP {
		const asks = "tcp, which asks nothing"
		notWith(faults, at+".path", c.Path != "", asks)
		notWith(faults, at+".host", c.Host != "" && !c.TLS, asks)
		notWith(faults, at+".status", len(c.Status) > 0, asks)
	}
	if c.Path != "" {
		faults.add(at+".path", checkPathProblem(c.Path))
	}
	bounded(faults, at+".port", c.Port, 65535)
	if c.Host != "" && !isHost(c.Host) {
		if _, err := netip.ParseAddr(c.Host); err != nil {
			faults.Addf(at+".host", "%q is neither a host name nor an address", clip(c.Host))
		}
	}
	for i, s := range c.Status {
		if _, _, err := StatusRange(s); err != nil {
			faults.Addf(item(at+".status", i), "%s", err)
		}
	}
	if c.Interval != "" {
		faults.add(at+".interval", DurationProblem(c.Interval, 500*time.Millisecond, time.Hour))
	}
	if c.Timeout != "" {
		faults.add(at+".timeout", DurationProblem(c.Timeout, 10*time.Millisecond, time.Minute))
	}
	bounded(faults, at+".fails", c.Fails, 100)
	bounded(faults, at+".passes", c.Passes, 100)
}

// checkPathProblem checks the target of a request line.
func checkPathProblem(path string) string {
	const allowed = "write a path such as /health, with a query where need be"
	if !strings.HasPrefix(path, "/") || len(path) > 1000 {
		return fmt.Sprintf("%q does not begin with '/' or is too long: %s", clip(path), allowed)
	}
	for _, c := range path {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return fmt.Sprintf("%q holds %q: %s", clip(path), c, allowed)
		}
	}
	return ""
}

// StatusRange reads "204" or "200-399": the least and the most status that are
// good.
func StatusRange(text string) (least, most int, err error) {
	m := statusRange.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, fmt.Errorf("%q is no status: write one as 204, or a range as 200-399", clip(text))
	}
	least, _ = strconv.Atoi(m[1]) // of three digits
	most = least
	if m[3] != "" {
		most, _ = strconv.Atoi(m[3])
	}
	if most < least {
		return 0, 0, fmt.Errorf("%q ends before it begins", clip(text))
	}
	return least, most, nil
}

var statusRange = regexp.MustCompile(`^([1-5][0-9][0-9])(-([1-5][0-9][0-9]))?$`)

// bounded adds a fault unless n lies between 0 and most.
func bounded(faults *Faults, path string, n, most int) {
	if n < 0 || n > most {
		faults.Addf(path, "%d: use 0 to %d", n, most)
	}
}

// serverAddressProblem checks host:port or unix:/path.
func serverAddressProblem(address string) string {
	const allowed = "write host:port, as in 192.0.2.1:8080, [2001:db8::1]:8080 or app.example.org:8080, or unix:/path"
	if address == "" {
		return "is missing: " + allowed
	}
	if problem := wordProblem(address, nginxSyntax); problem != "" {
		return problem + "; " + allowed
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return socketProblem(path)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Sprintf("%q has no port: %s", clip(address), allowed)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || port != strconv.Itoa(n) {
		return fmt.Sprintf("%q: %q is not a port: use 1 to 65535", clip(address), clip(port))
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() != "":
		return fmt.Sprintf("%q has a zone, which nginx does not read", clip(address))
	case strings.HasPrefix(address, "[") != ip.Is6(), err != nil && (!isHost(host) || endsInNumber(host)):
		return fmt.Sprintf("%q: %q is neither an IP address nor a host name: %s", clip(address), clip(host), allowed)
	}
	return ""
}

// endsInNumber reports whether a host's last label is a number, which no
// domain is: 300.1.1.1 is a wrong IP address and not a name to resolve.
func endsInNumber(host string) bool {
	_, err := strconv.Atoi(host[strings.LastIndexByte(host, '.')+1:])
	return err == nil
}

// socketProblem checks the path of a unix socket; 107 bytes is what Linux' sun_path holds.
func socketProblem(path string) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Sprintf("%q is not an absolute path: write unix:/run/app.sock", clip(path))
	case hasDots(path), strings.HasSuffix(path, "/"), strings.Contains(path, ":"):
		return fmt.Sprintf("%q: write the socket's own path, without .., ':' or a '/' at the end", clip(path))
	case len(path) > 107:
		return fmt.Sprintf("the socket's path is %d bytes long: a unix socket's has at most 107", len(path))
	}
	return ""
}
