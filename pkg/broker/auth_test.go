package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/broker"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestNobodyConnectsWithoutCredentialsOfThisOperator(t *testing.T) {
	s := start(t, nil)
	mine := user(t, s.Authority, "alice", subjects.Admin)
	foreign := user(t, authority(t, t.TempDir(), identity.Options{}), "alice", subjects.Admin)
	creds, err := identity.LoadCreds(mine.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	token := func() (string, error) { return creds.UserJWT(), nil }

	ways := map[string]nats.Option{
		"anonymous":                 nats.Name("nobody"),
		"user and password":         nats.UserInfo("alice", "secret"),
		"a token":                   nats.Token("secret"),
		"another operator's user":   nats.UserCredentials(foreign.CredsFile),
		"a JWT with another's key":  nats.UserJWT(token, other.Sign),
		"a JWT without a signature": nats.UserJWT(token, func([]byte) ([]byte, error) { return nil, nil }),
		"a bare nkey":               nats.Nkey(mine.Key, creds.Sign),
	}
	for name, option := range ways {
		if nc, err := nats.Connect(s.URL(), secure(s.Authority), option); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, %v", name, nc, err)
		}
	}
	// Within the process too. The pipe has no buffer: server and client each
	// wait for the other to read, until the client's write times out.
	if nc, err := nats.Connect("", nats.InProcessServer(s), nats.FlusherTimeout(100*time.Millisecond)); err == nil {
		nc.Close()
		t.Error("anonymous, within the process")
	}
	if nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserCredentials(mine.CredsFile)); err != nil {
		t.Error("its own user:", err)
	} else {
		nc.Close()
	}
}

func TestAnInProcessBrokerListensNowhere(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.Port = -1 })
	if s.URL() != "" {
		t.Error("it listens at", s.URL())
	}
	nc := s.connect(t, "alice", subjects.Admin)
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
}

func TestTenantsHearNothingOfEachOther(t *testing.T) {
	dir := t.TempDir()
	other := authority(t, dir, identity.Options{Tenant: "other"})
	s := startOf(t, authority(t, dir, identity.Options{}), nil)
	theirs := &site{Broker: s.Broker, Authority: other}
	s.ensureStorage(t)

	// Both tenants have a viewer that hears every event, one node each.
	here := subscribe(t, s.connect(t, "viewer-a", subjects.Viewer), subjects.EventsOf("*"))
	there := subscribe(t, theirs.connect(t, "viewer-b", subjects.Viewer), subjects.EventsOf("*"))
	event := subjects.Subject{Node: "ship1", Direction: subjects.Event, Method: subjects.MethodHealth, Domain: "nginx"}
	node := s.connect(t, "ship1", subjects.Node)
	if err := errors.Join(node.Publish(event.String(), nil), node.Flush()); err != nil {
		t.Fatal(err)
	}
	next(t, here)
	// The other tenant has no streams, so what it publishes is not shown to
	// anyone; what it hears next must be its own query, not our event.
	if n, _, _ := there.Pending(); n != 0 {
		t.Error("the other tenant heard it")
	}
	if _, err := theirs.connect(t, "admin-b", subjects.Admin).Request("$JS.API.STREAM.INFO."+subjects.Health, nil, patience); err != nil {
		t.Error(err)
	} else if n, _, _ := there.Pending(); n != 0 {
		t.Error("the other tenant heard it")
	}
	js, err := theirs.connect(t, "admin-b", subjects.Admin).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.StreamInfo(subjects.Health); !errors.Is(err, nats.ErrStreamNotFound) {
		t.Error("the other tenant sees our stream:", err)
	}
}
