package nginx

import (
	"net/netip"
	"slices"

	"fairlead/pkg/fleet"
)

// port is a claim on a port: nginx passes its own test when two parts of it
// want the same one, and fails at the reload.
type port struct {
	netip.AddrPort
	owner string
	http  bool
}

// streamClaims finds ports that a stream and somebody else both want, and
// upstreams that a stream cannot use.
func (m *model) streamClaims() fleet.Faults {
	var faults fleet.Faults
	ports := map[string][]port{} // by protocol
	for _, r := range m.resources {
		if host, ok := r.Spec.(*fleet.VirtualHost); ok {
			for _, l := range m.listenersOf(host) {
				at, _ := netip.ParseAddrPort(l.text) // it is one by construction
				ports["tcp"] = append(ports["tcp"], port{at, r.ID(), true})
			}
		}
	}
	for _, r := range m.resources {
		s, ok := r.Spec.(*fleet.Stream)
		if !ok {
			continue
		}
		var own fleet.Faults
		protocol := orElse(s.Protocol, "tcp")
		for i, listen := range s.Listen {
			some, _ := listenersOf(m.address, fleet.Listen{Address: listen.Address, Port: listen.Port})
			for _, l := range some {
				at, _ := netip.ParseAddrPort(l.text)
				other := slices.IndexFunc(ports[protocol], func(p port) bool { return p.owner != r.ID() && p.clashes(at) })
				if other >= 0 {
					own.Addf(fieldOf("spec.listen", i), "%s listens on %s already", ports[protocol][other].owner, ports[protocol][other].AddrPort)
					break // the other family would only say it again
				}
				ports[protocol] = append(ports[protocol], port{AddrPort: at, owner: r.ID()})
			}
		}
		own = append(own, m.streamNeeds(s)...)
		faults = append(faults, about(r, own)...)
	}
	return faults
}

// clashes says whether a stream cannot listen at an address beside p. Within
// the stream context one address of many may have a server of its own; beside
// a host of the http context it may not, since each binds for itself.
func (p port) clashes(at netip.AddrPort) bool {
	if p.Port() != at.Port() || p.Addr().Is4() != at.Addr().Is4() {
		return false
	}
	return p.Addr() == at.Addr() || p.http && (p.Addr().IsUnspecified() || at.Addr().IsUnspecified())
}

// streamNeeds finds upstreams that choose a server by what a stream has not.
func (m *model) streamNeeds(s *fleet.Stream) fleet.Faults {
	var faults fleet.Faults
	for _, need := range s.Needs() {
		for _, r := range m.resources {
			u, ok := r.Spec.(*fleet.Upstream)
			if !ok || r.ID() != need.ID() {
				continue
			}
			if u.Strategy == "ipHash" || u.Strategy == "hash" && u.Hash.By != "client" {
				faults.Addf(need.Path, "%s chooses by what only HTTP has: give it strategy hash with hash: {by: client}", r.ID())
			}
		}
	}
	return faults
}
