package nginx

import (
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// claims finds what two resources both claim, or one needs and none is, and
// collects what the base configuration has to know. nginx itself only warns of
// most of it, and then the first file wins.
func (m *model) claims() fleet.Faults {
	var faults fleet.Faults
	upstreams := map[string]string{} // lower case name, as nginx compares them → owner
	for _, r := range m.resources {
		if _, ok := r.Spec.(*fleet.Upstream); !ok {
			continue
		}
		key := strings.ToLower(r.Metadata.Name)
		if other, taken := upstreams[key]; taken {
			var own fleet.Faults
			own.Addf("metadata.name", "is the same name as that of %s: nginx does not tell upper case from lower", other)
			faults = append(faults, about(r, own)...)
			continue
		}
		upstreams[key] = r.ID()
	}
	owners := map[string]string{} // listener and name → owner
	all := map[string]listener{}
	for _, r := range m.resources {
		if host, ok := r.Spec.(*fleet.VirtualHost); ok {
			faults = append(faults, about(r, m.claimsOf(r.ID(), host, owners, all))...)
			faults = append(faults, about(r, m.needsOf(host, upstreams))...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		m.listeners = append(m.listeners, all[key])
	}
	return faults
}

// claimsOf enters a host's listeners and names into the books.
func (m *model) claimsOf(id string, host *fleet.VirtualHost, owners map[string]string, all map[string]listener) fleet.Faults {
	var faults fleet.Faults
	for _, l := range m.listenersOf(host) {
		if old, ok := all[l.text]; !ok || old.any6 {
			all[l.text] = l
		}
		for i, name := range host.ServerNames {
			key := l.text + " " + strings.ToLower(name)
			other, taken := owners[key]
			switch {
			case !taken:
				owners[key] = id
			case other == id: // the same name twice in one host; fleet says so where it minds
			case name == "_":
				faults.Addf(fieldOf("spec.serverNames", i), "%s is the default host of %s already", other, l.text)
			default:
				faults.Addf(fieldOf("spec.serverNames", i), "%s answers to %s on %s already", other, name, l.text)
			}
			if name == "_" {
				m.defaults[l.text] = true
			}
		}
	}
	m.names = append(m.names, host.ServerNames...)
	return faults
}

// needsOf checks that the upstreams a host passes to are there.
func (m *model) needsOf(host *fleet.VirtualHost, upstreams map[string]string) fleet.Faults {
	var faults fleet.Faults
	for i, l := range host.Locations {
		if l.Proxy == nil {
			continue
		}
		name := l.Proxy.Upstream
		if upstreams[strings.ToLower(name)] != "Upstream/"+name {
			faults.Addf(fieldOf("spec.locations", i)+".proxy.upstream", "there is no Upstream/%s", name)
		}
		m.used[name] = true
	}
	return faults
}

// listenersOf is where a host listens, each listener once, in order. The
// addresses have been checked.
func (m *model) listenersOf(host *fleet.VirtualHost) []listener {
	var found []listener
	for _, listen := range host.Listen {
		some, _ := listenersOf(m.address, listen)
		for _, l := range some {
			same := func(o listener) bool { return o.text == l.text }
			if i := slices.IndexFunc(found, same); i < 0 {
				found = append(found, l)
			} else {
				found[i].any6 = found[i].any6 && l.any6 // asked for by name: not to be dropped
			}
		}
	}
	return found
}
