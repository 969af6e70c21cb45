package nginx

import (
	"maps"
	"slices"
	"time"

	"fairlead/pkg/fleet"
)

func checkUpstream(u *fleet.Upstream, faults *fleet.Faults) {
	if len(u.Servers) == 0 {
		faults.Addf("spec.servers", "is empty")
	}
	for i, s := range u.Servers {
		path := fieldOf("spec.servers", i)
		if !memberName.MatchString(s.Address) {
			faults.Addf(path+".address", "%q is neither host:port nor unix:/path", s.Address)
		}
		if s.Weight < 0 || s.MaxConns < 0 || s.MaxFails != nil && *s.MaxFails < 0 {
			faults.Addf(path, "weight, maxFails and maxConns may not be negative")
		}
		checkDuration(path+".failTimeout", s.FailTimeout, faults)
		if s.Backup && slices.Contains([]string{"ipHash", "hash", "random"}, u.Strategy) {
			faults.Addf(path+".backup", "nginx has no backup servers with %s", u.Strategy)
		}
	}
	if _, ok := strategies[u.Strategy]; !ok {
		faults.Addf("spec.strategy", "%q is none of roundRobin, leastConn, ipHash, hash and random", u.Strategy)
	}
	if (u.Strategy == "hash") != (u.Hash != nil) {
		faults.Addf("spec.hash", "goes with strategy hash, and that with it")
	}
	if h := u.Hash; h != nil {
		named := h.By == "header" || h.By == "cookie"
		if !named && !slices.Contains([]string{"uri", "client", "host"}, h.By) || named && !keyName.MatchString(h.Name) {
			faults.Addf("spec.hash", "is none of uri, client, host, header NAME and cookie NAME")
		}
	}
	if u.Keepalive < 0 || u.KeepaliveRequests < 0 {
		faults.Addf("spec.keepalive", "may not be negative")
	}
	checkDuration("spec.keepaliveTimeout", u.KeepaliveTimeout, faults)
}

func checkStream(s *fleet.Stream, faults *fleet.Faults) {
	if len(s.Listen) == 0 {
		faults.Addf("spec.listen", "is empty")
	}
	for i, l := range s.Listen {
		_, err := listenersOf("", fleet.Listen{Address: l.Address, Port: l.Port})
		addErr(faults, fieldOf("spec.listen", i), err)
	}
	if !slices.Contains([]string{"", "tcp", "udp"}, s.Protocol) {
		faults.Addf("spec.protocol", "%q is neither tcp nor udp", s.Protocol)
	}
	if (s.Upstream == "") == (len(s.Routes) == 0) {
		faults.Addf("spec", "needs exactly one of upstream and routes")
	}
	for _, need := range s.Needs() {
		if !resourceName.MatchString(need.Name) {
			faults.Addf(need.Path, "%q is no name", need.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Routes)) {
		if !serverName.MatchString(name) || name == "_" {
			faults.Addf("spec.routes", "%q is no host name", name)
		}
	}
	if s.Protocol == "udp" && (len(s.Routes) > 0 || s.TLS != nil || s.AcceptProxyProtocol) {
		faults.Addf("spec.protocol", "udp cannot go with routes, tls and acceptProxyProtocol")
	}
	if len(s.Routes) > 0 && s.TLS != nil {
		faults.Addf("spec.tls", "cannot go with routes")
	}
	checkDuration("spec.connectTimeout", s.ConnectTimeout, faults)
	checkDuration("spec.idleTimeout", s.IdleTimeout, faults)
	if s.Responses < 0 {
		faults.Addf("spec.responses", "may not be negative")
	}
}

func checkDuration(path, text string, faults *fleet.Faults) {
	if text == "" {
		return
	}
	if problem := fleet.DurationProblem(text, 0, 24*time.Hour); problem != "" {
		faults.Addf(path, "%s", problem)
	}
}

var keyName = fleet.NewPattern(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
