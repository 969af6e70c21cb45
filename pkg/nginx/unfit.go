package nginx

import (
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Unfit is a resource that a node cannot take.
type Unfit struct {
	Resource string `json:"resource"` // "<Kind>/<name>"
	Reason   string `json:"reason"`
}

// UnfitFor finds the resources that a node cannot take, by what it said of
// itself, and those that need one of them; known are some that it cannot take
// for other reasons. It is a pure function: reasons by ID. A node that has not
// told its facts is taken as able; its own check refuses then.
func UnfitFor(resources []fleet.Resource, facts *fleet.Facts, known map[string]string) map[string]string {
	why := make(map[string]string)
	for id, reason := range known {
		why[id] = reason
	}
	if facts != nil && facts.Nginx != "" {
		for _, r := range resources {
			if facts.Curve == "" && (r.Kind == "Certificate" || len(fleet.SealedTo(r.Spec)) > 0) {
				why[r.ID()] = "the node has no key to seal it to: its agent is of an older version"
			}
			if lacks := lacking(r.Spec, facts); lacks != "" {
				why[r.ID()] = fmt.Sprintf("nginx %s there has no %s", facts.Nginx, lacks)
			}
		}
	}
	for again := len(why) > 0; again; {
		again = false
		for _, r := range resources {
			if _, out := why[r.ID()]; out {
				continue
			}
			if reason := without(r.Spec, why); reason != "" {
				why[r.ID()], again = reason, true
			}
		}
	}
	return why
}

// InspectUnfit is Inspect for the ConfigFiles that a node cannot take, for the
// reasons that UnfitFor gave: what would be wrong with them on a node that has
// every module, and whose policy is this one's but for that.
func InspectUnfit(resources []fleet.Resource, why map[string]string) fleet.Faults {
	var policy fleet.NodePolicy
	var b Bundle
	for _, r := range resources {
		switch spec := r.Spec.(type) {
		case *fleet.NodePolicy:
			policy = *spec
		case *fleet.ConfigFile:
			if _, out := why[r.ID()]; out {
				b.Files = append(b.Files, rawFile(r, spec))
			}
		}
	}
	policy.Modules = nil
	for _, m := range modules {
		policy.Modules = append(policy.Modules, m.name)
	}
	return Inspect(b, policy)
}

// without says which of a resource's needs is unfit.
func without(spec fleet.Spec, why map[string]string) string {
	if s, ok := spec.(fleet.Needing); ok {
		for _, need := range s.Needs() {
			if reason, out := why[need.ID()]; out {
				return fmt.Sprintf("it needs %s: %s", need.ID(), reason)
			}
		}
	}
	return ""
}

// lacking is what nginx lacks for a resource, and where to get it.
func lacking(spec fleet.Spec, facts *fleet.Facts) string {
	for _, feature := range featuresOf(spec) {
		if !slices.ContainsFunc(strings.Fields(feature.name), facts.Has) {
			return feature.what
		}
	}
	return ""
}

// feature is something that not every nginx has: one of several names will
// do, separated by spaces.
type feature struct{ name, what string }

var (
	tlsFeature    = feature{"http_ssl", "TLS"}
	http2Feature  = feature{"http_v2", "HTTP/2"}
	streamFeature = feature{"stream", "stream module (Debian's package is libnginx-mod-stream)"}
	wafFeature    = feature{"http_modsecurity", "ModSecurity (Debian's package is libnginx-mod-http-modsecurity)"}
	rulesFeature  = feature{"modsecurity-crs", "core rule set (Debian's package is modsecurity-crs)"}
)

// featuresOf is what a resource asks of nginx.
func featuresOf(spec fleet.Spec) []feature {
	switch s := spec.(type) {
	case *fleet.VirtualHost:
		return ofHost(s)
	case *fleet.Stream:
		return ofStream(s)
	case *fleet.Policy:
		switch {
		case s.WAF == nil:
		case s.WAF.CoreRuleSet:
			return []feature{wafFeature, rulesFeature}
		default:
			return []feature{wafFeature}
		}
	case *fleet.ConfigFile:
		var all []feature
		if s.Context == "stream" {
			all = append(all, streamFeature)
		}
		return append(all, ofDirectives(s.Content)...)
	}
	return nil
}

// ofHost is what a host asks for beside what every nginx has.
func ofHost(h *fleet.VirtualHost) []feature {
	var all []feature
	for _, l := range h.Listen {
		if l.TLS {
			all = append(all, tlsFeature)
		}
		if l.HTTP2 {
			all = append(all, http2Feature)
		}
		if l.ProxyProtocol != nil {
			all = append(all, builtIn["set_real_ip_from"])
		}
	}
	if slices.ContainsFunc(h.Locations, func(l fleet.Location) bool { return l.Proxy != nil && l.Proxy.Scheme == "https" }) {
		all = append(all, tlsFeature)
	}
	return all
}

func ofStream(s *fleet.Stream) []feature {
	all := []feature{streamFeature}
	if s.TLS != nil {
		all = append(all, feature{"stream_ssl", "TLS in its stream module"})
	}
	if len(s.Routes) > 0 {
		all = append(all, feature{"stream_ssl_preread", "ssl-preread module, which routes need"})
	}
	return all
}

// builtIn are directives of modules that nginx is built with or not.
var builtIn = map[string]feature{
	"http3":            {"http_v3", "HTTP/3"},
	"http2":            http2Feature,
	"set_real_ip_from": {"http_realip", "realip module"},
	"auth_request":     {"http_auth_request", "auth-request module"},
	"grpc_pass":        http2Feature,
}

// ofDirectives are what raw configuration needs by the names of its directives.
func ofDirectives(content string) []feature {
	statements, err := read(content)
	if err != nil {
		return nil // Inspect says so
	}
	var all []feature
	var walk func(some []statement, in string)
	walk = func(some []statement, in string) {
		if slices.Contains(mapLike, in) {
			return
		}
		for _, s := range some {
			if f, ok := ofDirective(s.name()); ok && !slices.Contains(all, f) {
				all = append(all, f)
			}
			walk(s.inner, s.name())
		}
	}
	walk(statements, "")
	return all
}

func ofDirective(name string) (feature, bool) {
	if f, ok := builtIn[name]; ok {
		return f, true
	}
	brings := modulesOf(name)
	if len(brings) == 0 {
		return feature{}, false
	}
	var names []string
	for _, m := range brings {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(m, "ngx_"), "_module"))
	}
	return feature{strings.Join(names, " "), fmt.Sprintf("%s, which the directive %s is of (%s)", strings.Join(brings, " or "), name, packageOf(names[0]))}, true
}

// packageOf is where Debian has a dynamic module.
func packageOf(name string) string {
	return "Debian's package is libnginx-mod-" + strings.ReplaceAll(name, "_", "-")
}
