package fleet

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Stream passes TCP connections or UDP datagrams on to upstreams. Exactly one
// of `upstream` and `routes` is set.
type Stream struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Listen holds at least one address and port.
	Listen []StreamListen `json:"listen"`
	// Protocol is tcp (default) or udp.
	Protocol string `json:"protocol,omitempty"`
	// Upstream is the name of the Upstream that everything goes to.
	Upstream string `json:"upstream,omitempty"`
	// Routes choose the Upstream by the name that a TLS client asks for, an exact one or a `*.example.org` wildcard. TLS is
	// passed on as it is.
	Routes map[string]string `json:"routes,omitempty"`
	// Otherwise is the name of the Upstream for what no route is for; without it such a connection is closed.
	Otherwise string `json:"otherwise,omitempty"`
	// TLS ends TLS here, with a Certificate; for tcp without routes.
	TLS *StreamTLS `json:"tls,omitempty"`
	// AcceptProxyProtocol expects the PROXY header on each connection, as a load balancer in front sends it.
	AcceptProxyProtocol bool `json:"acceptProxyProtocol,omitempty"`
	// SendProxyProtocol sends the PROXY header to the servers.
	SendProxyProtocol bool `json:"sendProxyProtocol,omitempty"`
	// ConnectTimeout is how long a connection to a server may take to stand, "10s" when empty.
	ConnectTimeout string `json:"connectTimeout,omitempty"`
	// IdleTimeout ends a session on which nothing was said for so long, "10m" when empty.
	IdleTimeout string `json:"idleTimeout,omitempty"`
	// Responses is how many datagrams answer one, which ends its session; for udp. 0 leaves that to `idleTimeout`.
	Responses int `json:"responses,omitempty"`
}

// StreamListen is an address and port. Without an address the node's own
// default listen address is used.
type StreamListen struct {
	Address string `json:"address,omitempty"` // IPv4, or IPv6 without brackets
	Port    int    `json:"port"`              // 1 to 65535
}

// StreamTLS ends TLS.
type StreamTLS struct {
	Certificate string `json:"certificate"` // name of the resource
}

// Kind is "Stream".
func (*Stream) Kind() string { return "Stream" }

// maxRoutes bounds the routes of one stream.
const maxRoutes = 1000

// Selects is the stream's selector.
func (s *Stream) Selects() string { return s.Selector }

// Needs are the upstreams that the stream passes to, and its certificate.
func (s *Stream) Needs() []Need {
	var needs []Need
	if s.Upstream != "" {
		needs = append(needs, Need{"Upstream", s.Upstream, "spec.upstream"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Routes)) {
		needs = append(needs, Need{"Upstream", s.Routes[name], "spec.routes." + name})
	}
	if s.Otherwise != "" {
		needs = append(needs, Need{"Upstream", s.Otherwise, "spec.otherwise"})
	}
	if s.TLS != nil {
		needs = append(needs, Need{"Certificate", s.TLS.Certificate, "spec.tls.certificate"})
	}
	return needs
}

// Validate returns every fault of the stream; paths begin at "spec".
func (s *Stream) Validate() Faults {
	var faults Faults
	checkSelector(&faults, "spec.selector", s.Selector)
	s.checkListen(&faults)
	oneOf(&faults, "spec.protocol", s.Protocol, "", "tcp", "udp")
	s.checkTargets(&faults)
	if s.Protocol == "udp" {
		notWith(&faults, "spec.routes", len(s.Routes) > 0, "udp")
		notWith(&faults, "spec.tls", s.TLS != nil, "udp")
		notWith(&faults, "spec.acceptProxyProtocol", s.AcceptProxyProtocol, "udp")
	} else if s.Responses != 0 {
		faults.Addf("spec.responses", "goes with udp alone")
	}
	bounded(&faults, "spec.responses", s.Responses, maxCount)
	if s.TLS != nil {
		if err := CheckName("certificate", s.TLS.Certificate); err != nil {
			faults.Addf("spec.tls.certificate", "%s", err)
		}
		if len(s.Routes) > 0 {
			faults.Addf("spec.tls", "cannot go with routes, which pass TLS on as it is")
		}
	}
	if s.ConnectTimeout != "" {
		faults.add("spec.connectTimeout", DurationProblem(s.ConnectTimeout, 10*time.Millisecond, 10*time.Minute))
	}
	if s.IdleTimeout != "" {
		faults.add("spec.idleTimeout", DurationProblem(s.IdleTimeout, 100*time.Millisecond, 24*time.Hour))
	}
	return faults
}

func (s *Stream) checkListen(faults *Faults) {
	if len(s.Listen) == 0 {
		faults.Addf("spec.listen", "is missing: name at least one port, for example [{port: 5432}]")
	}
	seen := once{}
	for i, l := range s.Listen {
		path := item("spec.listen", i)
		if l.Port < 1 || l.Port > 65535 {
			faults.Addf(path+".port", "%d is not a port: use 1 to 65535", l.Port)
		}
		faults.add(path+".address", addressProblem(l.Address))
		canonical := l.Address
		if a, err := netip.ParseAddr(l.Address); err == nil {
			canonical = a.String()
		}
		seen.check(faults, path, fmt.Sprintf("%s %d", canonical, l.Port))
	}
}

// checkTargets wants one way on, and names that resources can have.
func (s *Stream) checkTargets(faults *Faults) {
	switch {
	case s.Upstream == "" && len(s.Routes) == 0:
		faults.Addf("spec.upstream", "is missing: name the Upstream that everything goes to, or give routes")
	case s.Upstream != "" && len(s.Routes) > 0:
		faults.Addf("spec.routes", "cannot go with upstream: what no route is for goes to otherwise")
	case len(s.Routes) == 0 && s.Otherwise != "":
		faults.Addf("spec.otherwise", "goes with routes alone")
	case len(s.Routes) > maxRoutes:
		faults.Addf("spec.routes", "holds %d routes: use at most %d", len(s.Routes), maxRoutes)
	}
	seen := once{}
	for _, name := range slices.Sorted(maps.Keys(s.Routes)) {
		path := "spec.routes." + clip(name)
		if problem := serverNameProblem(name); problem != "" {
			faults.add(path, problem)
		} else if name == "_" {
			faults.Addf(path, "stands for every name elsewhere: use otherwise")
		}
		seen.check(faults, path, strings.ToLower(name))
		upstreamName(faults, path, s.Routes[name])
	}
	if s.Upstream != "" {
		upstreamName(faults, "spec.upstream", s.Upstream)
	}
	if s.Otherwise != "" {
		upstreamName(faults, "spec.otherwise", s.Otherwise)
	}
}

// notWith adds a fault where a field is set that cannot go with another.
func notWith(faults *Faults, path string, set bool, other string) {
	if set {
		faults.Addf(path, "cannot go with %s", other)
	}
}

func upstreamName(faults *Faults, path, name string) {
	if err := CheckName("upstream", name); err != nil {
		faults.Addf(path, "%s", err)
	}
}
