package fleet

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// NodePolicy says how agents care for nginx on the nodes that it selects. A
// node follows at most one.
type NodePolicy struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Drift says what becomes of changes made by hand: enforce (default) undoes them and keeps a copy, report tells of
	// them, adopt leaves them until the next revision.
	Drift string `json:"drift,omitempty"`
	// Bake watches a new revision after it was proven, and rolls it back when it serves worse than the one before.
	Bake *Bake `json:"bake,omitempty"`
	// ShutdownTimeout is how long workers of an older generation may finish their connections, "30s" when empty.
	ShutdownTimeout string `json:"shutdownTimeout,omitempty"`
	// Modules are the dynamic modules, by name as in `ngx_http_perl_module`, that a ConfigFile may use. Perl, Lua and
	// njs run code as root, so they are off unless named here.
	Modules []string `json:"modules,omitempty"`
	// Directories are absolute directories below which a ConfigFile may name files that nginx reads and writes, most of
	// them as root: certificates, password files, logs, caches. None when empty.
	Directories []string `json:"directories,omitempty"`
	// Egress bounds where upstreams may lead.
	Egress *Egress `json:"egress,omitempty"`
	// Resolvers are DNS servers as address or address:port; the host's own when empty.
	Resolvers []string `json:"resolvers,omitempty"`
}

// Bake is a time of trial for a revision that serves.
type Bake struct {
	Time string `json:"time"` // "30s", at most "1h"
	// MaxErrorPercent is how many percent of the answers may have a status of 500 or more. A revision that has no more of
	// them than the one before had stays all the same. With 0 there may be no more than before, chance aside.
	MaxErrorPercent int `json:"maxErrorPercent,omitempty"`
	// MinRequests is how many answers there must be to judge by, 20 when 0.
	MinRequests int `json:"minRequests,omitempty"`
}

// Egress bounds where upstreams may lead.
type Egress struct {
	// Deny are networks as 169.254.0.0/16. Without any, link-local addresses and those of cloud metadata services are
	// denied: 169.254.0.0/16, fe80::/10 and fd00:ec2::254. What a name resolves to is held against them too.
	Deny []string `json:"deny,omitempty"`
	// AllowSockets are the directories below which unix sockets may be named; without any, every socket may but those of
	// container runtimes.
	AllowSockets []string `json:"allowSockets,omitempty"`
}

// What becomes of changes made by hand on a node.
const (
	DriftEnforce = "enforce"
	DriftReport  = "report"
	DriftAdopt   = "adopt"
)

// Kind is "NodePolicy".
func (*NodePolicy) Kind() string { return "NodePolicy" }

// Selects is the policy's selector.
func (p *NodePolicy) Selects() string { return p.Selector }

// Validate returns every fault of the policy; paths begin at "spec".
func (p *NodePolicy) Validate() Faults {
	var faults Faults
	checkSelector(&faults, "spec.selector", p.Selector)
	oneOf(&faults, "spec.drift", p.Drift, "", DriftEnforce, DriftReport, DriftAdopt)
	if p.ShutdownTimeout != "" {
		faults.add("spec.shutdownTimeout", DurationProblem(p.ShutdownTimeout, time.Second, 24*time.Hour))
	}
	for i, m := range p.Modules {
		if !moduleName.MatchString(m) {
			faults.Addf(item("spec.modules", i), "%q is not the name of a module: write it as in ngx_http_perl_module, without path and .so", clip(m))
		}
	}
	for i, dir := range p.Directories {
		faults.add(item("spec.directories", i), directoryProblem(dir))
	}
	for i, r := range p.Resolvers {
		if _, err := netip.ParseAddrPort(r); err != nil {
			if _, err := netip.ParseAddr(r); err != nil {
				faults.Addf(item("spec.resolvers", i), "%q is neither an address nor address:port", clip(r))
			}
		}
	}
	if b := p.Bake; b != nil {
		faults.add("spec.bake.time", DurationProblem(b.Time, time.Second, time.Hour))
		if b.MaxErrorPercent < 0 || b.MaxErrorPercent > 100 {
			faults.Addf("spec.bake.maxErrorPercent", "%d: use 0 to 100", b.MaxErrorPercent)
		}
		if b.MinRequests < 0 {
			faults.Addf("spec.bake.minRequests", "%d may not be negative", b.MinRequests)
		}
	}
	if e := p.Egress; e != nil {
		for i, network := range e.Deny {
			if n, err := netip.ParsePrefix(network); err != nil || n != n.Masked() {
				faults.Addf(item("spec.egress.deny", i), "%q is not a network: write it as 169.254.0.0/16, with the host bits zero", clip(network))
			}
		}
		for i, dir := range e.AllowSockets {
			if !strings.HasPrefix(dir, "/") || hasDots(dir) {
				faults.Addf(item("spec.egress.allowSockets", i), "%q is not an absolute directory", clip(dir))
			}
		}
	}
	return faults
}

// systemDirectories hold more than nginx's own files.
var systemDirectories = strings.Fields("/ /bin /boot /etc /home /lib /lib64 /root /run /sbin /srv /tmp /usr /usr/bin /usr/lib /usr/local /usr/sbin " +
	"/usr/share /var /var/cache /var/lib /var/log /var/run /var/spool /var/tmp")

// directoryProblem says why nginx may not use files below a directory as root.
func directoryProblem(dir string) string {
	clean := strings.TrimRight(dir, "/")
	if clean == "" {
		clean = "/"
	}
	switch {
	case !strings.HasPrefix(dir, "/") || hasDots(dir) || strings.ContainsAny(dir, " ;{}\"'\\$\n\r\t"):
		return fmt.Sprintf("%q is not an absolute directory", clip(dir))
	case slices.Contains(systemDirectories, clean):
		return fmt.Sprintf("%q belongs to the whole system: name the directory in it that is meant", clip(dir))
	}
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if clean == kernel || strings.HasPrefix(clean, kernel+"/") {
			return fmt.Sprintf("%q holds no files of nginx's", clip(dir))
		}
	}
	return ""
}

var moduleName = NewPattern(`^ngx_[a-z0-9_]{1,80}_module$`)

// DurationProblem says why a text is no duration that nginx and Go both read,
// between least and most; "" is nothing. Written are whole numbers with one
// unit: ms, s, m or h.
func DurationProblem(text string, least, most time.Duration) string {
	if !duration.MatchString(text) {
		return fmt.Sprintf("%s: write a number and a unit, as in 30s, 500ms, 5m or 1h", shown(text))
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return fmt.Sprintf("%q: use %v to %v", clip(text), least, most)
	}
	return ""
}

var duration = regexp.MustCompile(`^[0-9]{1,9}(ms|s|m|h)$`)
