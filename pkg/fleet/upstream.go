package fleet

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

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

// Kind is "Upstream".
func (*Upstream) Kind() string { return "Upstream" }

// Bounds of an upstream. nginx has none; these keep a slip of the finger
// (weight: 80000) from taking memory or a file descriptor limit.
const (
	maxWeight    = 1000
	maxServers   = 1000
	maxKeepalive = 10000
	maxFails     = 1000000
)

// Validate returns every fault of the upstream; paths begin at "spec".
func (u *Upstream) Validate() Faults {
	var faults Faults
	oneOf(&faults, "spec.strategy", u.Strategy, "", "roundRobin", "leastConn", "ipHash")
	if u.Keepalive < 0 || u.Keepalive > maxKeepalive {
		faults.Addf("spec.keepalive", "%d: use 0 to %d", u.Keepalive, maxKeepalive)
	}
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
		if s.Backup && u.Strategy == "ipHash" {
			faults.Addf(path+".backup", "cannot go with strategy ipHash: nginx has no backup servers there")
		}
	}
	if backups > 0 && backups == len(u.Servers) {
		faults.Addf("spec.servers", "are all backup: leave at least one that is not")
	}
	return faults
}

func (s *Server) check(faults *Faults, at string) {
	faults.add(at+".address", serverAddressProblem(s.Address))
	if s.Weight < 0 || s.Weight > maxWeight {
		faults.Addf(at+".weight", "%d: use 1 to %d", s.Weight, maxWeight)
	}
	if s.MaxFails != nil && (*s.MaxFails < 0 || *s.MaxFails > maxFails) {
		faults.Addf(at+".maxFails", "%d: use 0 to %d", *s.MaxFails, maxFails)
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
