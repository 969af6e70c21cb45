package identity

import (
	"slices"

	"github.com/nats-io/jwt/v2"

	"fairlead/subjects"
)

// links are what brokers tell of the connections of an account: exported by the
// system account, and imported by each tenant for its stations.
var links = []struct{ name, exported, local string }{
	{"connections that begin", subjects.AccountConnects, subjects.LinkUp},
	{"connections that end", subjects.AccountDisconnects, subjects.LinkDown},
}

// importLinks has a tenant hear of its own connections, and no other's: brokers hold
// the token of the subject to the importing account. What was imported of a system
// account before this one is dropped.
func (a *Authority) importLinks(c *jwt.AccountClaims) {
	for _, l := range links {
		want := jwt.Import{Name: l.name, Subject: jwt.Subject(subjects.OfAccount(l.exported, a.account.public)), Account: a.system.public,
			LocalSubject: jwt.RenamingSubject(l.local), Type: jwt.Stream}
		if slices.ContainsFunc(c.Imports, func(i *jwt.Import) bool { return *i == want }) {
			continue
		}
		c.Imports = slices.DeleteFunc(c.Imports, func(i *jwt.Import) bool { return string(i.LocalSubject) == l.local })
		c.Imports.Add(&want)
	}
}
