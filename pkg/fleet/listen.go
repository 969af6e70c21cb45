package fleet

import (
	"fmt"
	"net/netip"
	"strings"
)

// Listen is a TCP address and port. Without an address the node's own default
// listen address is used, which is every address unless the node says otherwise.
// Hosts that share an address and port agree on everything else about it.
type Listen struct {
	Address string `json:"address,omitempty"` // IPv4, or IPv6 without brackets
	Port    int    `json:"port"`              // 1 to 65535
	TLS     bool   `json:"tls,omitempty"`     // clients speak TLS here; goes with the host's `tls`
	HTTP2   bool   `json:"http2,omitempty"`   // HTTP/2 is offered beside HTTP/1.1; with tls only
	// ProxyProtocol is spoken by the load balancer in front, and tells of the client's address.
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty"`
}

// ProxyProtocol says whose word on the client's address is believed.
type ProxyProtocol struct {
	From []string `json:"from"` // addresses and networks of load balancers, at least one
}

func (p *ProxyProtocol) check(faults *Faults, at string) {
	if p == nil {
		return
	}
	if len(p.From) == 0 {
		faults.Addf(at+".from", "is missing: name the load balancers' networks, as in [10.0.0.0/8]")
	}
	atMost(faults, at+".from", len(p.From), maxItems)
	for i, network := range p.From {
		faults.add(item(at+".from", i), networkProblem(network))
	}
}

// networkProblem says why a text is neither an address nor a network.
func networkProblem(text string) string {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return ""
	}
	if n, err := netip.ParsePrefix(text); err == nil && n == n.Masked() {
		return ""
	}
	return fmt.Sprintf("%q is neither an address nor a network: write 192.0.2.1 or 192.0.2.0/24, with the host bits zero", clip(text))
}

func (v *VirtualHost) checkListen(faults *Faults) {
	if len(v.Listen) == 0 {
		faults.Addf("spec.listen", "is missing: name at least one port, for example [{port: 80}]")
	}
	atMost(faults, "spec.listen", len(v.Listen), maxListens)
	seen := once{}
	for i, l := range v.Listen {
		path := item("spec.listen", i)
		if l.Port < 1 || l.Port > 65535 {
			faults.Addf(path+".port", "%d is not a port: use 1 to 65535", l.Port)
		}
		faults.add(path+".address", addressProblem(l.Address))
		if l.HTTP2 && !l.TLS {
			faults.Addf(path+".http2", "goes with tls only: browsers speak HTTP/2 over TLS alone, and nginx would not understand HTTP/1.1 here")
		}
		l.ProxyProtocol.check(faults, path+".proxyProtocol")
		canonical := l.Address
		if a, err := netip.ParseAddr(l.Address); err == nil {
			canonical = a.String()
		}
		seen.check(faults, path, fmt.Sprintf("%s %d", canonical, l.Port))
	}
}

// CheckAddress reports why a text is no address that a node's hosts can listen on;
// none at all is every address. The error is Invalid.
func CheckAddress(address string) error {
	if problem := addressProblem(address); problem != "" {
		return Errorf(Invalid, "address %s", problem)
	}
	return nil
}

// addressProblem says what is wrong with an address to listen on; none at all is the node's default.
func addressProblem(address string) string {
	if address == "" {
		return ""
	}
	a, err := netip.ParseAddr(address)
	switch {
	case strings.HasPrefix(address, "["):
		return fmt.Sprintf("%q has brackets: write the IPv6 address without them", clip(address))
	case err != nil:
		return fmt.Sprintf("%q is not an IP address: write one such as 192.0.2.1 or 2001:db8::1", clip(address))
	case a.Zone() != "":
		return fmt.Sprintf("%q has a zone, which nginx cannot listen on: leave it out", clip(address))
	case a.Is4In6():
		return fmt.Sprintf("%q is IPv4 in IPv6: write %s", clip(address), a.Unmap())
	case a.IsMulticast():
		return fmt.Sprintf("%q is a multicast address: TCP cannot listen on it", clip(address))
	}
	return ""
}
