package bus_test

import (
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// A JWT ends while its holder is connected: the broker ends the connection, and
// the next one is made with the renewed JWT, which came meanwhile.
func TestAConnectionGoesOnWithTheRenewedJWT(t *testing.T) {
	s := open(t)
	early := time.Now().Add(-57 * time.Second) // so that a minute is nearly over
	a, err := identity.Open(s.authority.Dir(), identity.Options{Now: func() time.Time { return early }})
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.Create(identity.New{Name: "guest", Role: subjects.Viewer, Life: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	creds, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	connected, lost := make(chan struct{}, 8), make(chan error, 8)
	c := s.connect(bus.Options{Credentials: creds, Persist: true,
		OnConnect: func() { connected <- struct{}{} }, OnDisconnect: func(err error) { lost <- err }})
	renewed, err := s.authority.Renew("guest", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if took, err := creds.Renew(renewed.JWT()); !took || err != nil {
		t.Fatal(took, err)
	}
	limit := time.After(patience)
	select {
	case <-lost:
	case <-limit:
		t.Fatal("the broker holds a connection whose JWT is over")
	}
	for !c.Connected() {
		select {
		case <-connected:
		case <-limit:
			t.Fatal("it is not connected again")
		}
	}
}
