package main

import (
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func loadCreds(path string) (*identity.Credentials, error) { return identity.LoadCreds(path) }

// saveContext writes a context that `nats` and `fairlead` both can use.
func saveContext(name, description, url, creds, ca, user string) error {
	return bus.SaveContext(bus.Context{Name: name, Description: description, URL: url, Creds: creds, CA: ca,
		InboxPrefix: subjects.Inbox(user)})
}
