package nginx

import (
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// deniedByDefault are where no upstream leads unless a policy says so: the
// link-local networks, and the address at which one cloud's metadata service
// answers in IPv6. Who reaches such a service has the host's credentials.
var deniedByDefault = []string{"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"}

// runtimeSockets belong to container runtimes: who may speak to one is root on
// the host.
var runtimeSockets = []string{"docker.sock", "containerd.sock", "containerd.sock.ttrpc", "crio.sock", "podman.sock"}

// egress bounds where upstreams may lead.
type egress struct {
	deny    []netip.Prefix
	sockets []string // directories; empty: all but the runtimes' own
}

// egressOf reads a policy, whose networks have been checked; nil is the default.
func egressOf(p *fleet.NodePolicy) egress {
	deny, e := deniedByDefault, egress{}
	if p != nil && p.Egress != nil {
		e.sockets = p.Egress.AllowSockets
		if len(p.Egress.Deny) > 0 {
			deny = p.Egress.Deny
		}
	}
	for _, text := range deny {
		if network, err := netip.ParsePrefix(text); err == nil {
			e.deny = append(e.deny, network)
		}
	}
	return e
}

// problem says why a server's address is denied, "" where it is not or is a
// name, whose addresses are known on the node alone.
func (e egress) problem(address string) string {
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		return e.socket(socket)
	}
	if at, err := netip.ParseAddrPort(address); err == nil {
		return e.address(at.Addr())
	}
	return ""
}

// address looks through IPv6 addresses that stand for one of IPv4.
func (e egress) address(a netip.Addr) string {
	for _, as := range []netip.Addr{a.WithZone(""), a.Unmap(), embedded(a)} {
		for _, network := range e.deny {
			if network.Contains(as) {
				return fmt.Sprintf("the node's policy denies upstreams at %s: %s is in it", network, a)
			}
		}
	}
	return ""
}

// embedded is the IPv4 address that an IPv6 one leads to by NAT64 (RFC 6052)
// or 6to4 (RFC 3056); any other is returned as it is.
func embedded(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case !a.Is6():
		return a
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

func (e egress) socket(file string) string {
	file = path.Clean(file)
	if len(e.sockets) == 0 {
		if slices.Contains(runtimeSockets, path.Base(file)) {
			return fmt.Sprintf("the node's policy denies sockets of container runtimes: %s is one", file)
		}
		return ""
	}
	for _, dir := range e.sockets {
		if strings.HasPrefix(file, strings.TrimSuffix(path.Clean(dir), "/")+"/") {
			return ""
		}
	}
	return fmt.Sprintf("the node's policy allows sockets below %s alone: %s is not", strings.Join(e.sockets, ", "), file)
}

// resolvedSocket is socket for what a path leads to on this node.
func (e egress) resolvedSocket(file string) string {
	if problem := e.socket(file); problem != "" {
		return problem
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil || real == file {
		return "" // one that is not there yet is looked at again with the next change
	}
	dirs := slices.Clone(e.sockets)
	for _, dir := range e.sockets {
		if real, err := filepath.EvalSymlinks(dir); err == nil { // as /var/run is /run
			dirs = append(dirs, real)
		}
	}
	return egress{sockets: dirs}.socket(real)
}

// egressClaims finds servers that the node's policy denies.
func (m *model) egressClaims() fleet.Faults {
	var faults fleet.Faults
	bounds := egressOf(m.policy)
	for _, r := range m.resources {
		u, ok := r.Spec.(*fleet.Upstream)
		if !ok || !m.needed[r.ID()] && !m.streamed[r.ID()] {
			continue
		}
		var own fleet.Faults
		for i, s := range u.Servers {
			if problem := bounds.problem(s.Address); problem != "" {
				own.Addf(fieldOf("spec.servers", i)+".address", "%s", problem)
			}
		}
		faults = append(faults, about(r, own)...)
	}
	return faults
}
