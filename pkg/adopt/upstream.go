package adopt

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// group is one upstream block of the configuration.
type group struct {
	name      string
	directive *crossplane.Directive
	spec      *fleet.Upstream
	why       string // why it stays raw
	address   bool   // no upstream block: an address that is passed to
}

// groups are all upstreams, by name.
func (v *conversion) groups() []*group {
	var all []*group
	for _, key := range slices.Sorted(maps.Keys(v.upstreams)) {
		all = append(all, v.upstreams[key])
	}
	return all
}

// group is the upstream of a name; an address that no upstream block bears
// becomes one of its own.
func (v *conversion) group(target string) *group {
	key := strings.ToLower(target)
	if g := v.upstreams[key]; g != nil {
		return g
	}
	g := &group{name: v.name(target), address: true,
		directive: &crossplane.Directive{Directive: "upstream", Block: crossplane.Directives{{Directive: "server", Args: []string{target}}}}}
	g.typed()
	v.upstreams[key] = g
	return g
}

// typed tries to say a group as an Upstream.
func (g *group) typed() {
	u := &fleet.Upstream{}
	stays := func(d *crossplane.Directive) {
		if g.why == "" {
			g.why = text(d) + " has no typed form"
		}
	}
	for _, d := range g.directive.Block {
		switch {
		case d.Directive == "server" && len(d.Args) > 0:
			s, ok := member(d.Args)
			if !ok {
				stays(d)
			}
			u.Servers = append(u.Servers, s)
		case d.Directive == "least_conn":
			u.Strategy = "leastConn"
		case d.Directive == "ip_hash":
			u.Strategy = "ipHash"
		case d.Directive == "random" && slices.Equal(d.Args, []string{"two", "least_conn"}):
			u.Strategy = "random"
		case d.Directive == "hash" && hashed(d.Args) != nil:
			u.Strategy, u.Hash = "hash", hashed(d.Args)
		case d.Directive == "zone": // Fairlead gives each group of several servers one
		case d.Directive == "keepalive_timeout" && len(d.Args) == 1:
			u.KeepaliveTimeout = duration(d.Args[0])
		case d.Directive == "keepalive_requests" && len(d.Args) == 1:
			n, err := strconv.Atoi(d.Args[0])
			if err != nil {
				stays(d)
			}
			u.KeepaliveRequests = n
		case d.Directive == "keepalive" && len(d.Args) == 1:
			n, err := strconv.Atoi(d.Args[0])
			if err != nil {
				stays(d)
			}
			u.Keepalive = n
		default:
			stays(d)
		}
	}
	if err := fleet.CheckName("resource", g.name); err != nil && g.why == "" {
		g.why = "its name is not one of a resource"
	}
	if faults := u.Validate(); len(faults) > 0 && g.why == "" {
		g.why = faults[0].Message
	}
	g.spec = u
}

// member reads a server of an upstream.
func member(args []string) (s fleet.Server, ok bool) {
	s.Address = args[0]
	if !strings.HasPrefix(s.Address, "unix:") && !strings.Contains(strings.TrimPrefix(s.Address, "["), ":") {
		s.Address += ":80"
	}
	for _, p := range args[1:] {
		name, value, _ := strings.Cut(p, "=")
		n, err := strconv.Atoi(value)
		switch {
		case p == "backup":
			s.Backup = true
		case name == "weight" && err == nil:
			s.Weight = n
		case name == "max_fails" && err == nil:
			s.MaxFails = &n
		case name == "max_conns" && err == nil:
			s.MaxConns = n
		case name == "fail_timeout":
			s.FailTimeout = duration(value)
		case p == "down":
			s.Down = true
		default:
			return s, false
		}
	}
	return s, true
}

// hashed reads what a group hashes by, nil where that is no key of the typed form.
func hashed(args []string) *fleet.Hash {
	if len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "consistent" {
		return nil
	}
	h := &fleet.Hash{Consistent: len(args) == 2}
	key := strings.NewReplacer("{", "", "}", "").Replace(args[0])
	switch header, isHeader := strings.CutPrefix(key, "$http_"); {
	case key == "$request_uri":
		h.By = "uri"
	case key == "$remote_addr", key == "$binary_remote_addr":
		h.By = "client"
	case key == "$host":
		h.By = "host"
	case isHeader:
		h.By, h.Name = "header", strings.ReplaceAll(header, "_", "-")
	case strings.HasPrefix(key, "$cookie_"):
		h.By, h.Name = "cookie", strings.TrimPrefix(key, "$cookie_")
	default:
		return nil
	}
	return h
}

// duration gives a time without a unit the one that nginx reads into it. What
// is no time of the typed form is found by Validate.
func duration(text string) string {
	if _, err := strconv.Atoi(text); err == nil {
		return text + "s"
	}
	return text
}
