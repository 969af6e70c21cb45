package handlers

import (
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// defined are the product's handlers; each file adds its own by define.
var defined []Handler

func define[Body any](d Definition[Body]) Handler {
	h := d.handler()
	defined = append(defined, h)
	return h
}

// Registry is a set of handlers by method.
type Registry struct{ byMethod map[string]Handler }

// All is the registry of the product's handlers.
func All() Registry { return New(defined...) }

// New makes a registry, for tests and measurements.
func New(hs ...Handler) Registry {
	r := Registry{byMethod: make(map[string]Handler, len(hs))}
	for _, h := range hs {
		r.byMethod[h.Method] = h
	}
	return r
}

// Of erases a definition's type, for New.
func Of[Body any](d Definition[Body]) Handler { return d.handler() }

// Find returns the handler of a method; the error is Unknown and names the
// methods there are.
func (r Registry) Find(method string) (Handler, error) {
	h, ok := r.byMethod[method]
	if !ok {
		return Handler{}, fleet.Errorf(fleet.Unknown, "no method %q here: there are %s", method, strings.Join(r.Methods(), ", "))
	}
	return h, nil
}

// Takes says whether a command to a domain means anything; the error is Unknown
// and names the domain that there is.
func (h Handler) Takes(domain string) error {
	if h.AnyDomain || domain == h.Domain {
		return nil
	}
	return fleet.Errorf(fleet.Unknown, "%s has no domain %q: it is %s.%s", h.Method, domain, h.Method, h.Domain)
}

// Methods are the names of all methods, sorted.
func (r Registry) Methods() []string {
	names := make([]string, 0, len(r.byMethod))
	for name := range r.byMethod {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Handlers are all handlers, sorted by method.
func (r Registry) Handlers() []Handler {
	var all []Handler
	for _, m := range r.Methods() {
		all = append(all, r.byMethod[m])
	}
	return all
}

// rank orders the people's roles by what they may do.
var rank = map[subjects.Role]int{subjects.Viewer: 1, subjects.Operator: 2, subjects.Station: 2, subjects.Admin: 3}

// Allows reports whether a role may send the method; nobody may send one
// whose role was forgotten.
func (h Handler) Allows(role subjects.Role) bool {
	return rank[h.Role] > 0 && rank[role] >= rank[h.Role]
}

// Sent lists, for each role, the methods that it may send.
func (r Registry) Sent() map[subjects.Role][]string {
	sent := make(map[subjects.Role][]string)
	for _, role := range []subjects.Role{subjects.Admin, subjects.Operator, subjects.Viewer, subjects.Station} {
		for _, h := range r.Handlers() {
			if h.Allows(role) {
				sent[role] = append(sent[role], h.Method)
			}
		}
	}
	return sent
}
