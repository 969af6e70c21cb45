package nginx

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Directories of files that a policy needs beside its part of http.d.
const (
	addressDir = "addresses.d/" // address lists, included where the policy is named
	wafDir     = "waf.d/"       // ModSecurity's rules
)

// policyFiles renders what a policy needs once: its zones in http, its
// address list and its rules.
func policyFiles(r fleet.Resource, p *fleet.Policy, add func(path, owner, content string)) {
	name, w := r.Metadata.Name, new(writer)
	w.line("# %s", r.ID())
	seen := ""
	if l := p.RateLimit; l != nil {
		key := w.limitKey(name, l.Key)
		seen = l.Key
		w.line("limit_req_zone %s zone=%s:%s rate=%s;", key, zoneName("rate", name, key), cmp.Or(l.Zone, "10m"), l.Rate)
	}
	if l := p.ConnLimit; l != nil {
		key := keyVariable(name, l.Key)
		if seen != l.Key || p.RateLimit == nil {
			w.limitKey(name, l.Key)
		}
		w.line("limit_conn_zone %s zone=%s:%s;", key, zoneName("conn", name, key), cmp.Or(l.Zone, "10m"))
	}
	if p.RateLimit != nil || p.ConnLimit != nil {
		add("http.d/policy-"+name+".conf", r.ID(), w.String())
	}
	if len(p.Addresses) > 0 {
		add(addressDir+name+".conf", r.ID(), addressList(p.Addresses))
	}
	if p.WAF != nil {
		add(wafDir+name+".conf", r.ID(), wafBase(p.WAF))
		if p.WAF.Rules != "" { // in a file of their own, so that its lines are theirs
			add(wafDir+name+".rules", r.ID(), strings.TrimRight(p.WAF.Rules, "\r\n")+"\n")
		}
	}
}

// zoneName names the memory of a limit. nginx refuses a reload that changes
// the key of a live zone, so another key has another name; a changed rate
// keeps the zone and what it counted, a changed size begins it anew.
func zoneName(kind, name, key string) string {
	return "policy_" + name + "_" + hash8(kind+" "+key)
}

// hash8 is enough of a hash to tell names apart.
func hash8(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// keyVariable is what a limit counts by.
func keyVariable(name, key string) string {
	switch key {
	case "", "client":
		return "$binary_remote_addr"
	case "server":
		return "$server_name"
	}
	return fmt.Sprintf("$fairlead_key_%s_%s", word(name), hash8(name+" "+key))
}

// limitKey writes the map that a header or cookie needs: who leaves it out is
// counted by address, instead of not at all.
func (w *writer) limitKey(name, key string) string {
	variable := keyVariable(name, key)
	if from := requestVariable(key); from != "" {
		w.open("map %s %s", from, variable)
		w.line("default %s;", from)
		w.line(`"" $binary_remote_addr;`)
		w.close()
	}
	return variable
}

// requestVariable is nginx's name for "header:NAME" or "cookie:NAME".
func requestVariable(key string) string {
	kind, name, _ := strings.Cut(key, ":")
	switch kind {
	case "header":
		return "$http_" + strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	case "cookie":
		return "$cookie_" + name
	}
	return ""
}

// word is a resource's name as part of a variable's. Two names may come out
// as one.
func word(name string) string { return strings.ReplaceAll(name, "-", "_") }

// policiesAt are the policies that hold at a place: a location's own and then
// its host's, each once.
func policiesAt(own, hosts []string) []string {
	var all []string
	for _, name := range slices.Concat(own, hosts) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// policyLines are the directives that put policies into force at a place,
// "server" or "location". nginx takes none of a server's into a location that
// has any of its own, so a location names its own policies and then its
// host's (policiesAt). Limits and address lists add up, the first line that
// matches counts; of statuses the first counts.
func (m *model) policyLines(where string, names []string) []string {
	w := new(writer)
	var rate, conn []string // statuses
	for _, name := range names {
		p, ok := m.find("Policy/" + name).(*fleet.Policy)
		if !ok {
			continue // claims have told of it
		}
		if l := p.RateLimit; l != nil {
			w.line("limit_req zone=%s%s;", zoneName("rate", name, keyVariable(name, l.Key)), burst(l))
			rate = append(rate, fmt.Sprintf("limit_req_status %d;", cmp.Or(l.Status, 429)))
		}
		if l := p.ConnLimit; l != nil {
			w.line("limit_conn %s %d;", zoneName("conn", name, keyVariable(name, l.Key)), l.Max)
			conn = append(conn, fmt.Sprintf("limit_conn_status %d;", cmp.Or(l.Status, 429)))
		}
		if len(p.Addresses) > 0 {
			w.line(`include "%s/%s%s.conf";`, phVersion, addressDir, name)
		}
		if p.WAF != nil && where == "location" {
			w.waf(name, p.WAF)
		}
	}
	lines := strings.Split(strings.TrimSuffix(w.String(), "\n"), "\n")
	if lines[0] == "" {
		return nil
	}
	return slices.Concat(lines, rate[:min(1, len(rate))], conn[:min(1, len(conn))])
}

func burst(l *fleet.RateLimit) string {
	switch {
	case l.Burst == 0:
		return ""
	case l.NoDelay:
		return fmt.Sprintf(" burst=%d nodelay", l.Burst)
	case l.Delay > 0:
		return fmt.Sprintf(" burst=%d delay=%d", l.Burst, l.Delay)
	}
	return fmt.Sprintf(" burst=%d", l.Burst)
}

func addressList(rules []fleet.AddressRule) string {
	w := new(writer)
	for _, a := range rules {
		if a.Allow != "" {
			w.line("allow %s;", a.Allow)
		} else {
			w.line("deny %s;", a.Deny)
		}
	}
	return w.String()
}

// find is the spec of a resource by its ID, nil where there is none.
func (m *model) find(id string) fleet.Spec {
	i, ok := slices.BinarySearchFunc(m.resources, id, func(r fleet.Resource, id string) int { return strings.Compare(r.ID(), id) })
	if !ok {
		return nil
	}
	return m.resources[i].Spec
}

// checkPolicies finds policies that cannot hold together at one place. The
// place of a need is its path without the index.
func (m *model) checkPolicies(needs []fleet.Need, faults *fleet.Faults) {
	seen := map[string]string{} // place and what there is one of → policy
	once := func(n fleet.Need, place, what string) {
		if other, taken := seen[place+" "+what]; taken && other != n.Name {
			faults.Addf(n.Path, "%s and %s differ in %s, of which one place has one: name one of them", n.ID(), other, what)
			return
		}
		seen[place+" "+what] = n.Name
	}
	statuses := map[string]int{}
	status := func(n fleet.Need, place, what string, code int) {
		code = cmp.Or(code, 429)
		if other, taken := statuses[place+" "+what]; taken && other != code {
			faults.Addf(n.Path, "%s refuses with %d and another policy of the same place with %d: nginx has one %s for both", n.ID(), code, other, what)
		}
		statuses[place+" "+what] = code
	}
	for _, n := range needs {
		p, ok := m.find(n.ID()).(*fleet.Policy)
		if !ok {
			continue
		}
		place := n.Path[:max(0, strings.LastIndexByte(n.Path, '['))]
		if p.WAF != nil {
			if place == "spec.policies" {
				faults.Addf(n.Path, "%s has a waf, which costs most of a node's throughput: name it at the locations that need it", n.ID())
			}
			once(n, place, "the rules of their waf")
		}
		if l := p.RateLimit; l != nil {
			status(n, place, "status of a rate limit", l.Status)
		}
		if l := p.ConnLimit; l != nil {
			status(n, place, "status of a connection limit", l.Status)
		}
	}
}
