package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// VirtualHost is one site: where it listens, which names it answers to, and
// what each location does. What may stand on the host and on a location holds
// for the locations that do not have it themselves; headers, error pages and
// policies of both add up.
type VirtualHost struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Listen holds at least one address and port.
	Listen []Listen `json:"listen"`
	// ServerNames are exact names, `*.example.org` wildcards, or `_` for the default host of its listeners.
	ServerNames []string `json:"serverNames"`
	// TLS is for the listeners with `tls`.
	TLS *TLS `json:"tls,omitempty"`
	// Headers are added to every response of the host; a value holds no `$`.
	Headers map[string]string `json:"headers,omitempty"`
	// Rewrites change the path before a location is chosen.
	Rewrites []Rewrite `json:"rewrites,omitempty"`
	// Access allows and denies client addresses; the first rule that matches counts, and who matches none is allowed.
	Access []AddressRule `json:"access,omitempty"`
	// BasicAuth asks for a name and a password.
	BasicAuth *BasicAuth `json:"basicAuth,omitempty"`
	// CORS lets pages of other origins use the answers.
	CORS *CORS `json:"cors,omitempty"`
	// Gzip compresses answers.
	Gzip *Gzip `json:"gzip,omitempty"`
	// Limits bound what a client may send, and how slowly.
	Limits *Limits `json:"limits,omitempty"`
	// ErrorPages stand in for nginx's own.
	ErrorPages []ErrorPage `json:"errorPages,omitempty"`
	// Policies are names of Policy resources.
	Policies []string `json:"policies,omitempty"`
	// Log says what is logged of each request; without it, the combined format goes to the node's log forwarding.
	Log *Log `json:"log,omitempty"`
	// Locations are matched as nginx does; at least one.
	Locations []Location `json:"locations"`
}

// Kind is "VirtualHost".
func (*VirtualHost) Kind() string { return "VirtualHost" }

// Selects is the host's selector.
func (v *VirtualHost) Selects() string { return v.Selector }

// Needs are the host's certificate, its policies, and what it passes to.
func (v *VirtualHost) Needs() []Need {
	var needs []Need
	if v.TLS != nil {
		needs = append(needs, Need{"Certificate", v.TLS.Certificate, "spec.tls.certificate"})
	}
	needs = append(needs, policyNeeds("spec.policies", v.Policies)...)
	for i := range v.Locations {
		at, l := item("spec.locations", i), &v.Locations[i]
		switch {
		case l.Proxy != nil && l.Proxy.Split != "":
			needs = append(needs, Need{"Split", l.Proxy.Split, at + ".proxy.split"})
		case l.Proxy != nil:
			needs = append(needs, Need{"Upstream", l.Proxy.Upstream, at + ".proxy.upstream"})
		}
		needs = append(needs, policyNeeds(at+".policies", l.Policies)...)
	}
	return needs
}

// WithBasicAuth is the host with each of its lists of users as f makes it, which
// is told where the list stands and changes a copy of it. The host itself stays
// as it is.
func (v *VirtualHost) WithBasicAuth(f func(at string, b *BasicAuth)) *VirtualHost {
	changed := func(at string, b *BasicAuth) *BasicAuth {
		if b == nil || b.Off {
			return b
		}
		own := *b
		own.Users = slices.Clone(b.Users)
		f(at, &own)
		return &own
	}
	own := *v
	own.BasicAuth = changed("spec.basicAuth", v.BasicAuth)
	own.Locations = slices.Clone(v.Locations)
	for i, l := range own.Locations {
		own.Locations[i].BasicAuth = changed(item("spec.locations", i)+".basicAuth", l.BasicAuth)
	}
	return &own
}

// BasicAuths are the lists of users of the host and of its locations, without those
// that ask for no password.
func (v *VirtualHost) BasicAuths() (all []*BasicAuth) {
	add := func(b *BasicAuth) {
		if b != nil && !b.Off {
			all = append(all, b)
		}
	}
	add(v.BasicAuth)
	for i := range v.Locations {
		add(v.Locations[i].BasicAuth)
	}
	return all
}

// Shown is the host as people may see it: without the sealed hashes, which say
// nothing to them. Applied again, it stands for those that are stored.
func (v *VirtualHost) Shown() Spec {
	if len(v.BasicAuths()) == 0 {
		return v
	}
	return v.WithBasicAuth(func(_ string, b *BasicAuth) {
		b.SealedUsers, b.SealedTo = "", ""
		for i := range b.Users {
			b.Users[i].SealedHash = ""
		}
	})
}

func policyNeeds(at string, names []string) []Need {
	needs := make([]Need, len(names))
	for i, name := range names {
		needs[i] = Need{"Policy", name, item(at, i)}
	}
	return needs
}

// Bounds of a host's lists. nginx has none; a thousand locations of a real
// site are no more than these, and a node serves many hosts.
const (
	maxListens   = 64
	maxNames     = 500
	maxLocations = 1000
	maxItems     = 100 // of every other list
)

// Validate returns every fault of the host; paths begin at "spec".
func (v *VirtualHost) Validate() Faults {
	var faults Faults
	checkSelector(&faults, "spec.selector", v.Selector)
	v.checkListen(&faults)
	v.checkNames(&faults)
	v.checkTLS(&faults)
	checkHeaders(&faults, "spec.headers", v.Headers)
	checkRewrites(&faults, "spec.rewrites", v.Rewrites)
	checkAccess(&faults, "spec.access", v.Access)
	v.BasicAuth.check(&faults, "spec.basicAuth")
	v.CORS.check(&faults, "spec.cors")
	v.Gzip.check(&faults, "spec.gzip")
	v.Limits.check(&faults, "spec.limits")
	checkErrorPages(&faults, "spec.errorPages", v.ErrorPages)
	checkPolicyNames(&faults, "spec.policies", v.Policies)
	v.Log.check(&faults, "spec.log")
	v.checkLocations(&faults)
	return faults
}

// atMost adds a fault where a list is longer than it may be.
func atMost(faults *Faults, path string, n, most int) {
	if n > most {
		faults.Addf(path, "holds %d: use at most %d", n, most)
	}
}

func (v *VirtualHost) checkNames(faults *Faults) {
	if len(v.ServerNames) == 0 {
		faults.Addf("spec.serverNames", "is missing: name at least one host, or _ for every name")
	}
	atMost(faults, "spec.serverNames", len(v.ServerNames), maxNames)
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
	atMost(faults, "spec.locations", len(v.Locations), maxLocations)
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
