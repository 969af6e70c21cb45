package fleet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Policy limits and guards what the hosts and locations that name it in
// `policies` serve. A location follows its own policies and then those of its
// host: limits add up, and of address lists the first line that matches
// counts, the location's own before its host's.
type Policy struct {
	// RateLimit bounds how often one client may ask.
	RateLimit *RateLimit `json:"rateLimit,omitempty"`
	// ConnLimit bounds how many requests of one client are served at the same time.
	ConnLimit *ConnLimit `json:"connLimit,omitempty"`
	// Addresses allow and deny client addresses; the first line that matches counts, and who matches none is allowed.
	Addresses []AddressRule `json:"addresses,omitempty"`
	// WAF looks into requests with ModSecurity. It costs most of a node's throughput, so only locations may name a policy
	// that has one.
	WAF *WAF `json:"waf,omitempty"`
}

// RateLimit bounds how often one client may ask.
type RateLimit struct {
	Rate  string `json:"rate"`            // "10r/s" or "30r/m"
	Burst int    `json:"burst,omitempty"` // requests beyond the rate that are taken, at most 100000
	// Delay is how many requests of the burst are served at once; the others wait for their turn. 0 (default) lets every
	// one of the burst wait.
	Delay int `json:"delay,omitempty"`
	// NoDelay serves the whole burst at once.
	NoDelay bool `json:"noDelay,omitempty"`
	// Key is who counts as one client: client (default), its address; server, all clients of a host together; header:NAME
	// or cookie:NAME, all requests with the same value. Without the header or cookie it is the address.
	Key    string `json:"key,omitempty"`
	Status int    `json:"status,omitempty"` // of the refusal, 400 to 599; 429 when 0
	// Zone is the memory that clients are counted in, "10m" (about 160,000 addresses) when empty.
	Zone string `json:"zone,omitempty"`
}

// ConnLimit bounds how many requests of one client are served at the same time.
type ConnLimit struct {
	Max    int    `json:"max"`              // 1 to 65535
	Key    string `json:"key,omitempty"`    // as in a rate limit
	Status int    `json:"status,omitempty"` // of the refusal, 400 to 599; 429 when 0
	Zone   string `json:"zone,omitempty"`   // memory that clients are counted in, "10m" when empty
}

// AddressRule is one line of an address list: either allow or deny.
type AddressRule struct {
	Allow string `json:"allow,omitempty"` // address, network as 192.0.2.0/24, or all
	Deny  string `json:"deny,omitempty"`  // address, network, or all
}

// WAF is a web application firewall: ModSecurity, of which the node must have
// the module ngx_http_modsecurity_module. What its rules match goes to the
// node's log of errors; in block mode those that deny answer 403, or what they
// say.
type WAF struct {
	Mode string `json:"mode,omitempty"` // block (default), or detect, which only logs
	// CoreRuleSet takes the OWASP rules of the node's package modsecurity-crs, with what that node's people wrote in
	// /etc/modsecurity/crs. Each location that names it costs 17 MB of memory in each process of nginx, and 70 ms of each change.
	CoreRuleSet bool `json:"coreRuleSet,omitempty"`
	// Rules are ModSecurity's own: SecRule, SecAction, SecMarker, SecRuleRemove…, SecRuleUpdate…, body limits and access;
	// each directive begins a line, words with spaces stand in double quotes. They name no file and run nothing, not in a
	// comment either. They stand behind the core rule set. A regular expression that ModSecurity cannot read matches nothing, and
	// nobody says so: try each rule.
	Rules string `json:"rules,omitempty"`
}

// Kind is "Policy".
func (*Policy) Kind() string { return "Policy" }

// Bounds of a policy's numbers, and of a zone, of which nginx needs eight pages.
const (
	maxBurst     = 100_000
	maxAddresses = 10_000
	maxConns     = 65535 // nginx's own bound
	leastZone    = 32 << 10
	mostZone     = 1 << 30
)

// Validate returns every fault of the policy; paths begin at "spec".
func (p *Policy) Validate() Faults {
	var faults Faults
	if p.RateLimit == nil && p.ConnLimit == nil && len(p.Addresses) == 0 && p.WAF == nil {
		faults.Addf("spec", "does nothing: set rateLimit, connLimit, addresses or waf")
	}
	if r := p.RateLimit; r != nil {
		r.check(&faults, "spec.rateLimit")
	}
	if c := p.ConnLimit; c != nil {
		if c.Max < 1 || c.Max > maxConns {
			faults.Addf("spec.connLimit.max", "%d: use 1 to %d", c.Max, maxConns)
		}
		checkLimit(&faults, "spec.connLimit", c.Key, c.Status, c.Zone)
	}
	if len(p.Addresses) > maxAddresses {
		faults.Addf("spec.addresses", "holds %d lines: use at most %d, and networks for neighbours", len(p.Addresses), maxAddresses)
	}
	for i, a := range p.Addresses {
		faults.add(item("spec.addresses", i), a.problem())
	}
	if p.WAF != nil {
		p.WAF.check(&faults, "spec.waf")
	}
	return faults
}

func (r *RateLimit) check(faults *Faults, at string) {
	if !rate.MatchString(r.Rate) {
		faults.Addf(at+".rate", "%s: write requests per second or minute, as in 10r/s or 30r/m", shown(r.Rate))
	}
	if r.Burst < 0 || r.Burst > maxBurst {
		faults.Addf(at+".burst", "%d: use 0 to %d", r.Burst, maxBurst)
	}
	if r.Delay < 0 || r.Delay > r.Burst {
		faults.Addf(at+".delay", "%d: use 0 to the burst, which is %d", r.Delay, r.Burst)
	}
	if r.NoDelay && r.Delay > 0 {
		faults.Addf(at+".noDelay", "cannot go with delay: one serves the whole burst at once, the other a part of it")
	}
	if r.NoDelay && r.Burst == 0 {
		faults.Addf(at+".noDelay", "needs a burst: without one nothing ever waits")
	}
	checkLimit(faults, at, r.Key, r.Status, r.Zone)
}

// rate is up to a million a second; nginx counts in thousandths.
var rate = regexp.MustCompile(`^[1-9][0-9]{0,5}r/[sm]$`)

// checkLimit checks what both kinds of limit have.
func checkLimit(faults *Faults, at, key string, status int, zone string) {
	kind, name, named := strings.Cut(key, ":")
	switch {
	case !named && (key == "" || key == "client" || key == "server"):
	case named && kind == "header":
		faults.add(at+".key", VariableHeaderProblem(name))
	case named && kind == "cookie":
		faults.add(at+".key", CookieNameProblem(name))
	default:
		faults.Addf(at+".key", "%q is not known: use client, server, header:NAME or cookie:NAME", clip(key))
	}
	if status != 0 && (status < 400 || status > 599) {
		faults.Addf(at+".status", "%d is no refusal: use 400 to 599", status)
	}
	if zone != "" {
		faults.add(at+".zone", SizeProblem(zone, leastZone, mostZone))
	}
}

// VariableHeaderProblem says why a request header cannot be named in nginx'
// $http_…; "" is nothing. nginx reads headers of other names, but has no
// variable for them.
func VariableHeaderProblem(name string) string {
	if !variableHeader.MatchString(name) {
		return fmt.Sprintf("%q is not a header that can be looked at: use letters, digits and '-', as in X-Api-Key", clip(name))
	}
	return ""
}

// CookieNameProblem is VariableHeaderProblem for $cookie_….
func CookieNameProblem(name string) string {
	if !variableCookie.MatchString(name) {
		return fmt.Sprintf("%q is not a cookie that can be looked at: use letters, digits and '_'", clip(name))
	}
	return ""
}

var (
	variableHeader = NewPattern(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)
	variableCookie = NewPattern(`^[A-Za-z0-9_]{1,100}$`)
)

// problem says what is wrong with one line; "" is nothing.
func (a AddressRule) problem() string {
	const allowed = "write an address, a network such as 192.0.2.0/24, or all"
	text := a.Allow + a.Deny
	switch {
	case a.Allow != "" && a.Deny != "":
		return "has both allow and deny: write two lines, of which the first that matches counts"
	case text == "":
		return "is empty: " + allowed + " behind allow or deny"
	case text == "all":
		return ""
	}
	if !strings.Contains(text, "/") {
		if ip, err := netip.ParseAddr(text); err != nil || ip.Zone() != "" {
			return fmt.Sprintf("%q is not an address: %s", clip(text), allowed)
		}
		return ""
	}
	switch network, err := netip.ParsePrefix(text); {
	case err != nil:
		return fmt.Sprintf("%q is not a network: %s", clip(text), allowed)
	case network != network.Masked():
		return fmt.Sprintf("%q has bits behind its mask: write %s", clip(text), network.Masked())
	}
	return ""
}
