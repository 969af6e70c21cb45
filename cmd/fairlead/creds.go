package main

import (
	"strings"

	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func loadCreds(path string) (*identity.Credentials, error) { return identity.LoadCreds(path) }

// saveContext writes a context that `nats` and `fairlead` both can use.
func saveContext(name, description, url string, t bus.TLS, creds, user string) error {
	return bus.SaveContext(bus.Context{Name: name, Description: description, URL: url, Creds: creds, CA: t.CA, Cert: t.Cert, Key: t.Key,
		TLSFirst: strings.Contains(url, "tls://") && !t.GreetsFirst, InboxPrefix: subjects.Inbox(user)})
}
