package nginx

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"fairlead/pkg/fleet"
)

// strategies maps what a resource says to nginx's directive; that of hash
// depends on its key.
var strategies = map[string]string{
	"": "", "roundRobin": "", "leastConn": "least_conn", "ipHash": "ip_hash", "hash": "hash", "random": "random two least_conn",
}

// The two contexts that an upstream may be rendered for.
const (
	inHTTP   = "http"
	inStream = "stream"
)

// upstreamFile is where the bundle holds an upstream of a context.
func upstreamFile(context, name string) string { return context + ".d/upstream-" + name + ".conf" }

// upstream renders one group of servers; each server is rendered as one line
// or more by lines.
func upstream(context, name string, u *fleet.Upstream, lines func(w *writer, s fleet.Server)) string {
	w := new(writer)
	w.line("# Upstream/%s", name)
	w.open("upstream %s", name)
	if zone := upstreamZone(context, name, u); zone != "" {
		w.line("%s", zone)
	}
	switch {
	case u.Strategy == "hash":
		w.line("hash %s%s;", hashKey(u.Hash), map[bool]string{true: " consistent"}[u.Hash.Consistent])
	case strategies[u.Strategy] != "":
		w.line("%s;", strategies[u.Strategy])
	}
	for _, s := range u.Servers {
		lines(w, s)
	}
	if u.Keepalive > 0 && context == inHTTP { // after the strategy, or nginx ignores that
		w.line("keepalive %d;", u.Keepalive)
		if u.KeepaliveTimeout != "" {
			w.line("keepalive_timeout %s;", u.KeepaliveTimeout)
		}
		if u.KeepaliveRequests > 0 {
			w.line("keepalive_requests %d;", u.KeepaliveRequests)
		}
	}
	w.close()
	return w.String()
}

// asWritten renders a server as the resource names it.
func asWritten(w *writer, s fleet.Server) { w.line("%s", serverLine(s.Address, s, s.Down)) }

// serverLine is one server at an address.
func serverLine(address string, s fleet.Server, down bool) string {
	var b strings.Builder
	b.WriteString("server " + address)
	if s.Weight > 1 {
		fmt.Fprintf(&b, " weight=%d", s.Weight)
	}
	if s.MaxConns > 0 {
		fmt.Fprintf(&b, " max_conns=%d", s.MaxConns)
	}
	if s.MaxFails != nil {
		fmt.Fprintf(&b, " max_fails=%d", *s.MaxFails)
	}
	if s.FailTimeout != "" {
		b.WriteString(" fail_timeout=" + s.FailTimeout)
	}
	if s.Backup {
		b.WriteString(" backup")
	}
	if down {
		b.WriteString(" down")
	}
	return b.String() + ";"
}

// upstreamZone has workers count failures, connections and turns together. One
// server has nothing to share but its limit. nginx makes the zone anew at each
// reload, so its size may change; its name tells contexts and sizes apart all
// the same. A name is given room for the addresses that it may have.
func upstreamZone(context, name string, u *fleet.Upstream) string {
	servers, shares := 0, false
	for _, s := range u.Servers {
		servers++
		if isName(s.Address) {
			servers += maxAddresses - 1
		}
		shares = shares || s.MaxConns > 0
	}
	if servers < 2 && !shares {
		return ""
	}
	size := powerOfTwo(64, servers)
	return fmt.Sprintf("zone upstream_%s_%s %dk;", name, hash8(fmt.Sprint(context, size)), size)
}

// maxAddresses is how many addresses of one name are used.
const maxAddresses = 16

// isName says whether the host of a server's address is to be resolved.
func isName(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, "unix:") {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

// hashKey is nginx's variable for what strategy hash goes by; only names of
// letters, digits, - and _ come here.
func hashKey(h *fleet.Hash) string {
	switch h.By {
	case "uri":
		return "$request_uri"
	case "host":
		return "$host"
	case "header":
		return "$http_" + strings.ToLower(strings.ReplaceAll(h.Name, "-", "_"))
	case "cookie":
		return "$cookie_" + h.Name
	}
	return "$remote_addr"
}
