package fleet

import (
	"fmt"
	"net/netip"
	"strings"
)

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

// Kind is "VirtualHost".
func (*VirtualHost) Kind() string { return "VirtualHost" }

// Selects is the host's selector.
func (v *VirtualHost) Selects() string { return v.Selector }

// Needs are the upstreams that the host passes to.
func (v *VirtualHost) Needs() []Need {
	var needs []Need
	for i, l := range v.Locations {
		if l.Proxy != nil {
			needs = append(needs, Need{"Upstream", l.Proxy.Upstream, item("spec.locations", i) + ".proxy.upstream"})
		}
	}
	return needs
}

// Validate returns every fault of the host; paths begin at "spec".
func (v *VirtualHost) Validate() Faults {
	var faults Faults
	checkSelector(&faults, "spec.selector", v.Selector)
	v.checkListen(&faults)
	v.checkNames(&faults)
	checkHeaders(&faults, "spec.headers", v.Headers)
	v.checkLocations(&faults)
	return faults
}

func (v *VirtualHost) checkListen(faults *Faults) {
	if len(v.Listen) == 0 {
		faults.Addf("spec.listen", "is missing: name at least one port, for example [{port: 80}]")
	}
	seen := once{}
	for i, l := range v.Listen {
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

func (v *VirtualHost) checkNames(faults *Faults) {
	if len(v.ServerNames) == 0 {
		faults.Addf("spec.serverNames", "is missing: name at least one host, or _ for every name")
	}
	seen := once{}
	for i, name := range v.ServerNames {
		path := item("spec.serverNames", i)
		faults.add(path, serverNameProblem(name))
		seen.check(faults, path, strings.ToLower(name))
	}
}

// serverNameProblem says what is wrong with a server name. nginx would take
// more (regular expressions, `www.*`, `.x`); those are left out because who
// owns a name could then not be told before rendering.
func serverNameProblem(name string) string {
	const allowed = "use a host name, *.example.org, or _ for every name"
	if name == "_" {
		return ""
	}
	if name == "" {
		return "is empty: " + allowed
	}
	if problem := wordProblem(name, nginxSyntax); problem != "" {
		return problem + "; " + allowed
	}
	host := strings.TrimPrefix(name, "*.")
	switch {
	case strings.HasPrefix(name, "~"):
		return fmt.Sprintf("%q is a regular expression: %s", clip(name), allowed)
	case strings.Contains(host, "*"):
		return fmt.Sprintf("%q: a wildcard stands alone at the beginning, as in *.example.org", clip(name))
	case strings.ContainsAny(name, "/:"):
		return fmt.Sprintf("%q: a server name has no scheme, port or path: %s", clip(name), allowed)
	case !isHost(host):
		return fmt.Sprintf("%q is not a host name (labels of 1 to 63 ASCII letters, digits, '-' and '_', joined by dots; "+
			"international names as xn--): %s", clip(name), allowed)
	}
	return ""
}

// isHost is RFC 1123 with underscores, which real hosts have: at most 253
// characters, labels of 1 to 63 that neither begin nor end with a hyphen.
func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if CheckName("", part) != nil || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
	}
	return true
}

func (v *VirtualHost) checkLocations(faults *Faults) {
	if len(v.Locations) == 0 {
		faults.Addf("spec.locations", "is missing: say what happens at one path at least, for example {path: /, return: {code: 200}}")
	}
	seen := once{}
	for i := range v.Locations {
		path := item("spec.locations", i)
		l := &v.Locations[i]
		l.check(faults, path)
		match := l.Match
		if match == "" {
			match = "prefix"
		}
		seen.check(faults, path, match+" "+l.Path)
	}
}
