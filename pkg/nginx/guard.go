package nginx

import (
	"cmp"
	"strings"

	"fairlead/pkg/fleet"
)

// guarded says whether a location asks who comes, or how often.
func (s *site) guarded(l *fleet.Location) bool {
	auth := s.h.BasicAuth
	if l.BasicAuth != nil {
		auth = l.BasicAuth
	}
	return len(l.Access)+len(s.h.Access)+len(l.Policies)+len(s.h.Policies) > 0 || auth != nil && !auth.Off
}

// guards writes what a location asks of those who come. Addresses and
// policies of the host are written again where the location has any of its own.
func (s *site) guards(l *fleet.Location) {
	if len(l.Access)+len(l.Policies) > 0 {
		access := l.Access
		if len(access) == 0 {
			access = s.h.Access
		}
		s.access(access)
		s.lines(s.m.policyLines("location", policiesAt(l.Policies, s.h.Policies)))
	}
	s.basicAuth(l.BasicAuth)
}

func (s *site) access(rules []fleet.AddressRule) {
	for line := range strings.Lines(addressList(rules)) {
		s.w.line("%s", strings.TrimSpace(line))
	}
}

// basicAuth names the file of users, which workers read with each request.
func (s *site) basicAuth(b *fleet.BasicAuth) {
	switch {
	case b == nil:
		return
	case b.Off:
		s.w.line("auth_basic off;")
		return
	}
	f := s.usersFile(b)
	if s.once(f.Path) {
		s.files = append(s.files, f)
	}
	s.w.line("auth_basic %s;", served(cmp.Or(b.Realm, "restricted")))
	s.w.line(`auth_basic_user_file "%s/%s";`, phVersion, f.Path)
}
