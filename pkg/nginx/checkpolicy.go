package nginx

import (
	"regexp"

	"fairlead/pkg/fleet"
)

var (
	rateText   = regexp.MustCompile(`^[0-9]{1,9}r/[sm]$`)
	zoneText   = regexp.MustCompile(`^[0-9]{1,9}[km]?$`)
	limitKey   = fleet.NewPattern(`^(|client|server|header:[A-Za-z0-9-]{1,200}|cookie:[A-Za-z0-9_]{1,200})$`)
	cookieText = fleet.NewPattern(`^[A-Za-z0-9_]{1,200}$`)
	headerText = fleet.NewPattern(`^[A-Za-z0-9-]{1,200}$`)
	ruleValue  = fleet.NewPattern(`^[A-Za-z0-9._~:/@+=-]{1,500}$`)
)

func checkPolicy(p *fleet.Policy, faults *fleet.Faults) {
	if l := p.RateLimit; l != nil {
		matches(faults, "spec.rateLimit.rate", l.Rate, rateText, "is no rate")
		checkLimit("spec.rateLimit", l.Key, l.Zone, l.Status, faults)
		if l.Burst < 0 || l.Delay < 0 {
			faults.Addf("spec.rateLimit", "burst and delay may not be negative")
		}
	}
	if l := p.ConnLimit; l != nil {
		checkLimit("spec.connLimit", l.Key, l.Zone, l.Status, faults)
		if l.Max < 1 || l.Max > 65535 {
			faults.Addf("spec.connLimit.max", "%d is not between 1 and 65535", l.Max)
		}
	}
	for i, a := range p.Addresses {
		if (a.Allow == "") == (a.Deny == "") || !(a.Allow+a.Deny == "all" || network.MatchString(a.Allow+a.Deny)) {
			faults.Addf(fieldOf("spec.addresses", i), "needs a network behind either allow or deny")
		}
	}
	if w := p.WAF; w != nil {
		if problem := fleet.RulesProblem(w.Rules); problem != "" {
			faults.Addf("spec.waf.rules", "%s", problem)
		}
	}
}

func checkLimit(path, key, zone string, status int, faults *fleet.Faults) {
	matches(faults, path+".key", key, limitKey, "is neither client, server, a header nor a cookie")
	maybe(faults, path+".zone", zone, zoneText, "is no size")
	if status != 0 && (status < 400 || status > 599) {
		faults.Addf(path+".status", "%d is no refusal", status)
	}
}

func checkSplit(s *fleet.Split, faults *fleet.Faults) {
	rest := 0
	for i, b := range s.Branches {
		matches(faults, fieldOf("spec.branches", i)+".upstream", b.Upstream, resourceName, "is no name")
		switch {
		case b.Percent == nil:
			rest++
		case *b.Percent < 0 || *b.Percent > 100:
			faults.Addf(fieldOf("spec.branches", i)+".percent", "%d is not between 0 and 100", *b.Percent)
		}
	}
	if len(s.Branches) == 0 || rest > 1 {
		faults.Addf("spec.branches", "need at least one, and at most one without percent")
	}
	for i, w := range s.When {
		path := fieldOf("spec.when", i)
		matches(faults, path+".upstream", w.Upstream, resourceName, "is no name")
		matches(faults, path+".value", w.Value, ruleValue, "is no value to compare with")
		if (w.Header == "") == (w.Cookie == "") {
			faults.Addf(path, "needs either a header or a cookie")
		}
		maybe(faults, path+".header", w.Header, headerText, "is no header name")
		maybe(faults, path+".cookie", w.Cookie, cookieText, "is no cookie name")
	}
	if k := s.Sticky; k != nil {
		if k.By != "client" && k.By != "cookie" {
			faults.Addf("spec.sticky.by", "%q is neither client nor cookie", k.By)
		}
		maybe(faults, "spec.sticky.cookie", k.Cookie, cookieText, "is no cookie name")
		maybe(faults, "spec.sticky.for", k.For, durationText, "is no duration")
	}
}
