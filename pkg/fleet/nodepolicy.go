package fleet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// What becomes of changes made by hand on a node.
const (
	DriftEnforce = "enforce"
	DriftReport  = "report"
	DriftAdopt   = "adopt"
)

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

var moduleName = regexp.MustCompile(`^ngx_[a-z0-9_]{1,80}_module$`)

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
