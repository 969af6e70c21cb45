package client

import (
	"fmt"
	"slices"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// sealer seals the passwords of one host to the stations.
type sealer struct {
	to   string             // the stations' curve key
	kept map[string][]kept  // what is stored of the host, by the user's name
	done map[[2]string]kept // what was sealed for it, by name and hash: a list may stand there several times
}

// kept is a user as it is stored, and to whom the hash is sealed.
type kept struct {
	fleet.User
	to string
}

// sealHost is a host as it is to be stored: with each hash sealed and a
// fingerprint in its place. What is stored already, have, stays as it is. The
// faults are of fingerprints that stand for nothing.
func sealHost(h, have *fleet.VirtualHost, to string) (*fleet.VirtualHost, fleet.Faults, error) {
	s := sealer{to, make(map[string][]kept), make(map[[2]string]kept)}
	if have != nil {
		for _, b := range have.BasicAuths() {
			for _, u := range b.Users {
				s.kept[u.Name] = append(s.kept[u.Name], kept{u, b.SealedTo})
			}
		}
	}
	var faults fleet.Faults
	var failed error
	sealed := h.WithBasicAuth(func(at string, b *fleet.BasicAuth) {
		for i, u := range b.Users {
			own, problem, err := s.seal(u, b.SealedTo)
			if err != nil {
				failed = err
			}
			if problem != "" {
				faults.Addf(fmt.Sprintf("%s.users[%d].fingerprint", at, i), "%s", problem)
			}
			b.Users[i] = own
		}
		b.SealedTo, b.SealedUsers = to, ""
	})
	return sealed, faults, failed
}

// seal is a user as it is to be stored, or what is wrong with it as it was
// written, where its hash was sealed to a key or not at all.
func (s *sealer) seal(u fleet.User, to string) (own fleet.User, problem string, err error) {
	id := [2]string{u.Name, u.Hash}
	if u.Hash == "" {
		found := append(slices.Clone(s.kept[u.Name]), kept{u, to})
		for _, k := range found {
			if k.Fingerprint == u.Fingerprint && k.SealedHash != "" && k.to == s.to {
				return k.User, "", nil
			}
		}
		return u, "stands for no password of " + u.Name + " that is stored and that the stations can open: write the hash in its place", nil
	}
	if k, ok := s.done[id]; ok {
		return k.User, "", nil
	}
	own = fleet.User{Name: u.Name}
	var secret []byte
	for _, k := range s.kept[u.Name] {
		if known, ok := fleet.MatchHash(k.Fingerprint, u.Hash); ok {
			own.Fingerprint, secret = k.Fingerprint, known
			if k.to == s.to {
				own.SealedHash = k.SealedHash
			}
			break
		}
	}
	if secret == nil {
		own.Fingerprint, secret = fleet.PrintHash(u.Hash)
	}
	if own.SealedHash == "" {
		own.SealedHash, err = message.Seal(secret, s.to)
	}
	s.done[id] = kept{own, s.to}
	return own, "", err
}

// newPasswords are the names of the users of a host whose password a change
// makes another, in order.
func newPasswords(before, after fleet.Spec) (names []string) {
	was, _ := before.(*fleet.VirtualHost)
	is, _ := after.(*fleet.VirtualHost)
	if was == nil || is == nil {
		return nil
	}
	had := make(map[string][]fleet.User)
	for _, b := range was.BasicAuths() {
		for _, u := range b.Users {
			had[u.Name] = append(had[u.Name], u)
		}
	}
	for _, b := range is.BasicAuths() {
		for _, u := range b.Users {
			old, known := had[u.Name]
			same := func(o fleet.User) bool {
				if o.Fingerprint != "" {
					return o.Fingerprint == u.Fingerprint
				}
				_, ok := fleet.MatchHash(u.Fingerprint, o.Hash)
				return ok
			}
			if known && !slices.ContainsFunc(old, same) && !slices.Contains(names, u.Name) {
				names = append(names, u.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// withoutSecrets is a resource as a difference shows it: with fingerprints alone.
func withoutSecrets(r fleet.Resource) fleet.Resource {
	r = fleet.Shown(r)
	if h, ok := r.Spec.(*fleet.VirtualHost); ok && len(h.BasicAuths()) > 0 {
		r.Spec = h.WithBasicAuth(func(_ string, b *fleet.BasicAuth) {
			for i, u := range b.Users {
				if u.Hash != "" {
					b.Users[i].Hash = "stored in the clear"
				}
			}
		})
	}
	return r
}
