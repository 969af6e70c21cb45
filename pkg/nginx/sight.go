package nginx

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/health"
)

// upstreamsFile holds, as part of the bundle, the upstreams of which each node
// knows more than the resources do: the addresses of names, the ends of unix
// sockets, which servers fail. Their files are rendered again when staged.
const upstreamsFile = "upstreams.json"

// local is one of these upstreams.
type local struct {
	In   []string        `json:"in"` // contexts
	Spec *fleet.Upstream `json:"spec"`
}

// localUpstreams is the content of upstreamsFile, "" where there are none.
func (m *model) localUpstreams() string {
	all := map[string]local{}
	for _, r := range m.resources {
		u, ok := r.Spec.(*fleet.Upstream)
		if !ok || !dependsOnNode(u) {
			continue
		}
		l := local{Spec: u}
		if m.needed[r.ID()] {
			l.In = append(l.In, inHTTP)
		}
		if m.streamed[r.ID()] {
			l.In = append(l.In, inStream)
		}
		if len(l.In) > 0 {
			all[r.Metadata.Name] = l
		}
	}
	if len(all) == 0 {
		return ""
	}
	text, _ := json.MarshalIndent(all, "", "  ") // of plain fields: cannot fail
	return string(text) + "\n"
}

func dependsOnNode(u *fleet.Upstream) bool {
	return u.Check != nil || slices.ContainsFunc(u.Servers, func(s fleet.Server) bool {
		return isName(s.Address) || strings.HasPrefix(s.Address, "unix:")
	})
}

func parseLocals(data []byte) map[string]local {
	all := map[string]local{}
	_ = json.Unmarshal(data, &all) // written by localUpstreams
	for name, l := range all {
		if l.Spec == nil { // or by hand
			delete(all, name)
		}
	}
	return all
}

// locals are the upstreams of the bundle that depend on the node.
func (b Bundle) locals() map[string]local {
	for _, f := range b.Files {
		if f.Path == upstreamsFile {
			return parseLocals(f.Content)
		}
	}
	return nil
}

// namesIn are the names that upstreams hold, sorted.
func namesIn(all map[string]local) []string {
	names := map[string]bool{}
	for _, l := range all {
		for _, s := range l.Spec.Servers {
			if isName(s.Address) {
				names[nameOf(s.Address)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func nameOf(address string) string {
	host, _, _ := net.SplitHostPort(address) // isName said so
	return strings.ToLower(host)
}

// sight is what this node knows at one moment about the servers of upstreams.
type sight struct {
	upstreams map[string]local
	bounds    egress
	answer    func(name string) answer
	down      map[[2]string]bool // upstream and address
}

// member is one address that a server has on this node, or why it has none.
type member struct {
	fleet.Server
	at      string
	problem string
}

// members are the addresses of one server.
func (s sight) members(server fleet.Server) []member {
	denied := func(at, problem string) []member { return []member{{server, at, problem}} }
	if socket, ok := strings.CutPrefix(server.Address, "unix:"); ok {
		return denied(server.Address, s.bounds.resolvedSocket(socket))
	}
	if !isName(server.Address) {
		return denied(server.Address, s.bounds.problem(server.Address))
	}
	_, port, _ := net.SplitHostPort(server.Address)
	known := s.answer(nameOf(server.Address))
	if len(known.Addresses) == 0 {
		return denied("", fmt.Sprintf("%s has no address: %s", nameOf(server.Address), orElse(known.problem, "it was not asked for yet")))
	}
	var all []member
	for _, a := range known.Addresses {
		at, _ := netip.ParseAddrPort(net.JoinHostPort(a.String(), port)) // checked as part of the resource
		problem := s.bounds.address(a)
		if problem != "" {
			problem = nameOf(server.Address) + ": " + problem
		}
		all = append(all, member{server, at.String(), problem})
	}
	return all
}

// texts renders the files of the upstreams as this node sees them, by path.
func (s sight) texts() map[string]string {
	texts := map[string]string{}
	for name, l := range s.upstreams {
		for _, context := range l.In {
			texts[upstreamFile(context, name)] = upstream(context, name, s.usable(l.Spec), func(w *writer, server fleet.Server) {
				s.lines(w, name, server)
			})
		}
	}
	return texts
}

// lines renders a server with all its addresses; what is not usable is a
// comment. The placeholder that usable adds has no address of its own.
func (s sight) lines(w *writer, name string, server fleet.Server) {
	if server.Address == "" {
		w.line("%s", noServer)
		return
	}
	for _, m := range s.members(server) {
		switch {
		case m.problem != "":
			w.line("# not usable: %s %s", server.Address, m.at)
		case isName(server.Address):
			w.line("%s # %s", serverLine(m.at, server, server.Down || s.down[[2]string{name, m.at}]), nameOf(server.Address))
		default:
			w.line("%s", serverLine(m.at, server, server.Down || s.down[[2]string{name, m.at}]))
		}
	}
}

// usable gives an upstream one more server, that takes nothing, where no
// server but backups would be left, which nginx refuses.
func (s sight) usable(u *fleet.Upstream) *fleet.Upstream {
	for _, server := range u.Servers {
		if !server.Backup && slices.ContainsFunc(s.members(server), func(m member) bool { return m.problem == "" }) {
			return u
		}
	}
	with := *u
	with.Servers = append([]fleet.Server{{}}, u.Servers...)
	return &with
}

// notes says which servers are left out and why, for the answer to an apply.
func (s sight) notes() []string {
	var all []string
	for _, p := range s.troubles() {
		all = append(all, fmt.Sprintf("Upstream/%s: %s: %s", p.Upstream, p.Server, p.Message))
	}
	if more := len(all) - mostNotes; more > 0 {
		all = append(all[:mostNotes:mostNotes], fmt.Sprintf("and %d servers more", more))
	}
	return all
}

// mostNotes is how many servers an answer tells of.
const mostNotes = 5

// ServerStatus is a server of an upstream that is not used as written.
type ServerStatus struct {
	Upstream string    `json:"upstream"`
	Server   string    `json:"server"`            // as the resource names it
	Address  string    `json:"address,omitempty"` // of this node's choice, where there is one
	State    string    `json:"state"`             // one of the Server constants
	Since    time.Time `json:"since,omitzero"`
	Message  string    `json:"message"`
}

// The states of a ServerStatus.
const (
	ServerDown    = "down"    // fails its checks and takes no requests
	ServerPanic   = "panic"   // fails its checks as all of its upstream do, and takes requests
	ServerUnknown = "unknown" // its name has no address, or its address is denied: left out
	ServerStale   = "stale"   // used with the last good addresses, since its name does not resolve
)

// troubles are the servers that are left out, or used by old addresses.
func (s sight) troubles() []ServerStatus {
	var all []ServerStatus
	for _, name := range slices.Sorted(maps.Keys(s.upstreams)) {
		for _, server := range s.upstreams[name].Spec.Servers {
			for _, m := range s.members(server) {
				if m.problem != "" {
					all = append(all, ServerStatus{Upstream: name, Server: server.Address, Address: m.at, State: ServerUnknown, Message: "left out: " + m.problem})
				}
			}
			if !isName(server.Address) {
				continue
			}
			if a := s.answer(nameOf(server.Address)); a.problem != "" && len(a.Addresses) > 0 {
				all = append(all, ServerStatus{Upstream: name, Server: server.Address, State: ServerStale, Since: a.At,
					Message: "used with the last good addresses: " + a.problem})
			}
		}
	}
	return all
}

// targets are the servers to be checked.
func (s sight) targets() []health.Target {
	var all []health.Target
	for name, l := range s.upstreams {
		if l.Spec.Check == nil {
			continue
		}
		for _, server := range l.Spec.Servers {
			check := health.CheckOf(*l.Spec.Check)
			if check.Host == "" && isName(server.Address) {
				check.Host = nameOf(server.Address)
			}
			for _, m := range s.members(server) {
				if m.problem == "" && !server.Down {
					all = append(all, health.Target{Group: name, Address: m.at, Check: check})
				}
			}
		}
	}
	return all
}
