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
	faults := m.sameNames()
	owners := map[string]string{} // listener and name → owner
	all, spoken := map[string]listener{}, map[string][2]string{}
	for _, r := range m.resources {
		if host, ok := r.Spec.(*fleet.VirtualHost); ok {
			faults = append(faults, about(r, m.claimsOf(r.ID(), host, owners, all))...)
			faults = append(faults, about(r, m.sameTLS(r.ID(), host, spoken))...)
			faults = append(faults, about(r, m.uncovered(host))...)
		}
		faults = append(faults, about(r, m.needsOf(r))...)
	}
	faults = append(faults, m.streamClaims()...)
	faults = append(faults, m.egressClaims()...)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		m.listeners = append(m.listeners, all[key])
	}
	return faults
}

// sameNames finds resources of a kind whose names differ in case alone, which
// nginx and file systems may not tell apart, and a second policy of the node.
func (m *model) sameNames() fleet.Faults {
	var faults fleet.Faults
	owners := map[string]string{} // kind and name in lower case → owner
	for _, r := range m.resources {
		var own fleet.Faults
		key := r.Kind + "/" + strings.ToLower(r.Metadata.Name)
		if other, taken := owners[key]; taken {
			own.Addf("metadata.name", "is the same name as that of %s: nginx does not tell upper case from lower", other)
		} else {
			owners[key] = r.ID()
		}
		if p, ok := r.Spec.(*fleet.NodePolicy); ok {
			if m.policy != nil {
				own.Addf("spec.selector", "selects a node that follows %s already: a node follows one policy", m.policyID)
			} else {
				m.policy, m.policyID = p, r.ID()
			}
		}
		faults = append(faults, about(r, own)...)
	}
	return faults
}

// claimsOf enters a host's listeners and names into the books.
func (m *model) claimsOf(id string, host *fleet.VirtualHost, owners map[string]string, all map[string]listener) fleet.Faults {
	var faults fleet.Faults
	m.transportsOf(id, host, all, owners, &faults)
	for _, l := range m.listenersOf(host) {
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

// transportsOf enters how a host's listeners are spoken to. nginx takes the
// word of whichever host it reads first, so all must say the same.
func (m *model) transportsOf(id string, host *fleet.VirtualHost, all map[string]listener, owners map[string]string, faults *fleet.Faults) {
	for i, listen := range host.Listen {
		some, _ := listenersOf(m.address, listen)
		for _, l := range some {
			l.transport = transportOf(host, listen)
			old, taken := all[l.text]
			if taken && old.transport != l.transport {
				faults.Addf(fieldOf("spec.listen", i), "%s listens on %s %s, this is %s: a listener is the same for all of its hosts", owners["listener "+l.text], l.text, old.transport, l.transport)
				break // its other address family differs alike
			}
			if !taken {
				owners["listener "+l.text] = id
			}
			if !taken || old.any6 {
				all[l.text] = l
			}
		}
	}
}

// needsOf checks that what a resource names is there.
func (m *model) needsOf(r fleet.Resource) fleet.Faults {
	spec, ok := r.Spec.(fleet.Needing)
	if !ok {
		return nil
	}
	var faults fleet.Faults
	for _, need := range spec.Needs() {
		there := slices.ContainsFunc(m.resources, func(o fleet.Resource) bool { return o.ID() == need.ID() })
		if !there {
			faults.Addf(need.Path, "there is no %s", need.ID())
		}
		if r.Kind == "Stream" && need.Kind == "Upstream" {
			m.streamed[need.ID()] = true
		} else {
			m.needed[need.ID()] = true
		}
	}
	m.checkPolicies(spec.Needs(), &faults)
	return faults
}

// listenersOf is where a host listens, each listener once, in order. The
// addresses have been checked.
func (m *model) listenersOf(host *fleet.VirtualHost) []listener {
	var found []listener
	for _, listen := range host.Listen {
		some, _ := listenersOf(m.address, listen)
		for _, l := range some {
			l.transport = transportOf(host, listen)
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
